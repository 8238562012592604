import test from 'ava';
import fc from 'fast-check';
import { taskText } from '../../../manager/api/codec/json-text.ts';
import { drainProgress } from '../../../manager/plan/reconcile/drain-note.ts';
import type { Task } from '../../../shared/model/index.ts';
import { cluster, GB, SECOND } from './_cluster.ts';
import type { SpecChanges, TestCluster } from './_cluster.ts';

const MINUTE = 60_000;

/** Two nodes with two tasks each, n1 drained. */
function draining(changes: SpecChanges = {}): TestCluster {
  const swarm = cluster()
    .nodes(2)
    .service('web', { replicas: 4, ...changes })
    .settle()
    .elapse(MINUTE);
  return swarm.node('n1', { availability: 'drain' });
}

function moves(swarm: TestCluster): Task[] {
  return swarm.wanted('web').filter(({ move }) => move === 'drain');
}

function on(swarm: TestCluster, nodeId: string): Task[] {
  return swarm.running('web').filter((task) => task.nodeId === nodeId);
}

const VOLUME = { kind: 'volume', source: 'data', target: '/data', readOnly: false } as const;
const CONTAINER = { image: 'db', labels: {}, command: [], args: [], env: [] };

test('a task leaves a drained node when its replacement has served for the monitoring time; then the next', (t) => {
  const swarm = draining().settle();
  t.deepEqual(swarm.spread('web'), { n1: 2, n2: 3 });
  const [first] = moves(swarm);
  t.is(first?.desired, 'running');
  swarm.elapse(4999);
  t.is(on(swarm, 'n1').length, 2);
  swarm.elapse(1);
  t.is(on(swarm, 'n1').length, 1);
  t.is(swarm.running('web').filter(({ slot }) => slot === first?.slot).length, 1);
  swarm.elapse(5000);
  t.deepEqual(swarm.spread('web'), { n2: 4 });
  t.is(swarm.elapse(MINUTE).last?.wakeAt, undefined);
});

test('parallelism says how many at a time (0: all), delay spaces them', (t) => {
  t.is(moves(draining({ update: { parallelism: 0 } }).settle()).length, 2);
  t.is(moves(draining({ replicas: 8, update: { parallelism: 3 } }).settle()).length, 3);
  const slow = draining({ update: { delayNs: 20 * SECOND } })
    .settle()
    .elapse(5000);
  t.is(on(slow, 'n1').length, 1);
  t.is(slow.elapse(19_999).wanted('web').length, 4, 'the delay is kept');
  t.is(slow.elapse(1).wanted('web').length, 5);
  t.deepEqual(slow.elapse(5000).spread('web'), { n2: 4 });
});

test('a replacement must pass its health check', (t) => {
  const swarm = draining().plan() && draining();
  swarm.plan();
  const [next] = moves(swarm);
  swarm.report(next?.id ?? '', 'running', { health: 'starting' });
  swarm.now += MINUTE;
  swarm.plan();
  t.is(on(swarm, 'n1').length, 2);
  swarm.report(next?.id ?? '', 'running', { health: 'healthy' });
  swarm.plan();
  t.is(on(swarm, 'n1').length, 2, 'monitored');
  swarm.now += 5000;
  swarm.plan();
  t.is(on(swarm, 'n1').length, 1);
});

test('what does not serve there leaves at once, whatever the parallelism', (t) => {
  const swarm = cluster().nodes(2);
  swarm.hangs = () => true;
  swarm.service('web', { replicas: 4 }).settle();
  swarm.node('n1', { availability: 'drain' }).plan();
  t.deepEqual(swarm.spread('web'), { n2: 4 });
});

test('without room the task stays and the replacement says why; with room it leaves', (t) => {
  const swarm = draining({ placement: { maxReplicasPerNode: 2 } }).elapse(MINUTE);
  t.is(on(swarm, 'n1').length, 2);
  t.is(swarm.wanted('web').length, 5, 'as many wait as the parallelism allows');
  const [waiting] = moves(swarm);
  t.regex(waiting?.pendingReason ?? '', /max replicas per node \(2\) reached on 1 node/);
  swarm.elapse(60 * MINUTE);
  t.is(on(swarm, 'n1').length, 2, 'what finds no place is no failure');
  t.is(moves(swarm)[0]?.id, waiting?.id);
  swarm.node('n3').elapse(MINUTE);
  t.deepEqual(swarm.spread('web'), { n2: 2, n3: 2 });
});

