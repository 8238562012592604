/** The data key is rotated: by several managers, cut off anywhere, with secrets made meanwhile; nothing is ever lost. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { loadOrCreateCluster, openSecrets, sealSecrets } from '../../../manager/ca/cluster.ts';
import { keyText, lockOf, openVault, parseKeys } from '../../../manager/vault/data-key-file.ts';
import { KeyRotation } from '../../../manager/vault/key-rotation.ts';
import { formatUnlockKey, isLocked, newUnlockKey } from '../../../manager/vault/lock.ts';
import type { Vault } from '../../../manager/vault/seal.ts';
import { UnavailableError } from '../../../shared/errors/index.ts';
import type { ManagerRecord } from '../../../shared/model/index.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const { signal } = new AbortController();
const KEEP_OLD_MS = 60_000;

/** A manager of the test: its directory, its vault; it starts anew from its files. */
class Manager {
  readonly id: string;
  readonly directory: string;
  vault!: Vault;
  rotation!: KeyRotation;
  up = true;

  constructor(id: string, directory: string) {
    this.id = id;
    this.directory = directory;
  }

  keys(): Promise<string> {
    return readFile(join(this.directory, 'data-key'), 'utf8');
  }
}

/** After so many writes there are no more. */
class CutStore extends MemoryStore {
  left = Infinity;

  override async commit(...what: Parameters<MemoryStore['commit']>): Promise<number> {
    if (this.left <= 0) throw new UnavailableError('cut off');
    this.left -= 1;
    return super.commit(...what);
  }

  get withoutSeals(): string {
    const values = [...this.all('secrets').values()];
    return JSON.stringify(values, (key, value: unknown) => (key === 'sealed' ? undefined : value));
  }
}

class World {
  readonly store = new CutStore();
  readonly managers: Manager[] = [];
  leader = 'm1';
  nowMs = 1_000_000;

  async add(t: ExecutionContext, id: string): Promise<Manager> {
    const directory = await mkdtemp(join(tmpdir(), 'shoal-keys-'));
    t.teardown(() => rm(directory, { recursive: true }));
    const manager = new Manager(id, directory);
    const [first] = this.managers;
    if (first !== undefined) {
      await writeFile(join(directory, 'data-key'), await first.keys());
    }
    this.managers.push(manager);
    await this.start(manager);
    const times = { createdAtMs: 1, updatedAtMs: 1 };
    const value: ManagerRecord = {
      id,
      hostname: id,
      address: `${id}:1`,
      state: 'member',
      version: '1',
      ...times,
    };
    await this.store.commit([{ table: 'managers', key: id, value }], { signal });
    return manager;
  }

  /** As after a crash: all that it knows is in its files and in the store. */
  async start(manager: Manager, unlockKey?: Buffer): Promise<void> {
    const { store } = this;
    manager.vault = await openVault(store, manager.directory, false, signal, unlockKey);
    await loadOrCreateCluster(store, manager.vault, {}, 1, signal);
    manager.rotation = new KeyRotation({
      ...{ store, vault: manager.vault, stateDir: manager.directory, managerId: manager.id },
      leads: () => this.leader === manager.id,
      fetchKeys: async ({ id }) => {
        const other = this.managers.find((one) => one.id === id);
        if (other?.up !== true) throw new UnavailableError(`${id} is away`);
        return parseKeys(keyText(other.vault));
      },
      clock: { now: () => this.nowMs },
      logger: silentLogger,
      keepOldMs: KEEP_OLD_MS,
    });
  }

  async secret(by: Manager, id: string, size = 10): Promise<void> {
    const text = Buffer.alloc(size, id);
    const sealed = by.vault.seal('secret', id, text);
    const times = { createdAtMs: 1, updatedAtMs: 1 };
    const value = { id, spec: { name: id, labels: {} }, version: 1, ...times, sealed };
    await this.store.commit([{ table: 'secrets', key: id, value }], { signal });
  }

  /** Everybody looks, some times over. */
  async settle(): Promise<void> {
    for (let i = 0; i < 6; i += 1)
      for (const manager of this.managers)
        if (manager.up) await manager.rotation.look(signal).catch(() => undefined);
  }

