/** The data key of a cluster, in a file of each manager's state directory, while it is rotated with others; etcd knows only their names. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidError } from '../../shared/errors/index.ts';
import type { Cluster } from '../../shared/model/index.ts';
import { StaleError, type Store } from '../store/store.ts';
import { isLocked, lock, parseUnlockKey, plainLines, unlock } from './lock.ts';
import { writePrivate } from './private-file.ts';
import { type DataKey, dataKeyOf, newDataKey, Vault } from './seal.ts';

const FILE = 'data-key';
const ATTEMPTS = 5;

/**
 * Opens the vault with the key of `stateDir`. The first manager of a cluster makes the key: it is on disk before the
 * cluster record, which names it, is written. Throws InvalidError that says what to do when the cluster's key is another; with `renew` it is
 * replaced then, but only while nothing is sealed with it.
 * `unlockKey`: of a file that is locked.
 */
export async function openVault(
  store: Store,
  stateDir: string,
  renew: boolean,
  signal: AbortSignal,
  unlockKey?: Buffer,
): Promise<Vault> {
  const path = join(stateDir, FILE);
  const opened = (current: DataKey, keys: readonly DataKey[] = []): Vault => {
    const vault = new Vault(current, keys);
    vault.unlockKey = unlockKey;
    return vault;
  };
  for (let attempt = 1; ; attempt += 1) {
    const cluster = store.get('cluster', 'self');
    const keys = await readKeys(path, unlockKey);
    const [key] = keys;
    if (cluster === undefined) return opened(key ?? (await writeKey(path, newDataKey())), keys);
    const named = keys.find(({ id }) => id === cluster.dataKeyId);
    if (named !== undefined) return opened(named, keys);
    const sealed = store.all('secrets').size + store.all('configs').size;
    if (cluster.dataKeyId !== undefined && (sealed > 0 || !renew)) {
      throw new InvalidError(missing(path, cluster.dataKeyId, key, sealed));
    }
    const chosen = key ?? (await writeKey(path, newDataKey()));
    if (await nameKey(store, cluster, chosen, attempt, signal)) return opened(chosen);
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

async function readKeys(path: string, unlockKey: Buffer | undefined): Promise<DataKey[]> {
  const text = await readKeyFile(path);
  if (text === undefined) return [];
  const plain = isLocked(text) && unlockKey !== undefined ? unlock(text, unlockKey) : text;
  try {
    return parseKeys(plain);
  } catch (cause) {
    throw new InvalidError(`${path} is no data key`, { cause });
  }
}

/** Undefined when there is none. */
async function readKeyFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Opens the file with a key that somebody gives; undefined: it is not locked. Throws InvalidError for another key. */
export async function lockOf(stateDir: string): Promise<((unlockKey: string) => Buffer) | undefined> {
  const text = await readKeyFile(join(stateDir, FILE));
  if (text === undefined || !isLocked(text)) return undefined;
  return (unlockKey) => {
    const key = parseUnlockKey(unlockKey);
    unlock(text, key);
    return key;
  };
}

/** One a line, base64; the first is the one that is sealed with. Throws RangeError. */
export function parseKeys(text: string): DataKey[] {
  return plainLines(text).map((line) => dataKeyOf(Buffer.from(line, 'base64')));
}

/** The lines of both, each once. */
export function mergeKeyTexts(a: string, b: string): string {
  const lines = [...a.split('\n'), ...b.split('\n')].map((line) => line.trim()).filter((line) => line !== '');
  return [...new Set(lines)].map((line) => `${line}\n`).join('');
}

/** What the vault has, as lines that are not locked. */
export function keyText(vault: Vault): string {
  return vault.keys.map(({ bytes }) => `${bytes.toString('base64')}\n`).join('');
}

/** All that the vault has, locked if it is, on disk for good when it resolves. */
export async function writeKeys(stateDir: string, vault: Vault): Promise<void> {
  const text = keyText(vault);
  const { unlockKey } = vault;
  await writePrivate(join(stateDir, FILE), unlockKey === undefined ? text : lock(text, unlockKey));
}

/** On disk for good when it resolves: what is sealed with a key that a power cut took is lost. */
async function writeKey(path: string, key: DataKey): Promise<DataKey> {
  await writePrivate(path, `${key.bytes.toString('base64')}\n`);
  return key;
}