test('a host port that no other node has free keeps the task where it is', (t) => {
  const ports = [{ protocol: 'tcp', targetPort: 80, publishedPort: 80, mode: 'host' }] as const;
  const swarm = draining({ replicas: 2, ports }).elapse(MINUTE);
  t.deepEqual(swarm.spread('web'), { n1: 1, n2: 1, none: 1 });
  t.regex(moves(swarm)[0]?.pendingReason ?? '', /host port 80\/tcp already in use on 1 node/);
});

test('drained again and again to active: the task that served goes on, the other one goes', (t) => {
  const swarm = draining();
  const before = on(swarm, 'n1').map(({ id }) => id);
  swarm.settle().elapse(3000);
  t.is(swarm.wanted('web').length, 5);
  swarm.node('n1', { availability: 'active' }).settle();
  t.deepEqual(
    on(swarm, 'n1').map(({ id }) => id),
    before,
  );
  t.is(swarm.wanted('web').length, 4);
  t.is(swarm.node('n1', { availability: 'drain' }).settle().wanted('web').length, 5, 'no failure: no wait');
});

test('the node goes down meanwhile: the rest is replaced at once, the replacement that is there stays', (t) => {
  const swarm = draining().settle();
  const [first] = moves(swarm);
  swarm.node('n1', { status: 'down' }).settle();
  t.deepEqual(swarm.spread('web'), { n2: 4 });
  t.true(swarm.wanted('web').some(({ id }) => id === first?.id));
});

test('the node of the replacement goes down: the old task stays, and another is made', (t) => {
  const swarm = cluster().nodes(3).service('web').settle().elapse(MINUTE);
  const [old] = swarm.running('web');
  swarm.node(old?.nodeId ?? '', { availability: 'drain' }).settle();
  const [first] = moves(swarm);
  swarm.node(first?.nodeId ?? '', { status: 'down' }).settle();
  t.true(swarm.running('web').some(({ id }) => id === old?.id));
  t.not(moves(swarm)[0]?.id, first?.id);
  swarm.elapse(5000);
  t.is(swarm.running('web').length, 1);
  t.not(swarm.running('web')[0]?.id, old?.id);
});

test('the replacement’s node is drained, too', (t) => {
  const swarm = cluster().nodes(3).service('web').settle().elapse(MINUTE);
  const [old] = swarm.running('web');
  swarm.node(old?.nodeId ?? '', { availability: 'drain' }).settle();
  const [first] = moves(swarm);
  swarm.node(first?.nodeId ?? '', { availability: 'drain' }).settle();
  t.true(swarm.running('web').some(({ id }) => id === old?.id));
  swarm.elapse(MINUTE);
  const [last, ...others] = swarm.running('web');
  t.is(others.length, 0);
  t.false([old?.nodeId, first?.nodeId].includes(last?.nodeId));
});

test('a replacement that fails: the old task stays, the next attempt waits longer each time', (t) => {
  const swarm = draining({ replicas: 2, restart: { delayNs: SECOND } });
  const began: number[] = [];
  let last: string | undefined;
  for (let ms = 0; ms < 30_000; ms += 500) {
    swarm.plan();
    swarm.obey();
    const [next] = moves(swarm);
    if (next !== undefined && next.id !== last) {
      last = next.id;
      began.push(ms);
      swarm.report(next.id, 'failed');
    }
    t.is(on(swarm, 'n1').length, 1);
    swarm.now += 500;
  }
  // Half a second passes until a failure is seen.
  const gaps = began.slice(1).map((at, index) => at - (began[index] ?? 0));
  t.deepEqual(gaps.slice(0, 4), [1500, 2500, 4500, 8500]);
  swarm.elapse(10 * MINUTE);
  t.deepEqual(swarm.spread('web'), { n2: 2 }, 'once it comes up the drain goes on');
});

test('attempts to move count for no restarts of the task that stays', (t) => {
  const swarm = draining({ replicas: 2, restart: { delayNs: SECOND, maxAttempts: 2 } });
  for (let attempt = 0; attempt < 3; attempt += 1) {
    swarm.settle();
    swarm.report(moves(swarm)[0]?.id ?? '', 'failed').elapse(5000);
  }
  swarm.node('n1', { availability: 'active' }).settle();
  t.is(swarm.tasks('web').filter((task) => swarm.stateOf(task) === 'failed').length, 3);
  swarm.report(on(swarm, 'n1')[0]?.id ?? '', 'failed').elapse(5000);
  t.is(swarm.running('web').length, 2);
});