  /** Every running manager opens every secret, and the cluster's own. */
  readable(t: ExecutionContext): void {
    const cluster = this.store.get('cluster', 'self');
    for (const { vault, up } of this.managers) {
      if (!up || cluster === undefined) continue;
      t.regex(openSecrets(vault, cluster).caKeyPem, /PRIVATE KEY/);
      for (const { id, sealed } of this.store.all('secrets').values())
        t.true(vault.open('secret', id, sealed).toString().startsWith(id));
    }
  }

  get keyIds(): Set<string> {
    const sealed = [...this.store.all('secrets').values()].map((one) => one.sealed.keyId);
    const secrets = this.store.get('cluster', 'self')?.secrets;
    return new Set([
      ...sealed,
      ...(secrets !== undefined && 'sealed' in secrets ? [secrets.sealed.keyId] : []),
    ]);
  }
}

test('all managers get the next key, then all is sealed anew, and the old key is forgotten an hour later', async (t) => {
  const world = new World();
  const m1 = await world.add(t, 'm1');
  const m2 = await world.add(t, 'm2');
  for (let i = 0; i < 120; i += 1) await world.secret(m1, `s${i}`, i % 10 === 0 ? 400_000 : 10);
  const ca = world.store.get('cluster', 'self')?.caCertificatePem;
  const old = m1.vault.keyId;
  const before = world.store.withoutSeals;
  await m2.rotation.begin(signal);
  const next = world.store.get('cluster', 'self')?.dataKeyRotation?.keyId ?? '';
  const etcd = JSON.stringify([
    ...world.store.all('cluster').values(),
    ...world.store.all('managers').values(),
  ]);
  for (const key of parseKeys(await m2.keys())) t.false(etcd.includes(key.bytes.toString('base64')));
  await t.throwsAsync(m1.rotation.begin(signal), { message: /under way/ });
  t.like(m1.rotation.progress, { keyId: next, left: 120 });
  t.deepEqual(
    m1.rotation.progress?.waiting.map(({ id }) => id),
    ['m1', 'm2'],
  );
  await world.settle();
  t.is(m1.rotation.progress, undefined);
  t.deepEqual(world.keyIds, new Set([next]));
  t.deepEqual([m1.vault.keyId, m2.vault.keyId], [next, next]);
  world.readable(t);
  t.is(world.store.get('cluster', 'self')?.caCertificatePem, ca);
  t.is(world.store.withoutSeals, before, 'nothing but the seals has changed');
  t.true(m1.vault.has(old), 'a manager may have sealed with it a moment ago');
  world.nowMs += KEEP_OLD_MS;
  await world.settle();
  for (const manager of world.managers) {
    t.deepEqual(
      parseKeys(await manager.keys()).map(({ id }) => id),
      [next],
    );
    t.is(world.store.get('managers', manager.id)?.dataKeys, undefined);
  }
  await m1.rotation.begin(signal);
  await world.settle();
  t.is(world.keyIds.has(next), false, 'and again');
});

test('a manager that is away holds it up; a secret that a late one seals with the old key is sealed anew', async (t) => {
  const world = new World();
  const [m1, m2, m3] = [await world.add(t, 'm1'), await world.add(t, 'm2'), await world.add(t, 'm3')];
  await world.secret(m1, 'a');
  m3.up = false;
  await m1.rotation.begin(signal);
  await world.settle();
  t.deepEqual(
    m2.rotation.progress?.waiting.map(({ id }) => id),
    ['m3'],
  );
  await world.secret(m1, 'b');
  world.readable(t);
  m3.up = true;
  await world.start(m3);
  await world.settle();
  t.is(m2.rotation.progress, undefined);
  // It has not heard of the change yet.
  const [old] = m3.vault.keys.filter(({ id }) => id !== m3.vault.keyId);
  m3.vault.use(old?.id ?? '');
  await world.secret(m3, 'c');
  world.nowMs += KEEP_OLD_MS;
  world.readable(t);
  await world.settle();
  world.readable(t);
  t.is(world.keyIds.size, 1);
  for (const { vault } of world.managers) t.is(vault.keys.length, 1);
});

