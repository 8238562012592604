/** Standalone containers: what is planned for them, start by start. */
import test from 'ava';
import fc from 'fast-check';
import { isWanted } from '../../../manager/plan/states.ts';
import type { ContainerRun, Task } from '../../../shared/model/index.ts';
import { isTerminal } from '../../../shared/model/index.ts';
import { cluster, type TestCluster } from './_cluster.ts';
import { type ContainerOptions, createContainer, wantContainer } from './_containers.ts';

const ID = 'c1';

const create = (swarm: TestCluster, options: ContainerOptions = {}): TestCluster =>
  createContainer(swarm, ID, options);
const want = (swarm: TestCluster, wanted: ContainerRun['wanted']): TestCluster =>
  wantContainer(swarm, ID, wanted);

/** The one task that lives, or ended last. */
function only(swarm: TestCluster): Task {
  const tasks = swarm.tasks(ID);
  if (tasks.length !== 1 || tasks[0] === undefined) throw new Error(`${tasks.length} tasks`);
  return tasks[0];
}

function exit(swarm: TestCluster, state: 'complete' | 'failed'): TestCluster {
  return swarm.report(only(swarm).id, state);
}

test('created: one task waits in ready, and nothing runs until it is started', (t) => {
  const swarm = create(cluster().nodes(2)).elapse(3_600_000);
  const task = only(swarm);
  t.deepEqual([task.desired, swarm.stateOf(task)], ['ready', 'ready']);
  want(swarm, 'running').settle();
  t.is(only(swarm).id, task.id, 'the first start is the task that waits');
  t.is(swarm.stateOf(only(swarm)), 'running');
  t.deepEqual(only(swarm).run, { serial: 1, restarts: 0, delayMs: 0 });
});

test('a start after the end is a new task on the same node, even one that takes no tasks', (t) => {
  const swarm = want(create(cluster().nodes(3)), 'running').settle();
  const first = only(swarm);
  exit(swarm, 'complete').elapse(60_000);
  t.is(only(swarm).id, first.id, 'it stays as it ended');
  swarm.node(first.nodeId ?? '', { availability: 'drain' });
  want(swarm, 'running').settle();
  const second = only(swarm);
  t.not(second.id, first.id);
  t.is(second.nodeId, first.nodeId);
  t.deepEqual([swarm.stateOf(second), second.run?.restarts], ['running', 0]);
});

test('the task before goes only when the node has taken up the next', (t) => {
  const swarm = want(create(cluster().nodes(1)), 'running').settle();
  exit(swarm, 'failed').settle();
  want(swarm, 'running').plan();
  t.is(swarm.tasks(ID).length, 2);
  const next = swarm.tasks(ID).find((task) => task.run?.serial === 2);
  swarm.report(next?.id ?? '', 'preparing').plan();
  t.is(swarm.tasks(ID).length, 2);
  swarm.report(next?.id ?? '', 'ready').plan();
  t.is(only(swarm).id, next?.id ?? '');
});

test('restart policies: no, always, on-failure, on-failure with a limit', (t) => {
  const after = (restart: NonNullable<ContainerOptions['restart']>, state: 'complete' | 'failed'): string => {
    const swarm = want(create(cluster().nodes(1), { restart }), 'running').settle();
    exit(swarm, state).elapse(200);
    return swarm.stateOf(only(swarm));
  };
  t.is(after({ condition: 'none' }, 'failed'), 'failed');
  t.is(after({ condition: 'any' }, 'complete'), 'running');
  t.is(after({ condition: 'on-failure' }, 'complete'), 'complete');
  t.is(after({ condition: 'on-failure' }, 'failed'), 'running');
  const swarm = want(
    create(cluster().nodes(1), { restart: { condition: 'on-failure', maxAttempts: 2 } }),
    'running',
  ).settle();
  for (const restarts of [1, 2]) {
    exit(swarm, 'failed').elapse(1000);
    t.deepEqual([only(swarm).run?.restarts, swarm.stateOf(only(swarm))], [restarts, 'running']);
  }
  exit(swarm, 'failed').elapse(600_000);
  t.is(swarm.stateOf(only(swarm)), 'failed');
  want(swarm, 'running').settle();
  t.is(only(swarm).run?.restarts, 0, 'a start by hand begins the count anew');
});

