import test from 'ava';
import { cluster, GB, SECOND } from './_cluster.ts';

test('a new service is spread evenly, and its tasks are written once and already assigned', (t) => {
  const swarm = cluster()
    .nodes(3)
    .network('front')
    .service('web', {
      replicas: 6,
      networks: [{ network: 'front', aliases: [] }],
    });
  swarm.plan();
  t.deepEqual(swarm.spread('web'), { n1: 2, n2: 2, n3: 2 });
  t.deepEqual(
    swarm.wanted('web').map(({ slot }) => slot),
    [1, 2, 3, 4, 5, 6],
  );
  t.true(
    swarm.wanted('web').every(({ desired, addresses }) => desired === 'running' && addresses.length === 1),
  );
  t.is(swarm.plan().writes.length, 0);
});

test('scaling up fills the lowest free slots and leaves the rest alone', (t) => {
  const swarm = cluster().nodes(2).service('web', { replicas: 2 }).settle();
  const before = swarm.wanted('web').map(({ id }) => id);
  swarm.service('web', { replicas: 4 }).settle();
  t.deepEqual(
    swarm
      .wanted('web')
      .slice(0, 2)
      .map(({ id }) => id),
    before,
  );
  t.is(swarm.running('web').length, 4);
  t.is(swarm.get('web').updateStatus, undefined);
});

test('scaling down removes what does not run first, then from the fullest node', (t) => {
  const swarm = cluster().nodes(1).service('web', { replicas: 4 }).settle();
  swarm.nodes(2).service('web', { replicas: 6 }).settle();
  t.deepEqual(swarm.spread('web'), { n1: 4, n2: 1, n3: 1 });
  swarm.service('web', { replicas: 3 }).settle();
  t.deepEqual(swarm.spread('web'), { n1: 1, n2: 1, n3: 1 });
  t.is(swarm.tasks('web').length, 3, 'removed tasks leave no history');
});

test('a pending task goes before a running one', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('web', { replicas: 3, reservations: { memoryBytes: 4 * GB } })
    .settle();
  t.is(swarm.running('web').length, 2);
  swarm.service('web', { replicas: 2 }).settle();
  t.is(swarm.running('web').length, 2);
  t.is(swarm.tasks('web').length, 2);
});

test('a failed task is replaced in its slot after the delay', (t) => {
  const swarm = cluster()
    .nodes(2)
    .service('web', { restart: { delayNs: 5 * SECOND } })
    .settle();
  const [first] = swarm.running('web');
  swarm.report(first?.id ?? '', 'failed').plan();
  const [next] = swarm.wanted('web');
  t.is(next?.desired, 'ready');
  t.is(next?.slot, 1);
  t.is(next?.startAfterMs, swarm.now + 5000);
  swarm.elapse(4999);
  t.is(swarm.running('web').length, 0);
  t.is(swarm.last?.wakeAt, swarm.now + 1);
  swarm.elapse(1);
  t.is(swarm.running('web').length, 1);
  t.is(swarm.store.get('tasks', first?.id ?? '')?.desired, 'shutdown');
});

test('a task that can not be prepared is retried once a delay, not in a hot loop', (t) => {
  const swarm = cluster().nodes(1).service('web');
  swarm.plan();
  let created = 0;
  for (let i = 0; i < 10; i += 1) {
    for (const { id } of swarm.wanted('web')) {
      if (swarm.store.get('statuses', id) === undefined) created += 1;
      swarm.report(id, 'rejected', { error: 'no such image' });
    }
    swarm.now += 1000;
    swarm.plan();
  }
  t.true(created <= 4, `${created} tasks in ten seconds`);
});

for (const [condition, state, restarts] of [
  ['any', 'complete', true],
  ['any', 'failed', true],
  ['on-failure', 'complete', false],
  ['on-failure', 'failed', true],
  ['none', 'failed', false],
  ['none', 'complete', false],
] as const) {
  test(`restart ${condition}: a task that is ${state} is ${restarts ? '' : 'not '}replaced`, (t) => {
    const swarm = cluster().nodes(1).service('job', { restart: { condition } }).settle();
    swarm.report(swarm.running('job')[0]?.id ?? '', state).elapse(60_000);
    t.is(swarm.running('job').length, restarts ? 1 : 0);
    t.is(swarm.plan().writes.length, 0);
  });
}

