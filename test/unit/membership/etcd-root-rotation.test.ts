/** The root of etcd's authority is replaced by several managers, cut off anywhere: any two etcds believe each other at every moment. */
import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import test from 'ava';
import type { RootMaterial } from '../../../manager/ca/authority.ts';
import { newEtcdRoot, rootName } from '../../../manager/ca/etcd-authority.ts';
import { EtcdRootRotation } from '../../../manager/membership/etcd-root-rotation.ts';
import { UnavailableError } from '../../../shared/errors/index.ts';
import type { ManagerRecord } from '../../../shared/model/index.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const { signal } = new AbortController();

/** What is on a manager's disk, and what its etcd read when it started. The etcd itself is in the cluster test. */
class Manager {
  readonly id: string;
  readonly rotation: EtcdRootRotation;
  up = true;
  /** Fails after so many writes of the disk, as a machine that dies does. */
  writesLeft = Infinity;
  #disk: readonly RootMaterial[];
  #running: readonly RootMaterial[];

  constructor(world: World, id: string, first: RootMaterial) {
    this.id = id;
    this.#disk = [first];
    this.#running = [first];
    this.rotation = new EtcdRootRotation({
      store: world.store,
      etcd: this,
      managerId: id,
      alive: () => new Set(world.managers.filter(({ up }) => up).map((one) => one.id)),
      leads: () => world.managers.find(({ up }) => up) === this,
      fetchRoots: async ({ id: other }) => {
        const manager = world.managers.find((one) => one.id === other);
        if (manager?.up !== true) throw new UnavailableError(`${other} does not answer`);
        return manager.roots();
      },
      clock: { now: () => world.nowMs },
      logger: silentLogger,
      settleMs: 0,
    });
  }

  get trusted(): readonly string[] {
    return this.#running.map(rootName);
  }

  async roots(): Promise<readonly RootMaterial[]> {
    return this.#disk;
  }

  async keepRoots(roots: readonly RootMaterial[]): Promise<void> {
    if (this.writesLeft <= 0) this.die();
    this.writesLeft -= 1;
    this.#disk = roots;
  }

  async believe(roots: readonly RootMaterial[]): Promise<void> {
    await this.keepRoots(roots);
    if (this.writesLeft <= 0) this.die();
    this.#running = roots;
  }

  die(): never {
    this.up = false;
    throw new UnavailableError(`${this.id} died`);
  }

  /** What it shows and believes is what it finds on its disk. */
  start(): void {
    this.up = true;
    this.writesLeft = Infinity;
    this.#running = this.#disk;
  }
}

class World {
  readonly store = new MemoryStore();
  managers: Manager[] = [];
  nowMs = 1_000_000;

  static async of(count: number): Promise<World> {
    const world = new World();
    const first = await newEtcdRoot(world.nowMs);
    const cluster = { id: 'self', clusterId: 'c' } as never;
    await world.store.commit([{ table: 'cluster', key: 'self', value: cluster }], { signal });
    for (let number = 1; number <= count; number += 1) {
      const id = `m${number}`;
      const value = { id, hostname: id, state: 'member' } as ManagerRecord;
      await world.store.commit([{ table: 'managers', key: id, value }], { signal });
      world.managers.push(new Manager(world, id, first));
    }
    return world;
  }

  get going(): string | undefined {
    return this.store.get('cluster', 'self')?.etcdRootRotation?.name;
  }

  async look(manager: Manager | undefined): Promise<void> {
    if (manager?.up === true) await manager.rotation.look(signal).catch(() => undefined);
  }

  async lookAll(rounds: number): Promise<void> {
    for (let round = 0; round < rounds && this.going !== undefined; round += 1)
      for (const manager of this.managers) await this.look(manager);
  }

  /** What somebody shows whom somebody does not believe; undefined when all is well. */
  get stranger(): string | undefined {
    for (const a of this.managers)
      for (const b of this.managers)
        if (!b.trusted.includes(a.trusted[0] ?? '')) return `${b.id} does not believe ${a.id}`;
    return undefined;
  }
}

const step = fc.record({
  who: fc.nat({ max: 4 }),
  what: fc.constantFrom('look', 'look', 'look', 'look', 'die at a write', 'die', 'start', 'begin'),
  writes: fc.nat({ max: 2 }),
});

test('all believe each other whoever dies when, and in the end the next root is the only one', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.array(step, { maxLength: 60 }),
      async (count, steps) => {
        const world = await World.of(count);
        const first = world.managers[0]?.trusted[0];
        await world.managers[0]?.rotation.begin(signal);
        for (const { who, what, writes } of steps) {
          const manager = world.managers[who % count];
          if (manager === undefined) continue;
          if (what === 'look') await world.look(manager);
          else if (what === 'start') manager.start();
          else if (what === 'die') manager.up = false;
          else if (what === 'die at a write') manager.writesLeft = writes;
          else if (manager.up) await manager.rotation.begin(signal).catch(() => undefined);
          if (world.stranger !== undefined) throw new Error(world.stranger);
        }
        for (const manager of world.managers) manager.start();
        world.nowMs += 120_000;
        await world.lookAll(20 * count);
        t.is(world.going, undefined);
        const shown = new Set(world.managers.map(({ trusted }) => trusted.join()));
        if (shown.size !== 1 || shown.has(first ?? '')) throw new Error([...shown].join(' and '));
      },
    ),
    { numRuns: 25 },
  );
});

test('one that is down is waited for, by name, and nothing starts again; once it is removed the rest goes on', async (t) => {
  const world = await World.of(3);
  const [m1, m2, m3] = world.managers;
  if (m1 === undefined || m2 === undefined || m3 === undefined) throw new Error('not three');
  m3.up = false;
  await m1.rotation.begin(signal);
  await t.throwsAsync(m2.rotation.begin(signal), { message: /under way/ });
  await world.lookAll(5);
  t.deepEqual([m1.trusted.length, m2.trusted.length], [1, 1]);
  t.is(
    m1.rotation.progress?.waiting.find(({ id }) => id === 'm3')?.state,
    'does not trust the next root yet, not reachable',
  );
  await world.store.commit([{ table: 'managers', key: 'm3', value: null }], { signal });
  world.managers = [m1, m2];
  await world.lookAll(20);
  t.is(world.going, undefined);
  t.deepEqual(m1.trusted, m2.trusted);
  t.false(m1.trusted.includes(m3.trusted[0] ?? ''));
  const [root] = await m1.roots();
  t.true(new X509Certificate(root?.caCertificatePem ?? '').ca);
});

test('a root that nobody has any more is given up', async (t) => {
  const world = await World.of(2);
  const [m1, m2] = world.managers;
  await m1?.rotation.begin(signal);
  if (m1 !== undefined) m1.up = false;
  await world.look(m2);
  t.not(world.going, undefined, 'it may come back');
  world.nowMs += 61_000;
  await world.look(m2);
  t.is(world.going, undefined);
  m1?.start();
  await m1?.rotation.begin(signal);
  await world.lookAll(20);
  t.is(world.going, undefined);
  t.deepEqual(m1?.trusted, m2?.trusted);
  t.is(m1?.trusted.length, 1);
});
