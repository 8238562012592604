import test from 'ava';
import { cluster, GB } from './_cluster.ts';

test('one task on each suitable node, and on those that join later', (t) => {
  const swarm = cluster().nodes(2).node('m', { role: 'manager' });
  swarm.service('agent', { global: true, constraints: ['node.role==worker'] }).settle();
  t.deepEqual(swarm.spread('agent'), { n1: 1, n2: 1 });
  swarm.node('n9').settle();
  t.deepEqual(swarm.spread('agent'), { n1: 1, n2: 1, n9: 1 });
  t.true(swarm.wanted('agent').every(({ slot }) => slot === 0));
});

test('a drained node loses its task, a paused one keeps it, a new paused one gets none', (t) => {
  const swarm = cluster().nodes(2).service('agent', { global: true }).settle();
  swarm.node('n1', { availability: 'drain' }).node('n2', { availability: 'pause' });
  swarm.node('n3', { availability: 'pause' }).settle();
  t.deepEqual(swarm.spread('agent'), { n2: 1 });
  swarm.node('n1', { availability: 'active' }).settle();
  t.deepEqual(swarm.spread('agent'), { n2: 1, n1: 1 });
});

test('a node that is down keeps its task, and a removed one is forgotten', (t) => {
  const swarm = cluster().nodes(2).service('agent', { global: true }).settle();
  const before = swarm.wanted('agent').map(({ id }) => id);
  swarm.node('n1', { status: 'down' }).settle();
  swarm.node('n1', { status: 'ready' }).settle();
  t.deepEqual(
    swarm.wanted('agent').map(({ id }) => id),
    before,
  );
  swarm.removeNode('n1').settle();
  t.is(swarm.tasks('agent').length, 1);
});

test('a label change moves it away', (t) => {
  const swarm = cluster().nodes(2, { labels: { disk: 'ssd' } });
  swarm.service('agent', { global: true, constraints: ['node.labels.disk == ssd'] }).settle();
  swarm.node('n1', { labels: {} }).settle();
  t.deepEqual(swarm.spread('agent'), { n2: 1 });
});

test('a node without room gets its task as soon as there is room', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('big', { reservations: { memoryBytes: 6 * GB } })
    .settle();
  swarm.service('agent', { global: true, reservations: { memoryBytes: 4 * GB } });
  t.true(swarm.plan().starved.has('agent'));
  t.is(swarm.wanted('agent').length, 0);
  swarm.removeService('big').settle();
  t.deepEqual(swarm.spread('agent'), { n1: 1 });
});

test('it is restarted on its own node', (t) => {
  const swarm = cluster().nodes(2).service('agent', { global: true }).settle();
  const on = swarm.running('agent').find(({ nodeId }) => nodeId === 'n2');
  swarm.report(on?.id ?? '', 'failed').elapse(6000);
  t.deepEqual(swarm.spread('agent'), { n1: 1, n2: 1 });
  t.is(swarm.running('agent').length, 2);
});

test('an update goes from node to node', (t) => {
  const swarm = cluster().nodes(3).service('agent', { global: true }).settle();
  swarm.service('agent', { image: 'img:2' });
  swarm.plan();
  t.is(swarm.wanted('agent').filter(({ revision }) => revision === 2).length, 1);
  swarm.elapse(20_000);
  t.true(swarm.running('agent').every(({ revision }) => revision === 2));
  t.is(swarm.get('agent').updateStatus?.state, 'completed');
});

test('an update goes from node to node also when each holds a port of its host', (t) => {
  const ports = [{ protocol: 'tcp', targetPort: 80, publishedPort: 80, mode: 'host' }] as const;
  const swarm = cluster().nodes(3).service('proxy', { global: true, ports }).settle();
  swarm.service('proxy', { image: 'img:2' });
  for (let i = 0; i < 40; i += 1) {
    swarm.plan();
    t.true(swarm.running('proxy').length >= 2);
    swarm.obey();
    swarm.now += 500;
  }
  t.true(swarm.running('proxy').every(({ revision }) => revision === 2));
  t.is(swarm.running('proxy').length, 3);
  t.is(swarm.get('proxy').updateStatus?.state, 'completed');
});

test('a node without room does not hold up an update', (t) => {
  const swarm = cluster()
    .nodes(2)
    .service('big', { reservations: { memoryBytes: 6 * GB } })
    .settle();
  swarm.service('agent', { global: true, reservations: { memoryBytes: 4 * GB } }).settle();
  swarm.service('agent', { image: 'img:2' }).elapse(20_000);
  t.is(swarm.running('agent').length, 1);
  t.is(swarm.get('agent').updateStatus?.state, 'completed');
});

test('start-first on a node that was paused meanwhile: the failed one goes, the old one stays', (t) => {
  const update = { order: 'start-first' } as const;
  const swarm = cluster().nodes(1).service('agent', { global: true, update }).settle();
  const [old] = swarm.running('agent');
  swarm.service('agent', { image: 'broken' }).plan();
  const next = swarm.wanted('agent').find(({ id }) => id !== old?.id);
  swarm
    .node('n1', { availability: 'pause' })
    .report(next?.id ?? '', 'failed')
    .elapse(60_000);
  t.deepEqual(
    swarm.wanted('agent').map(({ id }) => id),
    [old?.id],
  );
});