test('delays double from 100 ms to a minute, and begin anew after a run of 10 s', (t) => {
  const swarm = want(create(cluster().nodes(1), { restart: { condition: 'any' } }), 'running').settle();
  const delays: (number | undefined)[] = [];
  for (let i = 0; i < 12; i += 1) {
    exit(swarm, 'failed').plan();
    const waiting = swarm.tasks(ID).find((task) => task.desired === 'ready');
    delays.push(waiting?.run?.delayMs);
    t.is(waiting?.startAfterMs, swarm.now + (waiting?.run?.delayMs ?? 0));
    swarm.elapse(60_000 - (i < 11 ? 0 : 1));
    if (i < 11) swarm.put('statuses', only(swarm).id, { ...statusOf(swarm), startedAtMs: swarm.now });
  }
  t.deepEqual(delays.slice(0, 5), [100, 200, 400, 800, 1600]);
  t.deepEqual(delays.slice(-2), [60_000, 60_000]);
  swarm.elapse(20_000);
  exit(swarm, 'failed').plan();
  t.is(swarm.tasks(ID).find((task) => task.desired === 'ready')?.run?.delayMs, 100);
});

function statusOf(swarm: TestCluster) {
  const status = swarm.store.get('statuses', only(swarm).id);
  if (status === undefined) throw new Error('no status');
  return status;
}

test('what never came to run is not restarted', (t) => {
  const swarm = create(cluster().nodes(1), { restart: { condition: 'any' } }).settle();
  want(swarm, 'running').plan();
  swarm.report(only(swarm).id, 'failed').elapse(600_000);
  t.is(swarm.stateOf(only(swarm)), 'failed');
});

test('held: what runs is left alone and its end is the end; a restart that waits is given up', (t) => {
  const swarm = want(create(cluster().nodes(1), { restart: { condition: 'any' } }), 'running').settle();
  want(swarm, 'held').settle();
  t.is(swarm.stateOf(only(swarm)), 'running');
  exit(swarm, 'complete').elapse(600_000);
  t.is(swarm.stateOf(only(swarm)), 'complete');

  want(swarm, 'running').settle();
  exit(swarm, 'failed').plan();
  want(swarm, 'held').elapse(600_000);
  t.true(swarm.tasks(ID).every((task) => isTerminal(swarm.stateOf(task))));
});

test('stopped: what runs is told to stop, when its node is back', (t) => {
  const swarm = want(create(cluster().nodes(1)), 'running').settle();
  swarm.node('n1', { status: 'down' });
  want(swarm, 'stopped').settle();
  t.is(only(swarm).desired, 'shutdown');
  swarm.node('n1', { status: 'ready' }).settle();
  t.is(swarm.stateOf(only(swarm)), 'shutdown');
});

test('a container stays with its node when that is down, drained or no longer labelled', (t) => {
  const swarm = want(
    create(cluster().nodes(3, { labels: { zone: 'a' } }), {
      constraints: ['node.labels.zone==a'],
      restart: { condition: 'any' },
    }),
    'running',
  ).settle();
  const { nodeId = '', id } = only(swarm);
  for (const change of [
    { status: 'down' },
    { status: 'ready' },
    { availability: 'drain' },
    { labels: {} },
  ] as const) {
    swarm.node(nodeId, change).elapse(48 * 3_600_000);
    t.deepEqual([only(swarm).id, only(swarm).nodeId], [id, nodeId]);
  }
});

test('a removed node takes its container along: it is lost, and can be removed', (t) => {
  const swarm = want(create(cluster().nodes(2), { restart: { condition: 'any' } }), 'running').settle();
  swarm.removeNode(only(swarm).nodeId ?? '').elapse(600_000);
  t.is(swarm.stateOf(only(swarm)), 'orphaned');
  swarm.removeService(ID).settle();
  t.deepEqual([swarm.tasks(ID).length, swarm.store.get('services', ID)], [0, undefined]);
});