test('a finished slot is filled again by a new revision, and goes when scaled down', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('job', { replicas: 2, restart: { condition: 'none' } })
    .settle();
  for (const { id } of swarm.running('job')) swarm.report(id, 'complete');
  swarm.elapse(60_000);
  t.is(swarm.running('job').length, 0);
  swarm.service('job', { image: 'img:2', update: { parallelism: 0 } }).elapse(10_000);
  t.is(swarm.running('job').length, 2);
  swarm.service('job', { replicas: 1 }).settle();
  t.is(swarm.running('job').length, 1);
});

test('attempts are limited, also beyond the history limit', (t) => {
  const swarm = cluster({ taskHistoryLimit: 1 }).nodes(1);
  swarm.service('web', { restart: { maxAttempts: 3, delayNs: SECOND } }).settle();
  let runs = 0;
  for (let i = 0; i < 10; i += 1) {
    for (const { id } of swarm.running('web')) {
      runs += 1;
      swarm.report(id, 'failed');
    }
    swarm.elapse(2000);
  }
  t.is(runs, 4, 'the first and three restarts');
  t.is(swarm.wanted('web').length, 0);
});

test('attempts outside of the window do not count', (t) => {
  const swarm = cluster().nodes(1);
  swarm.service('web', { restart: { maxAttempts: 1, delayNs: SECOND, windowNs: 60 * SECOND } }).settle();
  for (let i = 0; i < 5; i += 1) {
    t.is(swarm.running('web').length, 1, `round ${i}`);
    swarm.report(swarm.running('web')[0]?.id ?? '', 'failed').elapse(70_000);
  }
});

test('history is bounded a slot, statuses included', (t) => {
  const swarm = cluster({ taskHistoryLimit: 3 }).nodes(2).service('web', { replicas: 2 }).settle();
  for (let i = 0; i < 12; i += 1) {
    for (const { id } of swarm.running('web')) swarm.report(id, 'failed');
    swarm.elapse(6000);
  }
  t.is(swarm.tasks('web').length, 2 * (1 + 3));
  t.is(swarm.store.all('statuses').size, 8);
});

test('removal stops the tasks, then deletes every record of the service', (t) => {
  const swarm = cluster().nodes(2).service('web', { replicas: 2 }).settle();
  swarm.service('web', { image: 'img:2' }).elapse(30_000);
  swarm.removeService('web').plan();
  t.true(swarm.tasks('web').some(({ desired }) => desired === 'remove'));
  t.truthy(swarm.store.get('services', 'web'));
  swarm.settle();
  for (const table of ['services', 'revisions', 'tasks', 'statuses'] as const) {
    t.is(swarm.store.all(table).size, 0, table);
  }
  t.is(swarm.store.get('names', 'service:web'), undefined);
});

test('removal does not wait for a node that is down', (t) => {
  const swarm = cluster().nodes(1).service('web', { replicas: 2 }).settle();
  swarm.node('n1', { status: 'down' }).removeService('web').settle();
  t.is(swarm.store.all('services').size, 0);
  t.is(swarm.store.all('tasks').size, 0);
});

test('a plan does no more than its limit, and the rest follows', (t) => {
  const swarm = cluster().nodes(2).service('web', { replicas: 25 });
  t.true(swarm.plan(10).more);
  t.is(swarm.wanted('web').length, 10);
  t.true(swarm.plan(10).more);
  t.false(swarm.plan(10).more);
  t.is(swarm.wanted('web').length, 25);
});

test('tasks that find no place use up no limit: the plan comes to an end, and others have their turn', (t) => {
  const swarm = cluster().nodes(1);
  swarm.service('web', { replicas: 25, constraints: ['node.labels.zone==a'] }).settle();
  swarm.service('api', { replicas: 3 });
  t.false(swarm.plan(10).more);
  t.is(swarm.wanted('api').filter(({ nodeId }) => nodeId !== undefined).length, 3);
  // The last slot gets its history cleared, though all before it wait.
  const last = swarm.tasks('web').find(({ slot }) => slot === 25);
  if (last === undefined) return t.fail();
  swarm.put('tasks', 'old', { ...last, id: 'old', desired: 'shutdown' });
  t.false(swarm.plan(10).more);
  t.is(swarm.store.get('tasks', 'old'), undefined);
});

test('tasks without a service and statuses without a task are cleared away', (t) => {
  const swarm = cluster().nodes(1).service('web').settle();
  swarm.report('ghost', 'failed').put('services', 'web', null).settle();
  t.is(swarm.store.all('tasks').size, 0);
  t.is(swarm.store.all('statuses').size, 0);
});
