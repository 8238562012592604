/** Contents of a stack's secrets and configs: read here, since they are on this machine. */
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { convertStack, type StackContents } from '../../manager/stack/index.ts';
import { InvalidError } from '../../shared/errors/index.ts';
import { FILE_LIMIT_BYTES } from '../../shared/model/index.ts';

interface From {
  /** What paths are relative to: the directory of the compose file. */
  readonly directory: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Throws InvalidError, with the key, for a file that can not be read and a variable that is not set. */
export async function readContents(
  compose: string,
  variables: Readonly<Record<string, string>>,
  from: From,
): Promise<StackContents> {
  const files: Record<string, string> = {};
  const environment: Record<string, string> = {};
  // Which they are, the conversion itself knows; what is wrong with the file, the manager says.
  for (const { kind, source } of convertStack({ stack: 'stack', compose, variables }).files) {
    if (source === undefined) continue;
    const { key, name } = source;
    if (source.kind === 'file') files[name] = await readOne(key, path.resolve(from.directory, name), kind);
    else environment[name] = variableOf(key, name, from.environment);
  }
  return { files, environment };
}

async function readOne(key: string, file: string, kind: 'secret' | 'config'): Promise<string> {
  const limit = FILE_LIMIT_BYTES[kind];
  try {
    const { size } = await stat(file);
    if (size < limit) return (await readFile(file)).toString('base64');
  } catch (cause) {
    throw new InvalidError(`${key}: the file ${file} can not be read`, { cause });
  }
  throw new InvalidError(`${key}: ${file} is too large: a ${kind} has less than ${limit} bytes`);
}

function variableOf(key: string, name: string, environment: From['environment']): string {
  const value = environment[name];
  if (value === undefined) throw new InvalidError(`${key}: the environment variable ${name} is not set`);
  return Buffer.from(value).toString('base64');
}