test('--rm: gone after its end with its name, but not before it has been started', (t) => {
  const swarm = create(cluster().nodes(1), { autoRemove: true }).elapse(600_000);
  t.is(swarm.tasks(ID).length, 1);
  want(swarm, 'running').settle();
  exit(swarm, 'failed').settle();
  t.is(swarm.store.get('services', ID), undefined);
  t.is(swarm.store.get('names', `container:${ID}`), undefined);
  t.is(swarm.store.all('statuses').size + swarm.store.all('revisions').size, 0);
});

test('removed while its node is down: gone at once', (t) => {
  const swarm = want(create(cluster().nodes(1)), 'running').settle();
  swarm.node('n1', { status: 'down' }).removeService(ID).settle();
  t.is(swarm.store.get('services', ID), undefined);
});

test('placed where its image is; unplaceable with the reason', (t) => {
  const swarm = create(cluster().nodes(3), { nodes: ['n2'] }).settle();
  t.is(only(swarm).nodeId, 'n2');
  const other = create(cluster().nodes(2), { nodes: [] }).settle();
  t.regex(only(other).pendingReason ?? '', /its image or a volume of it is not there on 2 nodes/);
});

type Step =
  | { readonly kind: 'want'; readonly wanted: ContainerRun['wanted'] }
  | { readonly kind: 'node'; readonly status: 'down' | 'ready' }
  | { readonly kind: 'end'; readonly state: 'complete' | 'failed' | 'rejected' }
  | { readonly kind: 'obey' }
  | { readonly kind: 'pass'; readonly ms: number };

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('want'),
      wanted: fc.constantFrom('running', 'held', 'stopped'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('node'), status: fc.constantFrom('down', 'ready') }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('end'),
      state: fc.constantFrom('complete', 'failed', 'rejected'),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('obey') }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass'), ms: fc.integer({ min: 1, max: 90_000 }) }) },
) as fc.Arbitrary<Step>;

function take(swarm: TestCluster, next: Step): void {
  switch (next.kind) {
    case 'want':
      want(swarm, next.wanted);
      return;
    case 'node':
      swarm.node(swarm.tasks(ID)[0]?.nodeId ?? 'n1', { status: next.status });
      return;
    case 'end': {
      const live = swarm
        .tasks(ID)
        .find((task) => task.nodeId !== undefined && !isTerminal(swarm.stateOf(task)));
      if (live !== undefined) swarm.report(live.id, next.state);
      return;
    }
    case 'obey':
      swarm.obey();
      return;
    case 'pass':
      swarm.now += next.ms;
  }
}

test('whatever happens: one task lives at a time, on one node, and rest is reached with what is wanted', (t) => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 40 }),
      fc.constantFrom('none', 'any', 'on-failure'),
      (steps, condition) => {
        const swarm = create(cluster().nodes(3), { restart: { condition } });
        const nodes = new Set<string>();
        for (const next of steps) {
          take(swarm, next);
          swarm.plan();
          const tasks = swarm.tasks(ID);
          const alive = tasks.filter((task) => !isTerminal(swarm.stateOf(task)));
          if (alive.length > 1) throw new Error(`${alive.length} tasks live`);
          if (tasks.length === 0) throw new Error('the container has no task');
          for (const { nodeId } of tasks) if (nodeId !== undefined) nodes.add(nodeId);
        }
        if (nodes.size > 1) throw new Error(`it was on ${[...nodes].join(', ')}`);
        for (const id of ['n1', 'n2', 'n3']) swarm.node(id, { status: 'ready' });
        swarm.elapse(600_000);
        const task = only(swarm);
        const { wanted } = swarm.get(ID).run ?? {};
        const state = swarm.stateOf(task);
        if (wanted === 'stopped' && !isTerminal(state) && (task.run?.serial ?? 0) > 0)
          throw new Error(`stopped, and ${state}`);
        if (wanted === 'running' && condition === 'any' && state !== 'running' && statusOf(swarm).startedAtMs)
          throw new Error(`always, and ${state}`);
        if (state === 'running' && !isWanted(task)) throw new Error('runs although it shall not');
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});