test('the attempts are spaced although no history is kept', (t) => {
  const swarm = cluster({ taskHistoryLimit: 0 })
    .nodes(2)
    .service('web', { replicas: 2 })
    .settle()
    .elapse(MINUTE);
  swarm.node('n1', { availability: 'drain' }).settle();
  swarm.report(moves(swarm)[0]?.id ?? '', 'failed').settle();
  t.is(moves(swarm).length, 0);
  t.is(swarm.last?.wakeAt, swarm.now + 5000);
});

test('a replacement that does not come up is given up at the deadline and tried again', (t) => {
  const swarm = draining({ updateDeadlineMs: 30_000 });
  swarm.hangs = ({ move }) => move !== undefined;
  swarm.settle();
  const [hung] = moves(swarm);
  swarm.elapse(29_999);
  t.is(moves(swarm)[0]?.id, hung?.id);
  swarm.elapse(1);
  t.is(swarm.store.get('tasks', hung?.id ?? '')?.desired, 'shutdown');
  t.is(moves(swarm).length, 0, 'waits for the next attempt');
  swarm.elapse(5000);
  t.is(moves(swarm).length, 1);
  t.is(on(swarm, 'n1').length, 2);
  swarm.hangs = () => false;
  t.deepEqual(swarm.elapse(MINUTE).spread('web'), { n2: 4 });
});

test('what writes to a volume is prepared elsewhere, then stopped, then started: never two at a time', (t) => {
  const swarm = draining({ container: { ...CONTAINER, mounts: [VOLUME] } });
  let most = 0;
  swarm.store.onChange(() => {
    for (const slot of [1, 2, 3, 4]) {
      const live = [...swarm.store.all('statuses').values()].filter(
        ({ taskId, state }) => state === 'running' && swarm.store.get('tasks', taskId)?.slot === slot,
      );
      most = Math.max(most, live.length);
    }
  });
  swarm.plan();
  const [next] = moves(swarm);
  t.is(next?.desired, 'ready');
  t.is(on(swarm, 'n1').length, 2);
  swarm.report(next?.id ?? '', 'preparing').plan();
  t.is(on(swarm, 'n1').length, 2, 'its image is still being pulled');
  swarm.report(next?.id ?? '', 'ready').plan();
  t.is(swarm.wanted('web').length, 4);
  t.is(swarm.store.get('tasks', next?.id ?? '')?.desired, 'ready', 'the old one has not stopped');
  swarm.settle();
  t.is(swarm.store.get('tasks', next?.id ?? '')?.desired, 'running');
  swarm.elapse(4999);
  t.is(on(swarm, 'n1').length, 1, 'one at a time');
  swarm.elapse(10_000);
  t.deepEqual(swarm.spread('web'), { n2: 4 });
  t.is(most, 1);
});

test('stop-first, a task that finds no place elsewhere is not stopped', (t) => {
  const swarm = draining({ drain: 'stop-first', placement: { maxReplicasPerNode: 2 } }).elapse(MINUTE);
  t.is(on(swarm, 'n1').length, 2);
  t.regex(moves(swarm)[0]?.pendingReason ?? '', /max replicas per node/);
});

test('stop-first, nothing more is stopped while a task of the service does not serve', (t) => {
  const swarm = draining({ drain: 'stop-first' });
  const victim = on(swarm, 'n2')[0];
  swarm.report(victim?.id ?? '', 'failed').plan();
  t.is(moves(swarm).length, 0);
  swarm.elapse(5000);
  t.is(moves(swarm).length, 1, 'it was replaced, and serves');
  t.deepEqual(swarm.elapse(MINUTE).spread('web'), { n2: 4 });
});

test('the order: as the label says, else as does least harm', (t) => {
  const orderOf = (changes: SpecChanges): string => {
    const swarm = draining(changes);
    swarm.plan();
    if (on(swarm, 'n1').length === 0) return 'at-once';
    return moves(swarm)[0]?.desired === 'ready' ? 'stop-first' : 'start-first';
  };
  const mounts = (mount: Partial<typeof VOLUME> | { readOnly: boolean }) => ({
    container: { ...CONTAINER, mounts: [{ ...VOLUME, ...mount }] },
  });
  t.is(orderOf({}), 'start-first');
  t.is(orderOf(mounts({ readOnly: true })), 'start-first');
  t.is(orderOf(mounts({})), 'stop-first');
  t.is(orderOf({ restart: { condition: 'none' } }), 'stop-first');
  t.is(orderOf({ ...mounts({}), update: { order: 'start-first' } }), 'start-first');
  t.is(orderOf({ ...mounts({}), drain: 'start-first' }), 'start-first');
  t.is(orderOf({ update: { order: 'start-first' }, drain: 'stop-first' }), 'stop-first');
  t.is(orderOf({ drain: 'at-once' }), 'at-once');
});