test('cut off after any write, it goes on from the records and files, with another leader too', async (t) => {
  for (let cut = 0; cut < 12; cut += 1) {
    const world = new World();
    const [m1, m2] = [await world.add(t, 'm1'), await world.add(t, 'm2')];
    for (let i = 0; i < 4; i += 1) await world.secret(m1, `s${i}`, 400_000);
    await m1.rotation.begin(signal);
    world.store.left = cut;
    await world.settle();
    world.store.left = Infinity;
    for (const manager of world.managers) await world.start(manager);
    world.readable(t);
    world.leader = 'm2';
    await world.settle();
    world.readable(t);
    t.is(m2.rotation.progress, undefined, `cut after ${cut}`);
    t.is(world.keyIds.size, 1);
    t.true(world.keyIds.has(m1.vault.keyId));
  }
});

test('a next key that was lost with the manager that made it is replaced', async (t) => {
  const world = new World();
  const [m1, m2] = [await world.add(t, 'm1'), await world.add(t, 'm2')];
  await world.secret(m1, 'a');
  await m2.rotation.begin(signal);
  m2.up = false;
  world.managers.splice(1, 1);
  await world.store.commit([{ table: 'managers', key: 'm2', value: null }], { signal });
  await world.settle();
  t.not(m1.rotation.progress, undefined);
  await t.throwsAsync(m1.rotation.begin(signal), { message: /under way/ });
  world.nowMs += 60_000;
  await m1.rotation.begin(signal);
  await world.settle();
  t.is(m1.rotation.progress, undefined);
  world.readable(t);
});

test('autolock: files are locked with the unlock key, a rotation of the data key goes on, and they are opened again', async (t) => {
  const world = new World();
  const [m1, m2] = [await world.add(t, 'm1'), await world.add(t, 'm2')];
  await world.secret(m1, 'a');
  const lockWith = async (key: Buffer | undefined): Promise<void> => {
    const cluster = world.store.get('cluster', 'self');
    if (cluster === undefined) throw new Error('no cluster');
    const { unlockKey: _, ...rest } = openSecrets(m1.vault, cluster);
    const secrets = key === undefined ? rest : { ...rest, unlockKey: key.toString('base64') };
    const value = { ...cluster, autolock: key !== undefined, secrets: sealSecrets(m1.vault, secrets) };
    await world.store.commit([{ table: 'cluster', key: 'self', value }], { signal });
    await world.settle();
  };
  const first = newUnlockKey();
  await lockWith(first);
  const plain = m1.vault.keys[0]?.bytes.toString('base64') ?? '';
  for (const manager of world.managers) {
    const text = await manager.keys();
    t.true(isLocked(text));
    t.false(text.includes(plain));
    await t.throwsAsync(world.start(manager), { message: /is no data key|should be in/ });
    const open = await lockOf(manager.directory);
    t.throws(() => open?.(formatUnlockKey(newUnlockKey())), { message: /not the right one/ });
    t.throws(() => open?.('SWMKEY-1-short'), { message: /invalid key string/ });
    const key = open?.(`${formatUnlockKey(first)}\n`);
    t.deepEqual(key, first);
    await world.start(manager, key);
  }
  world.readable(t);
  await m2.rotation.begin(signal);
  await world.settle();
  t.is(m1.rotation.progress, undefined);
  for (const manager of world.managers) t.true(isLocked(await manager.keys()));
  const second = newUnlockKey();
  await lockWith(second);
  for (const manager of world.managers) {
    const open = await lockOf(manager.directory);
    t.throws(() => open?.(formatUnlockKey(first)));
    await world.start(manager, open?.(formatUnlockKey(second)));
  }
  world.readable(t);
  await lockWith(undefined);
  for (const manager of world.managers) {
    t.false(isLocked(await manager.keys()));
    t.is(await lockOf(manager.directory), undefined);
    await world.start(manager);
  }
  world.readable(t);
});
