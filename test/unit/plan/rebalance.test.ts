import test from 'ava';
import fc from 'fast-check';
import { findMove } from '../../../manager/plan/schedule/level.ts';
import type { Levelling } from '../../../manager/plan/schedule/level.ts';
import type { Task } from '../../../shared/model/index.ts';
import { cluster, GB, SECOND } from './_cluster.ts';
import type { SpecChanges, TestCluster } from './_cluster.ts';

const MINUTE = 60_000;
const EVERY_MS = 10_000;

/** All tasks on n1, as long as n2 and n3 were not there. */
function uneven(changes: SpecChanges = {}): TestCluster {
  const swarm = cluster()
    .nodes(1)
    .service('web', { replicas: 6, rebalanceEveryMs: EVERY_MS, ...changes })
    .settle()
    .elapse(MINUTE);
  return swarm.nodes(2);
}

function moving(swarm: TestCluster): Task | undefined {
  return swarm.wanted('web').find((task, at, all) => all[at - 1]?.slot === task.slot);
}

test('one task after the other moves to nodes that came, one an interval, start-first, until all is even', (t) => {
  const swarm = uneven().settle();
  const first = moving(swarm);
  t.is(first?.move, 'rebalance');
  t.not(first?.nodeId, 'n1');
  t.is(swarm.running('web').length, 7, 'both serve');
  swarm.elapse(4999);
  t.is(swarm.running('web').length, 7, 'monitored');
  swarm.elapse(1);
  t.is(swarm.running('web').length, 6);
  t.true(swarm.running('web').some(({ id }) => id === first?.id));
  swarm.elapse(4999);
  t.is(moving(swarm), undefined, 'one an interval');
  swarm.elapse(1);
  t.not(moving(swarm), undefined);
  swarm.elapse(5 * MINUTE);
  t.deepEqual(swarm.spread('web'), { n1: 2, n2: 2, n3: 2 });
  t.is(swarm.tasks('web').filter(({ move }) => move !== undefined).length, 4, 'no move too many');
  t.is(swarm.last?.wakeAt, undefined);
});

test('nobody is moved who has not asked for it, and never where nodes are to be filled', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('web', { replicas: 6 })
    .service('packed', { replicas: 6, rebalanceEveryMs: EVERY_MS, placement: { strategy: 'binpack' } })
    .settle()
    .elapse(MINUTE);
  swarm.nodes(2).elapse(5 * MINUTE);
  t.deepEqual(swarm.spread('web'), { n1: 6 });
  t.deepEqual(swarm.spread('packed'), { n1: 6 });
});

test('a difference of one is even', (t) => {
  const swarm = uneven({ replicas: 4 }).elapse(5 * MINUTE);
  t.deepEqual(Object.values(swarm.spread('web')).sort(), [1, 1, 2]);
  const before = swarm.running('web').map(({ id }) => id);
  swarm.elapse(60 * MINUTE);
  t.deepEqual(
    swarm.running('web').map(({ id }) => id),
    before,
  );
});

test('values of a spread preference are levelled first, then the nodes of each', (t) => {
  const swarm = cluster()
    .nodes(3, { labels: { zone: 'a' } })
    .service('web', {
      replicas: 8,
      rebalanceEveryMs: EVERY_MS,
      placement: { spread: ['node.labels.zone'] },
    })
    .settle()
    .elapse(MINUTE);
  swarm.nodes(1, { labels: { zone: 'b' } }).elapse(10 * MINUTE);
  const { n4, ...others } = swarm.spread('web');
  t.is(n4, 4);
  t.deepEqual(Object.values(others).sort(), [1, 1, 2]);
});

test('filters hold: constraints, room, ports, the most a node may have', (t) => {
  const zoned = uneven({ constraints: ['node.hostname!=n2'] }).elapse(5 * MINUTE);
  t.deepEqual(zoned.spread('web'), { n1: 3, n3: 3 });
  const most = cluster()
    .nodes(1)
    .service('web', { replicas: 6, rebalanceEveryMs: EVERY_MS })
    .settle()
    .nodes(2)
    .service('web', { placement: { maxReplicasPerNode: 2 } })
    .elapse(10 * MINUTE);
  t.deepEqual(most.spread('web'), { n1: 2, n2: 2, n3: 2 });
  const ports = [{ protocol: 'tcp', targetPort: 80, publishedPort: 80, mode: 'host' }] as const;
  const full = uneven({ reservations: { memoryBytes: GB } });
  full.node('n2', { availability: 'pause' });
  full.service('big', { reservations: { memoryBytes: 6 * GB }, constraints: ['node.hostname==n3'], ports });
  full.elapse(5 * MINUTE);
  t.deepEqual(full.spread('web'), { n1: 4, n3: 2 });
  full.removeService('big').elapse(5 * MINUTE);
  t.deepEqual(full.spread('web'), { n1: 3, n3: 3 });
});

