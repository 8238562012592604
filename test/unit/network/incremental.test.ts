import test from 'ava';
import fc from 'fast-check';
import { choose, hashSlots } from '../../../agent/network/balance.ts';
import { desiredState } from '../../../agent/network/desired.ts';
import { DesiredTracker, type ScopeChange } from '../../../agent/network/desired-tracker.ts';
import { EndpointIndex } from '../../../agent/network/endpoint-index.ts';
import { NameTable } from '../../../agent/network/dns-names.ts';
import { fingerprintOf, type KernelObject, type Scope } from '../../../agent/network/kernel-object.ts';
import type { Self } from '../../../agent/network/local.ts';
import { SetChanges } from '../../../agent/network/set-changes.ts';
import { flushes } from '../../../agent/network/withdrawn.ts';
import { changedMap } from '../../../shared/lib/layered-map.ts';
import type { AssignmentSet } from '../../../shared/model/index.ts';
import { applyDiff, diffAssignments, listsToSet, setToLists } from '../../../shared/wire/assignment-diff.ts';
import { assignmentsOf, type World } from '../../cluster/network-model.ts';
import { flowPlace, SELF, selfWith, worlds } from './worlds.ts';

/** A node that hears of these worlds one after the other, as differences; `forgets` at some of them. */
const histories = fc.array(
  fc.record({ world: worlds, attached: fc.boolean(), forgets: fc.constantFrom(false, false, false, true) }),
  { minLength: 2, maxLength: 6 },
);

function selfIn(set: AssignmentSet, attached: boolean, localRevision: number): Self {
  const running = [...set.tasks.values()].filter((task) => attached && task.desired === 'running');
  return selfWith(running, localRevision);
}

/** The next world's set, made from the last one by a difference as it comes from a manager. */
function nextSet(before: AssignmentSet | undefined, world: World, peers: World['peers']): AssignmentSet {
  const after = assignmentsOf({ ...world, peers }, SELF);
  return before === undefined
    ? listsToSet(setToLists(after))
    : applyDiff(before, diffAssignments(before, after));
}

/** Nodes come and go seldom. */
function peersOf(history: readonly { readonly world: World }[], at: number): World['peers'] {
  const most = history.map(({ world }) => world.peers).toSorted((a, b) => b.length - a.length)[0] ?? [];
  return at === 3 ? most.map((peer) => ({ ...peer, address: peer.address.replace('99', '98') })) : most;
}

function applied(scope: Scope, { whole, objects }: ScopeChange): Scope {
  const next = new Map(whole ? [] : scope);
  for (const [key, object] of objects) {
    if (object === undefined) next.delete(key);
    else next.set(key, object);
  }
  return next;
}

function prints(scope: Scope): [string, string][] {
  return [...scope]
    .map(([key, object]: [string, KernelObject]): [string, string] => [key, fingerprintOf(object)])
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
}

test('what is followed change by change is what would be computed of the whole', (t) => {
  let partly = 0;
  fc.assert(
    fc.property(histories, (history) => {
      const tracker = new DesiredTracker();
      const changes = new SetChanges();
      let set: AssignmentSet | undefined;
      let host: Scope = new Map();
      let sandboxes = new Map<string, Scope>();
      for (const [revision, { world, attached, forgets }] of history.entries()) {
        const next = nextSet(set, world, peersOf(history, revision));
        changes.follow(set, next);
        set = next;
        if (forgets) tracker.forget();
        const self = selfIn(next, attached, revision);
        const change = tracker.follow(next, self, changes.take());
        partly += Number(!change.host.whole);
        host = applied(host, change.host);
        sandboxes = new Map(
          [...change.sandboxes].map(([id, { scope }]) => [
            id,
            applied(sandboxes.get(id) ?? new Map(), scope),
          ]),
        );
        const full = desiredState(next, self);
        t.deepEqual(prints(host), prints(full.host));
        t.deepEqual([...sandboxes.keys()], [...full.sandboxes.keys()]);
        for (const [id, { objects }] of full.sandboxes)
          t.deepEqual(prints(sandboxes.get(id) ?? new Map()), prints(objects));
      }
    }),
    { numRuns: 150 },
  );
  t.true(partly > 100, 'not all were whole');
});

