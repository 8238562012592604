/** A compose file as `shoal deploy` reads it, with the variables that it names. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseEnv } from 'node:util';
import type { StackContents } from '../../manager/stack/index.ts';
import { InvalidError } from '../../shared/errors/index.ts';

import { readContents } from './stack-contents.ts';

export interface ComposeFile {
  readonly text: string;
  /** How messages call it. */
  readonly title: string;
  readonly variables: Readonly<Record<string, string>>;
  readonly contents: StackContents;
}

/** `-` is standard input. Throws InvalidError for what can not be read. */
export async function readComposeFile(file: string): Promise<ComposeFile> {
  const text = await readText(file);
  const directory = file === '-' ? process.cwd() : path.dirname(path.resolve(file));
  const dotEnv = await readFile(path.join(directory, '.env'), 'utf8').catch(() => '');
  const known = { ...parseEnv(dotEnv), ...process.env };
  const variables = namedVariables(text, known);
  const contents = await readContents(text, variables, { directory, environment: known });
  return { text, title: file === '-' ? 'standard input' : file, variables, contents };
}

async function readText(file: string): Promise<string> {
  try {
    if (file !== '-') return await readFile(file, 'utf8');
    const chunks: Buffer[] = [];
    for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString('utf8');
  } catch (error) {
    throw new InvalidError(`the compose file ${file} can not be read`, { cause: error });
  }
}

/** Only what the file names leaves this machine: `$NAME`, `${NAME}`, `${NAME:-default}`. */
export function namedVariables(
  text: string,
  known: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const names = [...text.matchAll(/\$\{?([A-Za-z_][A-Za-z0-9_]*)/g)].map((match) => match[1] ?? '');
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = known[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}