test('nearness to others is not given up for evenness', (t) => {
  const affinities = [{ service: 'db', kind: 'with', hard: false }] as const;
  const swarm = cluster()
    .nodes(1)
    .service('db')
    .service('web', { replicas: 6, rebalanceEveryMs: EVERY_MS, placement: { affinities } })
    .settle();
  swarm.nodes(2).elapse(5 * MINUTE);
  t.deepEqual(swarm.spread('web'), { n1: 6 });
});

test('not during an update, nor while it is paused', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('web', { replicas: 4, rebalanceEveryMs: EVERY_MS })
    .settle()
    .elapse(MINUTE);
  swarm.service('web', { image: 'broken' }).settle();
  const bad = swarm.running('web').find(({ revision }) => revision === 2);
  swarm.report(bad?.id ?? '', 'failed').elapse(MINUTE);
  t.is(swarm.get('web').updateStatus?.state, 'paused');
  swarm.nodes(2).elapse(5 * MINUTE);
  t.deepEqual(swarm.spread('web'), { n1: 4 });
  swarm.service('web', { image: 'img:3', update: { monitorNs: SECOND } }).elapse(10 * MINUTE);
  t.deepEqual(Object.values(swarm.spread('web')).sort(), [1, 1, 2]);
});

test('not while a task of it does not serve, or has just begun to', (t) => {
  const swarm = uneven({ restart: { delayNs: 30 * SECOND } });
  swarm.report(swarm.running('web')[0]?.id ?? '', 'failed').elapse(29_000);
  t.is(moving(swarm), undefined);
  swarm.elapse(1000);
  t.is(moving(swarm), undefined, 'monitored');
  swarm.elapse(5000);
  t.not(moving(swarm), undefined);
});

test('a move that fails leaves the old task; the next one comes later each time', (t) => {
  const swarm = uneven();
  const began: number[] = [];
  const start = swarm.now;
  let last: string | undefined;
  while (swarm.now < start + 5 * MINUTE) {
    swarm.plan();
    swarm.obey();
    const next = moving(swarm);
    if (next !== undefined && next.id !== last) {
      last = next.id;
      began.push(swarm.now - start);
      swarm.report(next.id, 'failed');
    }
    t.is(swarm.running('web').length, 6);
    swarm.now += 1000;
  }
  const gaps = began.slice(1).map((at, index) => at - (began[index] ?? 0));
  t.true(gaps.length >= 3);
  gaps.forEach((gap, index) => t.true(gap >= EVERY_MS && gap >= (gaps[index - 1] ?? 0)));
});

test('a task that was moved and serves for long is no failure when it moves again', (t) => {
  const swarm = uneven({ replicas: 2 }).elapse(30 * MINUTE);
  t.is(Object.keys(swarm.spread('web')).length, 2);
  const moved = swarm.running('web').find(({ move }) => move !== undefined);
  swarm.node('n1', { availability: 'drain' }).elapse(30 * MINUTE);
  swarm.node(moved?.nodeId ?? '', { availability: 'drain' }).elapse(30 * MINUTE);
  for (const id of ['n1', 'n2', 'n3']) swarm.node(id, { availability: 'active' });
  swarm.settle();
  t.not(moving(swarm), undefined, 'at once');
});

test('the service is drained, updated or scaled in the middle of a move: one task a slot is left', (t) => {
  const disturb: ((swarm: TestCluster) => void)[] = [
    (swarm) => swarm.node('n1', { availability: 'drain' }),
    (swarm) => swarm.node(moving(swarm)?.nodeId ?? '', { availability: 'drain' }),
    (swarm) => swarm.node('n1', { status: 'down' }),
    (swarm) => swarm.node(moving(swarm)?.nodeId ?? '', { status: 'down' }),
    (swarm) => swarm.service('web', { image: 'img:2' }),
    (swarm) => swarm.service('web', { replicas: 2 }),
    (swarm) => swarm.removeNode('n1'),
  ];
  for (const act of disturb) {
    const swarm = uneven().settle();
    t.not(moving(swarm), undefined);
    act(swarm);
    swarm.elapse(20 * MINUTE);
    const slots = swarm.running('web').map(({ slot }) => slot);
    t.is(new Set(slots).size, slots.length);
    t.is(
      slots.length,
      swarm.store.get('revisions', `web.${swarm.get('web').revision}`)?.spec.mode.kind === 'replicated' &&
        act === disturb[5]
        ? 2
        : 6,
    );
    const counts = ['n1', 'n2', 'n3']
      .filter((id) => swarm.store.get('nodes', id)?.status === 'ready')
      .filter((id) => swarm.store.get('nodes', id)?.spec.availability === 'active')
      .map((id) => swarm.spread('web')[id] ?? 0);
    t.true(Math.max(...counts) - Math.min(...counts) <= 1, JSON.stringify(counts));
  }
});