test('names that are kept in step are those that would be made anew', (t) => {
  fc.assert(
    fc.property(histories, (history) => {
      let set: AssignmentSet | undefined;
      let kept: NameTable | undefined;
      for (const [at, { world }] of history.entries()) {
        const next = nextSet(set, world, peersOf(history, at));
        const changes = new SetChanges();
        changes.follow(set, next);
        changes.take();
        changes.follow(set, next);
        const network = next.networks.get('front');
        if (network === undefined) throw new Error('front is always there');
        const rows = changes.take();
        if (kept !== undefined && set !== undefined && rows !== undefined) kept.update(set, next, rows);
        else kept = new NameTable(next, network, SELF);
        set = next;
        t.deepEqual(contents(kept, next), contents(new NameTable(next, network, SELF), next));
      }
    }),
    { numRuns: 100 },
  );
});

/** All that a table says of the names and addresses there can be. */
function contents(names: NameTable, set: AssignmentSet): unknown {
  const services = ['s0', 's1', 's2', 'alias0', 'alias1'].map((name) => {
    const entry = names.services.get(name);
    return [name, entry?.vip, entry?.serving.toSorted()];
  });
  const tasks = [...set.endpoints.values()].map((e) => {
    const name = `${e.serviceName}.${e.slot}.${e.taskId}`.toLowerCase();
    return [name, names.tasks.get(name), names.reverse.get(e.address)];
  });
  const addresses = Array.from({ length: 250 }, (_, i) => names.reverse.get(`10.5.0.${i}`));
  return [services, tasks, addresses];
}

test('connections are forgotten alike, whether the differing rows are known or not', (t) => {
  fc.assert(
    fc.property(worlds, worlds, (one, other) => {
      const before = assignmentsOf(one, SELF);
      const after = applyDiff(before, diffAssignments(before, assignmentsOf(other, SELF)));
      const changes = new SetChanges();
      changes.take();
      changes.follow(before, after);
      const all = new Set([...before.endpoints.keys(), ...after.endpoints.keys()]);
      const services = new Set([...before.services.keys(), ...after.services.keys()]);
      const places = ['front', 'back', 'ingress', ''].map((networkId) => flowPlace({ networkId }));
      const rows = { endpoints: all, services };
      t.deepEqual(
        flushes(before, after, rows, SELF, places),
        flushes(before, after, undefined, SELF, places),
      );
    }),
  );
});

test('a layered map is what a copied one would be', (t) => {
  const keys = fc.integer({ min: 0, max: 3_000 });
  const steps = fc.array(
    fc.record({
      put: fc.array(fc.tuple(keys, fc.nat()), { maxLength: 30 }),
      drop: fc.array(keys, { maxLength: 30 }),
    }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(steps, fc.integer({ min: 0, max: 3_000 }), (list, size) => {
      const copied = new Map(Array.from({ length: size }, (_, i) => [i, -1]));
      let layered: ReadonlyMap<number, number> = new Map(copied);
      for (const { put, drop } of list) {
        const before = layered;
        const was = [...before].toSorted(([a], [b]) => a - b);
        for (const key of drop) copied.delete(key);
        for (const [key, value] of put) copied.set(key, value);
        layered = changedMap(layered, put, drop);
        t.is(layered.size, copied.size);
        t.deepEqual(
          [...layered].toSorted(([a], [b]) => a - b),
          [...copied].toSorted(([a], [b]) => a - b),
        );
        t.deepEqual([...layered.keys()].length, [...layered.values()].length);
        for (const [key] of put) t.is(layered.get(key), copied.get(key));
        for (const key of drop) t.is(layered.has(key), copied.has(key));
        t.deepEqual(
          [...before].toSorted(([a], [b]) => a - b),
          was,
          'the one before stays',
        );
      }
    }),
    { numRuns: 60 },
  );
});

test('keys that changed are known of the next table only', (t) => {
  const world = fc.sample(worlds, { seed: 3, numRuns: 50 }).find((one) => one.tasks.length > 2);
  if (world === undefined) return t.fail();
  const first = applyDiff(assignmentsOf(world, SELF), { put: {}, drop: {} });
  const [row] = setToLists(first).endpoints;
  if (row === undefined) return t.fail();
  const second = applyDiff(first, { put: { endpoints: [{ ...row, serving: !row.serving }] }, drop: {} });
  const third = applyDiff(second, { put: {}, drop: { endpoints: [`${row.networkId}/${row.taskId}`] } });
  const changes = new SetChanges();
  changes.take();
  changes.follow(second, third);
  t.deepEqual([...(changes.take()?.endpoints ?? [])], [`${row.networkId}/${row.taskId}`]);
  changes.follow(second, { ...third, services: new Map() });
  t.is(changes.take(), undefined, 'a table of unknown making');
  changes.follow(first, third);
  t.is(changes.take(), undefined, 'a step was missed');
});

test('a source hash: all backends have their share, and one that goes moves little besides its own', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 100 }), fc.nat(), (count, seed) => {
      const backends = Array.from({ length: count }, (_, i) => `10.${seed % 200}.0.${i}`);
      const slots = hashSlots(backends);
      const shares = backends.map((name) => slots.filter((slot) => slot === name).length);
      t.true(Math.max(...shares) - Math.min(...shares) <= 1);
      const gone = backends[seed % count];
      const left = hashSlots(backends.filter((name) => name !== gone));
      if (left.length !== slots.length) return;
      const moved = slots.filter((name, slot) => name !== gone && left[slot] !== name).length;
      // a hash by the remainder moves two thirds of the others' at least
      t.true(moved <= slots.length / 2, `${moved} of ${slots.length} moved besides`);
    }),
  );
  t.deepEqual(hashSlots(['b', 'a']), hashSlots(['a', 'b']), 'the same on every node');
});