test('drained to be at once in the middle: the rest goes at once', (t) => {
  const swarm = draining({ placement: { maxReplicasPerNode: 3 } }).settle();
  swarm.service('web', { drain: 'at-once' }).settle();
  t.is(on(swarm, 'n1').length, 0);
});

test('global services are stopped on a drained node as ever', (t) => {
  const swarm = cluster().nodes(2).service('all', { global: true }).settle();
  swarm.node('n1', { availability: 'drain' }).settle();
  t.deepEqual(swarm.spread('all'), { n2: 1 });
});

test('an update and a drain: the update replaces what is outdated, no more at a time than either allows', (t) => {
  const swarm = draining();
  swarm.service('web', { image: 'img:2' });
  for (let i = 0; i < 40; i += 1) {
    swarm.settle();
    t.true(swarm.running('web').length >= 3);
    t.true(swarm.wanted('web').length <= 5);
    swarm.elapse(1000);
  }
  t.deepEqual(swarm.spread('web'), { n2: 4 });
  t.true(swarm.running('web').every(({ revision }) => revision === 2));
  t.is(swarm.tasks('web').filter(({ move }) => move !== undefined).length, 0, 'no task was moved twice');
  t.is(swarm.get('web').updateStatus?.state, 'completed');
});

test('a new spec while a task moves: the old one serves until the newest does', (t) => {
  const swarm = draining({ update: { order: 'start-first' } }).settle();
  swarm.service('web', { image: 'img:2' });
  for (let i = 0; i < 40; i += 1) {
    swarm.settle();
    t.is(new Set(swarm.running('web').map(({ slot }) => slot)).size, 4);
    swarm.elapse(1000);
  }
  t.deepEqual(swarm.spread('web'), { n2: 4 });
  t.true(swarm.running('web').every(({ revision }) => revision === 2));
});

test('a paused update holds up no drain', (t) => {
  const swarm = cluster().nodes(2).service('web', { replicas: 4 }).settle().elapse(MINUTE);
  swarm.service('web', { image: 'broken' }).settle();
  const bad = swarm.running('web').find(({ revision }) => revision === 2);
  swarm.report(bad?.id ?? '', 'failed').elapse(MINUTE);
  t.is(swarm.get('web').updateStatus?.state, 'paused');
  swarm.node('n1', { availability: 'drain' }).elapse(MINUTE);
  t.deepEqual(swarm.spread('web'), { n2: 4 });
});

test('scaled down meanwhile, those on the drained node go first', (t) => {
  const swarm = draining().settle();
  swarm.service('web', { replicas: 2 }).settle();
  t.deepEqual(swarm.spread('web'), { n2: 2 });
});

test('a removed node: what was there is replaced at once', (t) => {
  const swarm = draining({ update: { parallelism: 1, delayNs: 600 * SECOND } }).settle();
  swarm.removeNode('n1').settle();
  t.deepEqual(swarm.spread('web'), { n2: 4 });
});

test('the API says what each task that is still there waits for, and how far the node is', (t) => {
  const swarm = draining({ replicas: 6, update: { parallelism: 1 }, placement: { maxReplicasPerNode: 3 } });
  const told = (nodeId: string): string[] =>
    on(swarm, nodeId).map((task) => {
      const spec = swarm.store.get('revisions', `web.${task.revision}`)?.spec;
      return String(JSON.parse(taskText(swarm.store, task, spec)).Status.Err);
    });
  const progress = (): string | undefined => {
    const node = swarm.store.get('nodes', 'n1');
    return node === undefined ? undefined : drainProgress(swarm.view(), node);
  };
  t.is(progress(), 'draining: 3 tasks are still there');
  swarm.settle();
  const next = moves(swarm)[0]?.id ?? '';
  const [first, second] = told('n1');
  t.regex(
    first ?? '',
    new RegExp(`^its node is drained; its replacement ${next} finds no place: .*max replicas`),
  );
  t.is(second, 'its node is drained; it waits for its turn');
  t.deepEqual(told('n2'), ['undefined', 'undefined', 'undefined']);
  swarm.hangs = ({ move }) => move === 'drain';
  swarm.node('n3').settle();
  t.regex(told('n1')[0] ?? '', /its replacement \w+ is starting$/);
  swarm.report(next, 'running').plan();
  t.regex(told('n1')[0] ?? '', /its replacement \w+ runs and is being watched$/);
  swarm.report(next, 'failed', { error: 'exit code 3' }).settle();
  t.is(told('n1')[0], 'its node is drained; a replacement failed once (exit code 3) and is tried again');
  swarm.hangs = () => false;
  swarm.elapse(2 * MINUTE);
  t.is(progress(), 'drained');
  swarm.node('n1', { availability: 'active' });
  t.is(progress(), undefined);
});