test('whatever came and went: each move makes it more even, none is lost, and it ends', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 2, maxLength: 8 }),
      fc.integer({ min: 1, max: 16 }),
      fc.boolean(),
      fc.integer({ min: 0, max: 4 }),
      fc.integer({ min: 1, max: 7 }),
      (zones, replicas, zoned, maxReplicasPerNode, first) => {
        const swarm = cluster();
        for (const [at, zone] of zones.entries())
          swarm.nodes(1, { labels: { zone }, availability: at < first ? 'active' : 'pause' });
        const spread = zoned ? ['node.labels.zone'] : [];
        swarm.service('web', { replicas, rebalanceEveryMs: 1000, placement: { spread, maxReplicasPerNode } });
        swarm.settle().elapse(MINUTE);
        for (const id of swarm.store.all('nodes').keys()) swarm.node(id, { availability: 'active' });
        swarm.settle();
        const served = Math.min(replicas, swarm.running('web').length);
        let measure = unevenness(swarm, spread);
        for (let moves = 0; ; moves += 1) {
          if (moves > 200) throw new Error('it does not end');
          swarm.elapse(20_000);
          if (swarm.running('web').length < served) throw new Error('one was lost');
          const now = unevenness(swarm, spread);
          if (sameNumbers(now, measure)) break;
          // Two moves at most end in that time, each of which improves it.
          if (!isLess(now, measure)) throw new Error(`${measure.join()} became ${now.join()}`);
          measure = now;
        }
        swarm.elapse(5 * MINUTE);
        const counts = [...swarm.store.all('nodes').keys()].map((id) => swarm.spread('web')[id] ?? 0);
        if (!zoned && Math.max(...counts) - Math.min(...counts) > 1) throw new Error(counts.join());
      },
    ),
    { numRuns: 60 },
  );
  t.pass();
});

/** Sums of the squares: of the zones' tasks, then of the nodes'. Of a slot that moves, the task that stays counts. */
function unevenness(swarm: TestCluster, spread: readonly string[]): number[] {
  const zones = new Map<string, number>();
  const nodes = new Map<string, number>();
  const staying = new Map(swarm.running('web').map((task) => [task.slot, task]));
  for (const { nodeId = '' } of staying.values()) {
    const zone = swarm.store.get('nodes', nodeId)?.spec.labels['zone'] ?? '';
    zones.set(zone, (zones.get(zone) ?? 0) + 1);
    nodes.set(nodeId, (nodes.get(nodeId) ?? 0) + 1);
  }
  const squares = (counts: Map<string, number>) => [...counts.values()].reduce((sum, n) => sum + n * n, 0);
  return [...(spread.length > 0 ? [squares(zones)] : []), squares(nodes)];
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.every((number, at) => number === b[at]);
}

function isLess(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((number, index) => number !== b[index]);
  return at >= 0 && (a[at] ?? 0) < (b[at] ?? 0);
}

test('moves over nested values end, and where they end no better one is left', (t) => {
  const rows = fc.array(
    fc.record({
      count: fc.integer({ min: 0, max: 6 }),
      path: fc.tuple(fc.constantFrom('a', 'b'), fc.constantFrom('x', 'y', 'z')),
      room: fc.integer({ min: 0, max: 3 }),
    }),
    { minLength: 1, maxLength: 10 },
  );
  fc.assert(
    fc.property(rows, fc.integer({ min: 0, max: 2 }), (nodes, depth) => {
      const counts = nodes.map(({ count }) => count);
      const room = nodes.map((node) => node.room);
      const levelling: Levelling = {
        rows: nodes.map((_node, row) => row),
        count: (row) => counts[row] ?? 0,
        path: (row) => (nodes[row]?.path ?? []).slice(0, depth),
        fits: (row) => (room[row] ?? 0) > 0,
        load: (row) => row,
        allows: () => true,
      };
      for (let moves = 0; ; moves += 1) {
        if (moves > 500) throw new Error('moves without end');
        const before = levels(levelling, depth);
        const move = findMove(levelling);
        if (move === undefined) break;
        if (move.from === move.to) throw new Error('it ends where it was');
        counts[move.from] = (counts[move.from] ?? 0) - 1;
        counts[move.to] = (counts[move.to] ?? 0) + 1;
        room[move.from] = (room[move.from] ?? 0) + 1;
        room[move.to] = (room[move.to] ?? 0) - 1;
        if (!isLess(levels(levelling, depth), before)) throw new Error('no more even than before');
      }
      for (const from of levelling.rows) {
        for (const to of levelling.rows) {
          const siblings = levelling.path(from).join() === levelling.path(to).join();
          if (siblings && levelling.fits(to) && levelling.count(from) - levelling.count(to) >= 2)
            throw new Error(`row ${from} still has too many`);
        }
      }
    }),
    { numRuns: 500 },
  );
  t.pass();
});

/** The sum of the squares at each level of the tree, outermost first. */
function levels({ rows, count, path }: Levelling, depth: number): number[] {
  return Array.from({ length: depth + 1 }, (_level, level) => {
    const sums = new Map<string, number>();
    for (const row of rows) {
      const key =
        level === depth
          ? String(row)
          : path(row)
              .slice(0, level + 1)
              .join('/');
      sums.set(key, (sums.get(key) ?? 0) + count(row));
    }
    return [...sums.values()].reduce((sum, n) => sum + n * n, 0);
  });
}
