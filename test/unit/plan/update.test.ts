import test from 'ava';
import { cluster, GB, SECOND } from './_cluster.ts';
import type { SpecChanges, TestCluster } from './_cluster.ts';

function revisions(swarm: TestCluster, name = 'web'): number[] {
  return swarm.running(name).map(({ revision }) => revision);
}

function state(swarm: TestCluster): string | undefined {
  return swarm.get('web').updateStatus?.state;
}

test('stop-first: the old one is told to stop, the new one waits in ready until it has', (t) => {
  const swarm = cluster().nodes(1).service('web').settle();
  const [old] = swarm.running('web');
  swarm.service('web', { image: 'img:2' }).plan();
  t.is(swarm.store.get('tasks', old?.id ?? '')?.desired, 'shutdown');
  t.is(swarm.wanted('web')[0]?.desired, 'ready');
  t.is(state(swarm), 'updating');
  swarm.plan();
  t.is(swarm.wanted('web')[0]?.desired, 'ready', 'the old one still runs');
  swarm.settle();
  t.deepEqual(revisions(swarm), [2]);
  t.is(state(swarm), 'updating', 'monitored for 5 s');
  swarm.elapse(5000);
  t.is(state(swarm), 'completed');
  t.truthy(swarm.get('web').updateStatus?.completedAtMs);
});

test('a task that does not stop holds up its replacement for a minute at most', (t) => {
  const swarm = cluster().nodes(1).service('web').settle();
  swarm.service('web', { image: 'img:2' }).plan();
  t.is(swarm.plan().wakeAt, swarm.now + 60_000);
  swarm.now += 60_000;
  swarm.plan();
  t.is(swarm.wanted('web')[0]?.desired, 'running');
});

test('start-first: the old one stops only once the new one runs', (t) => {
  const swarm = cluster()
    .nodes(2)
    .service('web', { update: { order: 'start-first' } })
    .settle();
  swarm.service('web', { image: 'img:2' }).plan();
  t.deepEqual(
    swarm
      .wanted('web')
      .map(({ revision }) => revision)
      .sort(),
    [1, 2],
  );
  const next = swarm.wanted('web').find(({ revision }) => revision === 2);
  swarm.report(next?.id ?? '', 'starting').plan();
  t.is(swarm.wanted('web').length, 2);
  swarm.report(next?.id ?? '', 'running', { health: 'starting' }).plan();
  t.is(swarm.wanted('web').length, 2, 'its health check has not passed yet');
  swarm.report(next?.id ?? '', 'running', { health: 'healthy' }).plan();
  t.deepEqual(
    swarm.wanted('web').map(({ revision }) => revision),
    [2],
  );
});

test('parallelism bounds how many slots are replaced at a time, delay spaces them', (t) => {
  const swarm = cluster().nodes(2);
  swarm.service('web', { replicas: 6, update: { parallelism: 2, delayNs: 10 * SECOND } }).settle();
  swarm.service('web', { image: 'img:2' });
  const steps: number[] = [];
  const updated = (): number => revisions(swarm).filter((revision) => revision === 2).length;
  for (let i = 0; i < 4; i += 1) {
    swarm.settle();
    const now = updated();
    steps.push(now);
    swarm.elapse(9999);
    t.is(updated(), now, 'the delay is kept');
    swarm.elapse(1);
  }
  t.deepEqual(steps, [2, 4, 6, 6]);
  t.is(state(swarm), 'completed');
});

test('parallelism 0 replaces all at once', (t) => {
  const swarm = cluster()
    .nodes(2)
    .service('web', { replicas: 5, update: { parallelism: 0 } })
    .settle();
  swarm.service('web', { image: 'img:2' }).plan();
  t.is(swarm.wanted('web').filter(({ revision }) => revision === 2).length, 5);
});

test('a failure pauses the update; the rest stays as it was', (t) => {
  const swarm = cluster()
    .nodes(3)
    .service('web', { replicas: 3, update: { delayNs: 10 * SECOND } })
    .settle();
  swarm.service('web', { image: 'broken' }).settle();
  const bad = swarm.running('web').find(({ revision }) => revision === 2);
  swarm.now += 1000;
  swarm.report(bad?.id ?? '', 'failed').elapse(60_000);
  t.is(state(swarm), 'paused');
  t.true(swarm.get('web').updateStatus?.message.includes(bad?.id ?? '-'));
  t.deepEqual(revisions(swarm).sort(), [1, 1, 2]);
});

/** An update whose tasks get no further than `starting`. */
function hanging(update: NonNullable<SpecChanges['update']>): TestCluster {
  const swarm = cluster().nodes(3).service('web', { replicas: 3, update }).settle();
  swarm.service('web', { image: 'hangs', updateDeadlineMs: 30_000 });
  swarm.hangs = (task) => task.revision > 1;
  return swarm.settle();
}

