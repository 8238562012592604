/** Compose files as `shoal deploy` reads them: with the files that they refer to and the variables that they name. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseEnv } from 'node:util';
import { convertStack } from '../../manager/stack/index.ts';
import { InvalidError } from '../../shared/errors/index.ts';
import type { StackSource } from '../../shared/model/index.ts';

/** What is sent, and how messages call its files. */
export interface Project {
  readonly source: StackSource;
  readonly title: (file: string | undefined) => string;
}

export interface ProjectOptions {
  readonly profiles?: readonly string[] | undefined;
  /** In place of the .env beside the first file. */
  readonly envFiles?: readonly string[] | undefined;
}

/** Files that name files that name files; each turn reads what the one before asked for. */
const TURNS_MAX = 50;

/** `-` is standard input. Throws InvalidError for what can not be read. */
export async function readProject(files: readonly string[], options: ProjectOptions = {}): Promise<Project> {
  const [first = '-'] = files;
  const base = first === '-' ? '.' : path.dirname(first);
  const known = { ...(await readEnvFiles(base, options.envFiles)), ...definedOnly(process.env) };
  const profiles =
    options.profiles ?? (known['COMPOSE_PROFILES'] ?? '').split(',').filter((one) => one !== '');
  const titles = new Map<string, string>();
  const compose = await Promise.all(
    files.map(async (file) => {
      const id = file === '-' ? '-' : path.relative(base, file);
      titles.set(id, file === '-' ? 'standard input' : file);
      return { path: id, text: await readText(file, 'compose file') };
    }),
  );
  const others = await readOthers({ compose, variables: known, profiles, files: {} }, base);
  const texts = [...compose.map(({ text }) => text), ...Object.values(others).map((text) => text ?? '')];
  const variables = namedVariables(texts.join('\n'), known);
  return {
    source: { compose, files: others, variables, profiles },
    title: (file) => titles.get(file ?? compose[0]?.path ?? '') ?? path.join(base, file ?? ''),
  };
}

/** Asks the conversion itself which files it needs: null for those that do not exist. */
async function readOthers(source: StackSource, base: string): Promise<Record<string, string | null>> {
  const files: Record<string, string | null> = {};
  for (let turn = 0; turn < TURNS_MAX; turn += 1) {
    const { missing } = convertStack({ ...source, files, stack: 'stack' });
    if (missing.length === 0) break;
    for (const name of missing) files[name] = await readIfThere(path.resolve(base, name));
  }
  return files;
}

async function readEnvFiles(
  base: string,
  named: readonly string[] | undefined,
): Promise<Record<string, string>> {
  if (named === undefined) return definedOnly(parseEnv((await readIfThere(path.join(base, '.env'))) ?? ''));
  const texts = await Promise.all(named.map((file) => readText(file)));
  return Object.assign({}, ...texts.map((text) => definedOnly(parseEnv(text)))) as Record<string, string>;
}

function definedOnly(values: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).flatMap(([k, v]) => (v === undefined ? [] : [[k, v]])));
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw new InvalidError(`the file ${file} can not be read`, { cause: error });
  }
}

async function readText(file: string, what = 'file'): Promise<string> {
  try {
    if (file !== '-') return await readFile(file, 'utf8');
    const chunks: Buffer[] = [];
    for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString('utf8');
  } catch (error) {
    throw new InvalidError(`the ${what} ${file} can not be read`, { cause: error });
  }
}

/** Only what the files name leaves this machine: `$NAME`, `${NAME}`, and NAME alone as in `environment: [NAME]`. */
export function namedVariables(
  text: string,
  known: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const used = [...text.matchAll(/\$\{?([A-Za-z_][A-Za-z0-9_]*)/g)].map((match) => match[1] ?? '');
  const bare = [
    ...text.matchAll(/(?:^|[-[{,])[ \t]*["']?([A-Za-z_][A-Za-z0-9_]*)["']?[ \t]*:?[ \t]*(?=$|[\]},])/gm),
  ];
  return Object.fromEntries(
    [...used, ...bare.map((match) => match[1] ?? '')].flatMap((name) => {
      const value = known[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}