interface Story {
  readonly spec: SpecChanges;
  readonly parallelism: number;
  readonly steps: readonly {
    readonly node: string;
    readonly drain: boolean;
    readonly fail: number;
    readonly ms: number;
  }[];
}

const story: fc.Arbitrary<Story> = fc
  .record({
    replicas: fc.integer({ min: 1, max: 9 }),
    parallelism: fc.integer({ min: 0, max: 3 }),
    delay: fc.integer({ min: 0, max: 10 }),
    monitor: fc.integer({ min: 0, max: 10 }),
    memoryGb: fc.integer({ min: 0, max: 4 }),
    steps: fc.array(
      fc.record({
        node: fc.constantFrom('n1', 'n2', 'n3', 'n4'),
        drain: fc.boolean(),
        fail: fc.integer({ min: 0, max: 3 }),
        ms: fc.integer({ min: 0, max: 20_000 }),
      }),
      { minLength: 1, maxLength: 12 },
    ),
  })
  .map(({ replicas, parallelism, delay, monitor, memoryGb, steps }) => ({
    spec: {
      replicas,
      reservations: { memoryBytes: memoryGb * GB },
      update: { parallelism, delayNs: delay * SECOND, monitorNs: monitor * SECOND },
      drain: 'start-first' as const,
    },
    parallelism,
    steps,
  }));

test('whatever is drained, and whichever replacement fails: no slot is without a task that serves', (t) => {
  fc.assert(
    fc.property(story, ({ spec, parallelism, steps }) => {
      const swarm = cluster({ taskHistoryLimit: 1 }).nodes(4).service('web', spec).settle().elapse(MINUTE);
      const served = new Set(swarm.running('web').map(({ slot }) => slot));
      swarm.store.onChange(() => {
        const now = new Set(swarm.running('web').map(({ slot }) => slot));
        for (const slot of served) if (!now.has(slot)) throw new Error(`slot ${slot} is not served`);
        const moving = swarm.wanted('web').length - new Set(swarm.wanted('web').map(({ slot }) => slot)).size;
        if (parallelism > 0 && moving > parallelism) throw new Error(`${moving} move at a time`);
      });
      for (const { node, drain, fail, ms } of steps) {
        swarm.node(node, { availability: drain ? 'drain' : 'active' });
        swarm.settle();
        const fresh = swarm
          .wanted('web')
          .filter((task, at, all) => all[at - 1]?.slot === task.slot && task.nodeId);
        for (const { id } of fresh.slice(0, fail)) swarm.report(id, 'failed');
        swarm.elapse(ms);
      }
      swarm.elapse(30 * MINUTE);
      const stuck = swarm
        .running('web')
        .filter(({ nodeId = '' }) => swarm.store.get('nodes', nodeId)?.spec.availability === 'drain');
      const says = swarm
        .wanted('web')
        .some(({ move, pendingReason }) => move === 'drain' && pendingReason !== undefined);
      if (stuck.length > 0 && !says) throw new Error(`${stuck.length} stay and nothing says why`);
    }),
    { numRuns: 60 },
  );
  t.pass();
});

test('stop-first, whatever is drained and fails: a slot never has two containers that run', (t) => {
  fc.assert(
    fc.property(story, ({ spec, steps }) => {
      const swarm = cluster()
        .nodes(4)
        .service('web', { ...spec, drain: 'stop-first' })
        .settle()
        .elapse(MINUTE);
      swarm.store.onChange(() => {
        const slots = swarm
          .tasks('web')
          .filter((task) => swarm.stateOf(task) === 'running')
          .map(({ slot }) => slot);
        if (new Set(slots).size < slots.length) throw new Error(`slots ${slots.join()}`);
      });
      for (const { node, drain, fail, ms } of steps) {
        swarm.node(node, { availability: drain ? 'drain' : 'active' });
        swarm.settle();
        for (const { id } of moves(swarm).slice(0, fail)) swarm.report(id, 'failed');
        swarm.elapse(ms);
      }
      for (const { id } of swarm.store.all('nodes').values()) swarm.node(id, { availability: 'active' });
      swarm.elapse(5 * MINUTE);
      const waiting = swarm.wanted('web').filter(({ nodeId }) => nodeId === undefined);
      if (swarm.running('web').length + waiting.length !== spec.replicas)
        throw new Error('not all run again');
    }),
    { numRuns: 40 },
  );
  t.pass();
});
