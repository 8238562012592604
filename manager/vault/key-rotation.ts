/**
 * The way from one data key to another. A manager makes the next key, and writes it down before the cluster's record names it. The
 * others fetch it from those that have it, over mutual TLS: never through etcd, whose readers may have the old key. Once all
 * have it, it is the one that is sealed with, and the leader seals anew what the old one has sealed, a few records at a time. Where
 * it was cut off shows in the records, so that whoever leads goes on. Old keys are kept for an hour after the last record.
 */
import { ConflictError, describeError, UnavailableError } from '../../shared/errors/index.ts';
import { isAbort } from '../../shared/lib/abort.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import { FILE_LIMIT_BYTES } from '../../shared/model/index.ts';
import type { Cluster, Logger, ManagerRecord, StoredFile, StoredFileKind } from '../../shared/model/index.ts';
import { openSecrets, sealSecrets } from '../ca/cluster.ts';
import { StaleError, type Store, type Write } from '../store/store.ts';
import { writeKeys } from './data-key-file.ts';
import { type DataKey, newDataKey, type Vault } from './seal.ts';

/** A manager whose copy of the store is behind may still have sealed with the old key. */
const KEEP_OLD_MS = 3_600_000;
const LOOK_EVERY_MS = 10_000;
/** Until then whoever made a key has told that it has it. */
const ORPHANED_MS = 60_000;
/** A batch is one transaction, and etcd takes 1.5 MiB at once. */
const BATCH_BYTES = FILE_LIMIT_BYTES.config;
const BATCH = 50;

export interface KeyRotationOptions {
  readonly store: Store;
  readonly vault: Vault;
  readonly stateDir: string;
  readonly managerId: string;
  readonly leads: () => boolean;
  /** The keys of another manager. */
  readonly fetchKeys: (manager: ManagerRecord, signal: AbortSignal) => Promise<readonly DataKey[]>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: an hour. */
  readonly keepOldMs?: number;
}

export interface KeyRotationProgress {
  readonly keyId: string;
  readonly startedAtMs: number;
  /** Managers that have not the next key yet. */
  readonly waiting: readonly ManagerRecord[];
  /** Records that are sealed with another key than the next one. */
  readonly left: number;
}

export class KeyRotation {
  readonly #options: KeyRotationOptions;

  constructor(options: KeyRotationOptions) {
    this.#options = options;
  }

  /** Undefined when none goes on. */
  get progress(): KeyRotationProgress | undefined {
    const { store } = this.#options;
    const rotation = store.get('cluster', 'self')?.dataKeyRotation;
    if (rotation === undefined) return undefined;
    const waiting = lacking(store, rotation.keyId);
    return { ...rotation, waiting, left: [...sealedOtherwise(store, rotation.keyId)].length };
  }

  /** Makes the next key; the rest is done by `run`. Throws ConflictError while a rotation goes on that can be ended. */
  async begin(signal: AbortSignal): Promise<void> {
    const { store, vault, stateDir, clock, logger } = this.#options;
    const cluster = store.get('cluster', 'self');
    const expect = store.version('cluster', 'self');
    if (cluster === undefined)
      throw new UnavailableError('the cluster is not set up yet: try again in a moment');
    const { dataKeyRotation: going } = cluster;
    // The manager that made the key may be gone with it before another had it.
    const orphaned =
      going !== undefined &&
      clock.now() - going.startedAtMs >= ORPHANED_MS &&
      !vault.has(going.keyId) &&
      holders(store, going.keyId).length === 0;
    if (going !== undefined && !orphaned)
      throw new ConflictError('a rotation of the data key is under way: see shoal data-key');
    const next = newDataKey();
    vault.add(next);
    await writeKeys(stateDir, vault);
    const value: Cluster = { ...cluster, dataKeyRotation: { keyId: next.id, startedAtMs: clock.now() } };
    try {
      await store.commit([{ table: 'cluster', key: 'self', value, expect }], { signal });
    } catch (error) {
      if (!(error instanceof StaleError)) throw error;
      throw new UnavailableError('the cluster was changed by others at the same moment: try once more');
    }
    logger.info({ keyId: next.id }, 'a rotation of the data key has begun');
  }

