/** The node's identity on its disk: one file, so that its parts cannot disagree, readable by its owner alone. */
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join as joinPath } from 'node:path';
import { z } from 'zod';
import { InvalidError } from '../../shared/errors/index.ts';
import { replaceFile } from '../files/replace-file.ts';
import { parseValue } from '../../shared/wire/frames.ts';

const identitySchema = z.strictObject({
  nodeId: z.string(),
  ca: z.string(),
  cert: z.string(),
  key: z.string(),
  /** host:port of the managers it was told of. */
  managers: z.array(z.string()),
  /** Ids of managers that were removed, as it was told last. */
  removedManagers: z.array(z.string()).readonly().exactOptional(),
});

/** Who the node is (certificates and key as PEM texts) and where its managers are. */
export type Identity = Readonly<z.output<typeof identitySchema>>;

export function identityPath(stateDir: string): string {
  return joinPath(stateDir, 'identity.json');
}

/** Replaces the file as a whole: a crash leaves the old one or the new one. */
export async function saveIdentity(stateDir: string, identity: Identity): Promise<void> {
  const path = identityPath(stateDir);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await replaceFile(path, JSON.stringify(identity), { durable: true });
}

/** Undefined when the machine has not joined. Throws InvalidError when the file is damaged. */
export async function loadIdentity(stateDir: string): Promise<Identity | undefined> {
  const path = identityPath(stateDir);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return parseValue(identitySchema, JSON.parse(text), path);
  } catch (cause) {
    throw new InvalidError(`${path} is damaged: remove it and join again`, { cause });
  }
}
