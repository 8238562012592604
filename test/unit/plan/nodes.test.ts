import test from 'ava';
import { cluster, GB } from './_cluster.ts';

const DAY = 24 * 3_600_000;

test('tasks of a node that is down are replaced elsewhere at once, without waiting for them', (t) => {
  const swarm = cluster().nodes(3).service('web', { replicas: 3 }).settle();
  swarm.node('n1', { status: 'down' }).plan();
  t.is(swarm.spread('web')['n1'], undefined);
  t.true(swarm.wanted('web').every(({ desired }) => desired === 'running'));
  const [lost] = swarm.tasks('web').filter(({ nodeId }) => nodeId === 'n1');
  t.is(lost?.desired, 'shutdown');
  swarm.settle();
  t.is(swarm.running('web').length, 3);
});

test('a node that comes back is told to stop what was replaced, and takes new tasks', (t) => {
  const swarm = cluster().nodes(2).service('web', { replicas: 2 }).settle();
  swarm.node('n1', { status: 'down' }).settle();
  swarm.node('n1', { status: 'ready' }).settle();
  t.deepEqual(swarm.spread('web'), { n2: 2 });
  t.true(
    swarm
      .tasks('web')
      .filter(({ nodeId }) => nodeId === 'n1')
      .every((task) => swarm.stateOf(task) === 'shutdown'),
  );
  swarm.service('web', { replicas: 4 }).settle();
  t.deepEqual(swarm.spread('web'), { n1: 2, n2: 2 });
});

test('a task is given up after its node has been down for a day', (t) => {
  const swarm = cluster().nodes(2).service('web', { replicas: 1 }).settle();
  const [task] = swarm.running('web');
  swarm.node(task?.nodeId ?? '', { status: 'down' }).settle();
  t.is(swarm.last?.wakeAt, swarm.now + DAY);
  swarm.elapse(DAY);
  t.is(swarm.store.get('statuses', task?.id ?? '')?.state, 'orphaned');
});

test('drained at once, a node is emptied in one plan; the replacements wait for the stop', (t) => {
  const swarm = cluster().nodes(2).service('web', { replicas: 4, drain: 'at-once' }).settle();
  swarm.node('n1', { availability: 'drain' }).plan();
  t.deepEqual(swarm.spread('web'), { n2: 4 });
  t.is(swarm.wanted('web').filter(({ desired }) => desired === 'ready').length, 2);
  swarm.settle();
  t.is(swarm.running('web').length, 4);
});

test('a paused node keeps its tasks and gets no more', (t) => {
  const swarm = cluster().nodes(2).service('web', { replicas: 2 }).settle();
  swarm.node('n1', { availability: 'pause' }).service('web', { replicas: 4 }).settle();
  t.deepEqual(swarm.spread('web'), { n1: 1, n2: 3 });
});

test('a node of unknown status is left alone', (t) => {
  const swarm = cluster().nodes(2).service('web', { replicas: 2 }).settle();
  swarm.node('n1', { status: 'unknown' });
  t.is(swarm.plan().writes.length, 0);
});

test('tasks of a removed node are orphaned and replaced', (t) => {
  const swarm = cluster().nodes(2).service('web', { replicas: 2 }).settle();
  const lost = swarm.wanted('web').find(({ nodeId }) => nodeId === 'n1');
  swarm.removeNode('n1').settle();
  t.deepEqual(swarm.spread('web'), { n2: 2 });
  t.is(swarm.store.get('statuses', lost?.id ?? '')?.state, 'orphaned');
});

test('a label change evicts the tasks that no longer fit', (t) => {
  const swarm = cluster().nodes(2, { labels: { zone: 'a' } });
  swarm.service('web', { replicas: 2, constraints: ['node.labels.zone==A'] }).settle();
  swarm.node('n1', { labels: { zone: 'b' } }).settle();
  t.deepEqual(swarm.spread('web'), { n2: 2 });
});

test('with nowhere to go they are pending, and run again when a node returns', (t) => {
  const swarm = cluster().nodes(1).service('web', { replicas: 2 }).settle();
  swarm.node('n1', { status: 'down' }).settle();
  t.deepEqual(swarm.reasons('web'), Array(2).fill('no suitable node (status is down on 1 node)'));
  swarm.node('n2').settle();
  t.is(swarm.running('web').length, 2);
  t.deepEqual(swarm.reasons('web'), [undefined, undefined]);
});

test('reasons are counted a filter and written only when they change', (t) => {
  const swarm = cluster()
    .nodes(2, { labels: { zone: 'a' } })
    .nodes(1, { labels: { zone: 'b' } });
  swarm.service('web', { constraints: ['node.labels.zone==a'], reservations: { memoryBytes: 20 * GB } });
  const { explanations } = swarm.plan();
  const reason =
    'no suitable node (insufficient memory on 2 nodes; constraint node.labels.zone==a not met on 1 node)';
  t.deepEqual([...explanations.values()], [reason]);
  t.deepEqual(swarm.reasons('web'), [reason]);
  t.is(swarm.plan().writes.length, 0);
  t.deepEqual([...(swarm.last?.explanations.values() ?? [])], [reason]);
});
