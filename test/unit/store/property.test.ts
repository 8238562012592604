import test from 'ava';
import fc from 'fast-check';
import { chooseGroup, CommitLocks } from '../../../manager/store/commit-locks.ts';
import type { OpenStore } from '../../../manager/store/open-store.ts';
import { StoredSchema } from '../../../manager/store/stored-schema.ts';
import { StaleError } from '../../../manager/store/store.ts';
import type { Change, Guard, Write } from '../../../manager/store/store.ts';
import { prepare } from '../../../manager/store/transaction.ts';
import { startEtcd } from '../../harness/etcd.ts';
import { contentOf, contentOfEtcd, eventually, open, put, remove, within } from './helpers.ts';

const id = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const operation = fc.record({
  key: id,
  kind: fc.constantFrom('put', 'delete'),
  /** Guarded by what the writer's mirror has at the time. */
  guarded: fc.boolean(),
  slot: fc.nat(1_000),
  node: fc.constantFrom('n1', 'n2'),
});
const commit = fc.record({
  store: fc.nat(1),
  operations: fc.uniqueArray(operation, { selector: ({ key }) => key, maxLength: 4 }),
  guard: fc.option(id, { nil: undefined }),
  /** Whether the writer waits for it before it goes on. */
  awaited: fc.boolean(),
});
type Commit = typeof commit extends fc.Arbitrary<infer T> ? T : never;

function writesOf(store: OpenStore, { operations }: Commit): Write[] {
  return operations.map(({ key, kind, guarded, slot, node }) => {
    const expect = guarded ? store.version('tasks', key) : undefined;
    return kind === 'put' ? put(key, { slot, nodeId: node }, expect) : remove(key, expect);
  });
}

/** Runs one; returns its faults. */
async function run(store: OpenStore, one: Commit): Promise<string[]> {
  const guards: Guard[] =
    one.guard === undefined
      ? []
      : [{ table: 'tasks', key: one.guard, expect: store.version('tasks', one.guard) }];
  try {
    const writes = writesOf(store, one);
    const revision = await store.commit(writes, { guards, signal: within() });
    const effective = writes.some(({ value }) => value !== null);
    if (effective && store.revision < revision) return ['resolved before the mirror had it'];
    return [];
  } catch (error) {
    return error instanceof StaleError && !error.fenced ? [] : [String(error)];
  }
}

function replay(changes: readonly Change[], into: Map<string, unknown>): string[] {
  const faults: string[] = [];
  for (const { key, before, after } of changes) {
    if (into.get(key) !== before) faults.push(`${key}: a gap before ${JSON.stringify(after)}`);
    if (after === undefined) into.delete(key);
    else into.set(key, after);
  }
  return faults;
}

test.serial(
  'whatever two stores commit at the same time, both mirrors end as etcd is, and tell no gap',
  async (t) => {
    await using etcd = await startEtcd();
    await using first = await open(etcd);
    await using second = await open(etcd);
    const stores = [first, second];
    const faults: string[] = [];
    for (const store of stores) {
      const told = new Map<string, unknown>();
      store.onChange((changes) => faults.push(...replay(changes, told)));
    }
    const property = fc.asyncProperty(fc.array(commit, { minLength: 1, maxLength: 40 }), async (commits) => {
      const running: Promise<string[]>[] = [];
      for (const one of commits) {
        const outcome = run(stores[one.store] as OpenStore, one);
        running.push(outcome);
        if (one.awaited) await outcome;
      }
      faults.push(...(await Promise.all(running)).flat());
      const end = await etcd.client.put('/shoal/v1/names/end').value('{"id":"x"}');
      await eventually(t, 'both have it all', () =>
        stores.every(({ revision }) => revision >= Number(end.header.revision)),
      );
      const content = JSON.stringify(await contentOfEtcd(etcd));
      const indexed = stores.map((store) =>
        [...store.all('tasks').values()].every(({ id: key, nodeId }) =>
          store.tasksOfNode(nodeId ?? '').has(key),
        ),
      );
      return (
        faults.length === 0 &&
        indexed.every(Boolean) &&
        stores.every((store) => JSON.stringify(contentOf(store)) === content)
      );
    });
    await fc.assert(property, { numRuns: 60, interruptAfterTimeLimit: 60_000 });
    t.deepEqual(faults, []);
  },
);

test.serial(
  'a group holds no two commits of which one writes what the other touches, and keeps the order of a key',
  (t) => {
    const prepared = fc
      .record({
        writes: fc.uniqueArray(id, { maxLength: 3 }),
        guards: fc.uniqueArray(id, { maxLength: 3 }),
      })
      .map(({ writes, guards }) =>
        prepare(
          writes.map((key) => put(key)),
          guards.map((key) => ({ table: 'tasks', key, expect: 0 })),
          undefined,
          new StoredSchema(),
        ),
      );
    const property = fc.property(
      fc.array(prepared, { maxLength: 12 }),
      fc.integer({ min: 1, max: 8 }),
      (queue, operations) => {
        const chosen = chooseGroup(queue, new CommitLocks(), { operations, bytes: 1e6 });
        if (queue.length > 0) t.true(chosen.includes(0), 'the first one always goes');
        const clash = (a: number, b: number): boolean => {
          const [one, other] = [queue[a], queue[b]];
          if (one === undefined || other === undefined) return false;
          const touched = new Set([...other.written, ...other.guarded]);
          return (
            one.written.some((key) => touched.has(key)) ||
            other.written.some((key) => one.guarded.includes(key))
          );
        };
        for (const a of chosen) {
          // Nothing before it that clashes with it: neither in the group nor left behind.
          for (let b = 0; b < a; b += 1) t.false(clash(a, b));
        }
        const count = chosen.reduce((sum, at) => sum + (queue[at]?.operations.length ?? 0), 0);
        t.true(chosen.length === 1 || count <= operations);
      },
    );
    fc.assert(property, { numRuns: 500 });
  },
);