test('what is of a stack is a canary within it only', (t) => {
  const of = { of: 'web', share: 5 };
  const row = { networkId: 'n', aliases: [], ports: [] };
  const endpoint = { networkId: 'n', nodeId: SELF, slot: 1, aliases: [], serving: true };
  const members = (own: object, other: object): string[] => {
    const web = { ...row, serviceId: 'w', name: 'web', ...own };
    const set = listsToSet({
      ...setToLists(assignmentsOf({ peers: [], networks: [], services: [], tasks: [] }, SELF)),
      services: [web, { ...row, serviceId: 'c', name: 'next', canary: of, ...other }],
      endpoints: [{ ...endpoint, taskId: 't', serviceId: 'c', serviceName: 'next', address: '10.5.0.9' }],
    });
    return new EndpointIndex(set, SELF).backendsOf(web).canaries.flatMap((one) => [...one.members]);
  };
  t.deepEqual(members({}, {}), ['10.5.0.9']);
  t.deepEqual(members({ stack: 'shop' }, { stack: 'shop' }), ['10.5.0.9']);
  t.deepEqual(members({ stack: 'shop' }, {}), ['10.5.0.9'], 'of no stack: by one who may write all');
  t.deepEqual(members({ stack: 'shop' }, { stack: 'blog' }), []);
  t.deepEqual(members({}, { stack: 'blog' }), []);
});

test('a canary has its share of the slots, whatever the numbers of tasks, and few change hands when it begins', (t) => {
  const dispatcher = {
    ip: 'ip' as const,
    table: 't',
    prefix: '',
    key: 'ip daddr',
    backends: 'b',
    condition: '',
  };
  const names = (kind: string, count: number) => Array.from({ length: count }, (_, i) => `${kind}${i}`);
  const slots = (own: string[], members: string[], share: number, balance: 'random' | 'source-hash') =>
    choose(dispatcher, 'vip', { own, canaries: [{ share, members }] }, balance).objects.flatMap((object) =>
      object.type === 'element' ? [object.value ?? ''] : [],
    );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 1, max: 99 }),
      fc.constantFrom('random' as const, 'source-hash' as const),
      (owns, canaries, share, balance) => {
        const table = slots(names('own', owns), names('new', canaries), share, balance);
        const got = (table.filter((name) => name.startsWith('new')).length / table.length) * 100;
        t.true(Math.abs(got - share) <= 1, `${got} % of ${table.length} slots, for ${share} %`);
        t.is(new Set(table).size, owns + canaries, 'each has some');
      },
    ),
    { numRuns: 300 },
  );
  const [one, two] = [5, 6].map((share) => slots(names('own', 8), names('new', 1), share, 'source-hash'));
  const moved = one?.filter((name, slot) => two?.[slot] !== name).length ?? 0;
  t.is(one?.length, two?.length);
  t.true(moved <= (one?.length ?? 0) / 4, `${moved} of ${one?.length} for one per cent more`);
  t.deepEqual(slots(names('own', 3), [], 50, 'random'), names('own', 3), 'one without tasks takes nothing');
});