  /** Looks whenever something changes that concerns it. Until the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, logger } = this.#options;
    let wake = (): void => undefined;
    const undo = store.onChange((changes) => {
      if (changes.some(({ table }) => table === 'cluster' || table === 'managers')) wake();
    });
    try {
      while (!signal.aborted) {
        const woken = new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, LOOK_EVERY_MS);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
          signal.addEventListener('abort', wake, { once: true });
        });
        await this.look(signal).catch((error: unknown) => {
          if (!isAbort(error) && !(error instanceof StaleError))
            logger.warn({ error: describeError(error) }, 'the rotation of the data key waits');
        });
        await woken;
        signal.removeEventListener('abort', wake);
      }
    } finally {
      undo();
    }
  }

  /** What is to be done now. Each step is told by the records, so that it may be done by any manager, and again. */
  async look(signal: AbortSignal): Promise<void> {
    const { store, vault, leads } = this.#options;
    const cluster = store.get('cluster', 'self');
    if (cluster === undefined) return;
    const next = cluster.dataKeyRotation?.keyId;
    if (next !== undefined && !vault.has(next)) await this.#fetch(next, signal);
    if (cluster.dataKeyId !== undefined && cluster.dataKeyId !== vault.keyId)
      await this.#use(cluster.dataKeyId);
    await this.#lock(cluster);
    await this.#tell(signal);
    if (leads()) await this.#lead(signal);
    await this.#forget(signal);
  }