test('a task that does not come up in time is a failure: the update is paused', (t) => {
  const swarm = hanging({}).elapse(29_000);
  t.is(state(swarm), 'updating');
  swarm.elapse(1000);
  t.is(state(swarm), 'paused');
  t.regex(swarm.get('web').updateStatus?.message ?? '', /task \S+ did not come up in time/);
  t.deepEqual(revisions(swarm), [1, 1]);
});

test('a hanging update goes on, or back, as its failure action says', (t) => {
  const onward = hanging({ failureAction: 'continue' }).elapse(120_000);
  t.is(state(onward), 'completed');
  t.deepEqual(revisions(onward), []);
  const back = hanging({ failureAction: 'rollback' });
  back.hangs = (task) => task.revision === 2;
  back.elapse(120_000);
  t.is(state(back), 'rollback-completed');
  // What the update had not come to yet is as it was.
  t.deepEqual(revisions(back).sort(), [1, 1, 3]);
});

test('an update that finds no node in time is paused too', (t) => {
  const swarm = cluster().nodes(1).service('web').settle();
  const size = { reservations: { memoryBytes: 100 * GB }, updateDeadlineMs: 60_000 };
  swarm.service('web', size).elapse(70_000);
  t.is(state(swarm), 'paused');
  t.regex(swarm.reasons('web')[0] ?? '', /insufficient memory/);
});

test('a failure after the monitoring time is none of the update', (t) => {
  const swarm = cluster().nodes(3);
  swarm.service('web', { replicas: 2, update: { monitorNs: SECOND, delayNs: 20 * SECOND } }).settle();
  swarm.service('web', { image: 'img:2' }).settle();
  const first = swarm.running('web').find(({ revision }) => revision === 2);
  swarm.elapse(2000);
  swarm.report(first?.id ?? '', 'failed').elapse(60_000);
  t.is(state(swarm), 'completed');
  t.deepEqual(revisions(swarm), [2, 2]);
});

test('failures up to the ratio are accepted', (t) => {
  const swarm = cluster().nodes(3);
  swarm.service('web', { replicas: 4, update: { maxFailureRatio: 0.25 } }).settle();
  swarm.service('web', { image: 'img:2' }).settle();
  const bad = swarm.running('web').find(({ revision }) => revision === 2);
  swarm.report(bad?.id ?? '', 'failed').elapse(60_000);
  t.is(state(swarm), 'completed');
  t.deepEqual(revisions(swarm), [2, 2, 2, 2]);
});

test('continue goes through with it', (t) => {
  const swarm = cluster().nodes(3);
  swarm.service('web', { replicas: 3, update: { failureAction: 'continue' } }).settle();
  swarm.service('web', { image: 'broken' });
  for (let i = 0; i < 30; i += 1) {
    swarm.settle();
    for (const { id, revision } of swarm.running('web')) if (revision === 2) swarm.report(id, 'failed');
    swarm.elapse(2000);
  }
  t.true(swarm.wanted('web').every(({ revision }) => revision === 2));
  t.is(state(swarm), 'completed');
});

test('rollback goes back to the spec before, as a new revision, and only once', (t) => {
  const swarm = cluster().nodes(3);
  swarm.service('web', { replicas: 3, update: { failureAction: 'rollback' } }).settle();
  swarm.service('web', { image: 'broken' }).settle();
  const bad = swarm.running('web').find(({ revision }) => revision === 2);
  const untouched = swarm.running('web').filter(({ revision }) => revision === 1);
  swarm.report(bad?.id ?? '', 'rejected').plan();
  t.is(state(swarm), 'rollback-started');
  const service = swarm.get('web');
  t.is(service.revision, 3);
  t.is(service.previousRevision, undefined);
  t.is(swarm.store.get('revisions', 'web.3')?.spec.container.image, 'img:1');
  swarm.elapse(60_000);
  t.is(state(swarm), 'rollback-completed');
  t.is(swarm.running('web').length, 3);
  for (const task of untouched) t.true(swarm.running('web').some(({ id }) => id === task.id));
});

test('a rollback that fails is paused', (t) => {
  const swarm = cluster().nodes(1);
  swarm.service('web', { update: { failureAction: 'rollback' }, restart: { delayNs: SECOND } }).settle();
  swarm.service('web', { image: 'broken' }).settle();
  for (let i = 0; i < 5; i += 1) {
    for (const { id } of swarm.running('web')) swarm.report(id, 'failed');
    swarm.elapse(2000);
  }
  t.is(state(swarm), 'rollback-paused');
  t.is(swarm.get('web').revision, 3);
});

test('a new spec interrupts: slots go straight to it', (t) => {
  const swarm = cluster()
    .nodes(2)
    .service('web', { replicas: 4, update: { delayNs: 10 * SECOND } })
    .settle();
  swarm.service('web', { image: 'img:2' }).settle();
  swarm.service('web', { image: 'img:3' }).elapse(60_000);
  t.deepEqual(revisions(swarm), [3, 3, 3, 3]);
  t.is(swarm.tasks('web').filter(({ revision }) => revision === 2).length, 1);
});

