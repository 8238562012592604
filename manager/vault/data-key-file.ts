/** The data key of a cluster, in a file of each manager's state directory, while it is rotated with others; etcd knows only their names. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidError } from '../../shared/errors/index.ts';
import type { Cluster } from '../../shared/model/index.ts';
import { StaleError, type Store } from '../store/store.ts';
import { writePrivate } from './private-file.ts';
import { type DataKey, dataKeyOf, newDataKey, Vault } from './seal.ts';

const FILE = 'data-key';
const ATTEMPTS = 5;

/**
 * Opens the vault with the key of `stateDir`. The first manager of a cluster makes the key: it is on disk before the
 * cluster record, which names it, is written. Throws InvalidError that says what to do when the cluster's key is another; with `renew` it is
 * replaced then, but only while nothing is sealed with it.
 */
export async function openVault(
  store: Store,
  stateDir: string,
  renew: boolean,
  signal: AbortSignal,
): Promise<Vault> {
  const path = join(stateDir, FILE);
  for (let attempt = 1; ; attempt += 1) {
    const cluster = store.get('cluster', 'self');
    const keys = await readKeys(path);
    const [key] = keys;
    if (cluster === undefined) return new Vault(key ?? (await writeKey(path, newDataKey())), keys);
    const named = keys.find(({ id }) => id === cluster.dataKeyId);
    if (named !== undefined) return new Vault(named, keys);
    const sealed = store.all('secrets').size + store.all('configs').size;
    if (cluster.dataKeyId !== undefined && (sealed > 0 || !renew)) {
      throw new InvalidError(missing(path, cluster.dataKeyId, key, sealed));
    }
    const chosen = key ?? (await writeKey(path, newDataKey()));
    if (await nameKey(store, cluster, chosen, attempt, signal)) return new Vault(chosen);
  }
}

function missing(path: string, wanted: string, found: DataKey | undefined, sealed: number): string {
  const has = found === undefined ? 'there is none' : `it holds the key ${found.id}`;
  return (
    `this cluster seals secrets and configs (it has ${sealed}) with the data key ${wanted}, which should be in ${path}, ` +
    `but ${has}: copy the file from another manager or from a backup, or see docs/secrets.md`
  );
}

/** False when the record changed meanwhile. */
async function nameKey(
  store: Store,
  cluster: Cluster,
  key: DataKey,
  attempt: number,
  signal: AbortSignal,
): Promise<boolean> {
  const { dataKeyRotation: _, ...rest } = cluster;
  const value: Cluster = { ...rest, dataKeyId: key.id };
  const expect = store.version('cluster', 'self');
  try {
    await store.commit([{ table: 'cluster', key: 'self', value, expect }], { signal });
    return true;
  } catch (error) {
    if (error instanceof StaleError && attempt < ATTEMPTS) return false;
    throw error;
  }
}

async function readKeys(path: string): Promise<DataKey[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  try {
    return parseKeys(text);
  } catch (cause) {
    throw new InvalidError(`${path} is no data key`, { cause });
  }
}

/** One a line, base64; the first is the one that is sealed with. Throws RangeError. */
export function parseKeys(text: string): DataKey[] {
  return text
    .trim()
    .split('\n')
    .map((line) => dataKeyOf(Buffer.from(line.trim(), 'base64')));
}

/** The lines of both, each once. */
export function mergeKeyTexts(a: string, b: string): string {
  const lines = [...a.split('\n'), ...b.split('\n')].map((line) => line.trim()).filter((line) => line !== '');
  return [...new Set(lines)].map((line) => `${line}\n`).join('');
}

/** All that the vault has, on disk for good when it resolves. */
export async function writeKeys(stateDir: string, vault: Vault): Promise<void> {
  const lines = vault.keys.map(({ bytes }) => `${bytes.toString('base64')}\n`);
  await writePrivate(join(stateDir, FILE), lines.join(''));
}

/** On disk for good when it resolves: what is sealed with a key that a power cut took is lost. */
async function writeKey(path: string, key: DataKey): Promise<DataKey> {
  await writePrivate(path, `${key.bytes.toString('base64')}\n`);
  return key;
}