  async #fetch(keyId: string, signal: AbortSignal): Promise<void> {
    const { store, vault, stateDir, managerId, fetchKeys, logger } = this.#options;
    // Who made it is not in the records before it has looked itself: all are asked.
    const others = [...store.all('managers').values()].filter(({ id }) => id !== managerId);
    for (const manager of others) {
      const keys = await fetchKeys(manager, signal).catch((error: unknown) => {
        logger.debug({ manager: manager.id, error: describeError(error) }, 'a manager gave no data keys');
        return [];
      });
      const found = keys.find(({ id }) => id === keyId);
      if (found === undefined) continue;
      vault.add(found);
      return writeKeys(stateDir, vault);
    }
    throw new UnavailableError(`no manager that answers has the data key ${keyId}`);
  }

  /** The first in the file is the one that is sealed with. */
  async #use(keyId: string): Promise<void> {
    const { vault, stateDir, logger } = this.#options;
    if (!vault.has(keyId)) throw new UnavailableError(`this manager has not the data key ${keyId}`);
    vault.use(keyId);
    await writeKeys(stateDir, vault);
    logger.info({ keyId }, 'secrets and configs are sealed with another data key from now on');
  }

  /** The file is locked, or not any more, or with another key, as the cluster has it. */
  async #lock(cluster: Cluster): Promise<void> {
    const { vault, stateDir, logger } = this.#options;
    const { unlockKey } = cluster.autolock === true ? openSecrets(vault, cluster) : {};
    const wanted = unlockKey === undefined ? undefined : Buffer.from(unlockKey, 'base64');
    if (wanted === undefined ? vault.unlockKey === undefined : vault.unlockKey?.equals(wanted) === true)
      return;
    vault.unlockKey = wanted;
    await writeKeys(stateDir, vault);
    logger.info({ locked: wanted !== undefined }, 'the lock of the data key has changed');
  }

  /** Only what is on its disk is told of. */
  async #tell(signal: AbortSignal): Promise<void> {
    const { store, vault, managerId } = this.#options;
    const record = store.get('managers', managerId);
    if (record === undefined) return;
    const { dataKeys: told, ...rest } = record;
    const has = vault.keys.map(({ id }) => id).sort();
    if (has.join() === (told ?? []).join() || (has.length === 1 && told === undefined)) return;
    const value = has.length === 1 ? rest : { ...rest, dataKeys: has };
    const expect = store.version('managers', managerId);
    await store.commit([{ table: 'managers', key: managerId, value, expect }], { signal });
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { store, vault, clock, logger } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      const cluster = store.get('cluster', 'self');
      if (cluster?.dataKeyId === undefined || !vault.has(cluster.dataKeyId)) return;
      const { dataKeyRotation: going, dataKeyId } = cluster;
      if (going !== undefined && going.keyId !== dataKeyId) {
        if (lacking(store, going.keyId).length > 0 || !vault.has(going.keyId)) return;
        await this.#use(going.keyId);
        await this.#writeCluster({ ...cluster, dataKeyId: going.keyId }, signal);
        continue;
      }
      const writes = this.#batch(dataKeyId);
      if (writes.length > 0) await store.commit(writes, { signal });
      else if ('sealed' in cluster.secrets && cluster.secrets.sealed.keyId !== dataKeyId)
        await this.#writeCluster(cluster, signal);
      else if (going === undefined) return;
      else {
        const { dataKeyRotation: _, ...rest } = cluster;
        await this.#writeCluster({ ...rest, dataKeyChangedAtMs: clock.now() }, signal);
        logger.info({ keyId: dataKeyId }, 'the rotation of the data key is done');
      }
    }
  }

  /** With its secrets sealed by the key that this manager seals with. */
  async #writeCluster(cluster: Cluster, signal: AbortSignal): Promise<void> {
    const { store, vault, clock } = this.#options;
    const expect = store.version('cluster', 'self');
    const secrets = sealSecrets(vault, openSecrets(vault, cluster));
    const value = { ...cluster, secrets, updatedAtMs: clock.now() };
    await store.commit([{ table: 'cluster', key: 'self', value, expect }], { signal });
  }

  #batch(keyId: string): Write[] {
    const { store, vault } = this.#options;
    const writes: Write[] = [];
    let bytes = 0;
    for (const { kind, table, file } of sealedOtherwise(store, keyId)) {
      bytes += file.sealed.text.length;
      if (writes.length > 0 && (bytes > BATCH_BYTES || writes.length >= BATCH)) break;
      const sealed = vault.seal(kind, file.id, vault.open(kind, file.id, file.sealed));
      writes.push({ table, key: file.id, value: { ...file, sealed }, expect: store.version(table, file.id) });
    }
    return writes;
  }

  /** Old keys, when nothing has needed them for long. */
  async #forget(signal: AbortSignal): Promise<void> {
    const { store, vault, stateDir, clock, logger, keepOldMs = KEEP_OLD_MS } = this.#options;
    const cluster = store.get('cluster', 'self');
    if (cluster === undefined || cluster.dataKeyRotation !== undefined || cluster.dataKeyId !== vault.keyId)
      return;
    if (vault.keys.length === 1 || clock.now() - (cluster.dataKeyChangedAtMs ?? 0) < keepOldMs) return;
    if (!sealedOtherwise(store, vault.keyId).next().done) return;
    if ('sealed' in cluster.secrets && cluster.secrets.sealed.keyId !== vault.keyId) return;
    for (const { id } of vault.keys.slice(1)) vault.forget(id);
    await writeKeys(stateDir, vault);
    logger.info({ keyId: vault.keyId }, 'data keys of before are forgotten');
    await this.#tell(signal);
  }
}

function holders(store: Store, keyId: string): ManagerRecord[] {
  return [...store.all('managers').values()].filter((one) => one.dataKeys?.includes(keyId) === true);
}

function lacking(store: Store, keyId: string): ManagerRecord[] {
  return [...store.all('managers').values()].filter((one) => one.dataKeys?.includes(keyId) !== true);
}

const KINDS: readonly (readonly [StoredFileKind, 'secrets' | 'configs'])[] = [
  ['secret', 'secrets'],
  ['config', 'configs'],
];

function* sealedOtherwise(
  store: Store,
  keyId: string,
): Generator<{ kind: StoredFileKind; table: 'secrets' | 'configs'; file: StoredFile }> {
  for (const [kind, table] of KINDS)
    for (const file of store.all(table).values())
      if (file.sealed.keyId !== keyId) yield { kind, table, file };
}