test('start-first interrupted keeps the task that serves', (t) => {
  const swarm = cluster()
    .nodes(2)
    .service('web', { update: { order: 'start-first' } })
    .settle();
  const [serving] = swarm.running('web');
  swarm.service('web', { image: 'img:2' }).plan();
  swarm.service('web', { image: 'img:3' }).plan();
  t.true(swarm.wanted('web').some(({ id }) => id === serving?.id));
  swarm.elapse(30_000);
  t.deepEqual(revisions(swarm), [3]);
});

test('a paused update goes on with a new spec', (t) => {
  const swarm = cluster().nodes(2).service('web', { replicas: 2 }).settle();
  swarm.service('web', { image: 'broken' }).settle();
  const bad = swarm.running('web').find(({ revision }) => revision === 2);
  swarm.report(bad?.id ?? '', 'failed').elapse(10_000);
  t.is(state(swarm), 'paused');
  swarm.service('web', { image: 'img:3' }).elapse(60_000);
  t.deepEqual(revisions(swarm), [3, 3]);
  t.is(state(swarm), 'completed');
});

test('a pending task becomes current where it is', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('web', { replicas: 2, constraints: ['node.labels.x==y'] })
    .settle();
  const before = swarm.wanted('web').map(({ id }) => id);
  swarm.service('web', { constraints: [] }).settle();
  t.deepEqual(
    swarm.running('web').map(({ id }) => id),
    before,
  );
  t.is(state(swarm), undefined);
});

test('labels, policies and mesh ports of a service replace no task; limits and networks do', (t) => {
  const port = { protocol: 'tcp', targetPort: 80, publishedPort: 8080, mode: 'ingress' } as const;
  const swarm = cluster()
    .nodes(1)
    .network('front')
    .service('web', { ports: [port] })
    .settle();
  const [task] = swarm.running('web');
  swarm.service('web', { labels: { a: 'b' }, restart: { delayNs: 0 }, update: { parallelism: 3 } }).settle();
  swarm.service('web', { ports: [{ ...port, publishedPort: 8081 }] }).settle();
  t.is(swarm.running('web')[0]?.id, task?.id);
  t.is(swarm.get('web').endpoint?.ports[0]?.publishedPort, 8081);
  swarm.service('web', { networks: [{ network: 'front', aliases: [] }] }).settle();
  t.not(swarm.running('web')[0]?.id, task?.id);
});

test('old revisions are forgotten once no task names them', (t) => {
  const swarm = cluster({ taskHistoryLimit: 1 })
    .nodes(1)
    .service('web', { update: { monitorNs: 0 } })
    .settle();
  for (let i = 2; i <= 30; i += 1) {
    swarm.service('web', { image: `img:${i}` }).elapse(100);
    swarm.now += 1000;
  }
  t.true(swarm.store.all('revisions').size <= 12, String(swarm.store.all('revisions').size));
  t.truthy(swarm.store.get('revisions', 'web.30'));
});

test('nothing is placed by the spec that a rollback gives up', (t) => {
  const swarm = cluster().nodes(1);
  const heavy = { reservations: { memoryBytes: 5 * GB } };
  swarm.service('web', { ...heavy, update: { failureAction: 'rollback' } }).settle();
  swarm.service('web', { image: 'broken', reservations: {} }).settle();
  swarm.report(swarm.running('web')[0]?.id ?? '', 'failed');
  swarm.service('other', heavy).plan();
  t.is(swarm.get('web').revision, 3);
  t.true(swarm.wanted('web').every(({ revision, nodeId }) => revision !== 3 || nodeId === undefined));
});

test('a stop-first update leaves the tasks as evenly spread as they were', (t) => {
  const swarm = cluster()
    .nodes(3)
    .service('web', { replicas: 4, update: { parallelism: 2 } })
    .settle();
  for (let round = 2; round < 8; round += 1) {
    swarm.service('web', { image: `img:${round}` }).settle();
    for (let monitored = 0; monitored < 3; monitored += 1) swarm.elapse(5000);
    const perNode = new Map<string | undefined, number>();
    for (const { nodeId } of swarm.running('web')) perNode.set(nodeId, (perNode.get(nodeId) ?? 0) + 1);
    t.deepEqual([...perNode.values()].sort(), [1, 1, 2], `revision ${round}`);
  }
});

test('a task that completes has not failed, where it is not to run again', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('job', { restart: { condition: 'none' } })
    .settle();
  const end = (): void => {
    for (const { id } of swarm.running('job')) swarm.report(id, 'complete');
  };
  end();
  swarm.settle();
  swarm.service('job', { image: 'img:2', restart: { condition: 'none' } }).settle();
  end();
  swarm.elapse(60_000);
  t.is(swarm.get('job').updateStatus?.state, 'completed');
});
