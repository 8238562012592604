import test from 'ava';
import { isWanted } from '../../../manager/plan/states.ts';
import type { GenericResource } from '../../../shared/model/index.ts';
import { createContainer, wantContainer } from './_containers.ts';
import { cluster, GB, SECOND } from './_cluster.ts';
import type { TestCluster } from './_cluster.ts';

const memory = (gb: number) => ({ reservations: { memoryBytes: gb * GB } });
const having = (...genericResources: GenericResource[]) => ({ description: { genericResources } });

/** What is new waits in the first plan, and takes from others in the second. */
function planTwice(swarm: TestCluster): void {
  swarm.plan();
  swarm.plan();
}

/** Names of the services that the tasks of this one were stopped for. */
function preemptors(swarm: TestCluster, name: string): string[] {
  return swarm.tasks(name).flatMap(({ preemptedBy }) => preemptedBy?.serviceName ?? []);
}

test('a task takes the place of one of a lower priority, once that has ended', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('low', { replicas: 2, ...memory(4) })
    .settle()
    .service('high', { priority: 10, ...memory(3) });
  planTwice(swarm);
  const [high] = swarm.wanted('high');
  t.like(high, { nodeId: 'n1', desired: 'ready', preempting: true });
  t.deepEqual(preemptors(swarm, 'low'), ['high']);
  // In the same slot, so that nothing runs twice in it.
  t.deepEqual(
    swarm.wanted('low').map(({ slot }) => slot),
    [1, 2],
  );
  t.deepEqual(swarm.spread('low'), { n1: 1, none: 1 });
  t.deepEqual(swarm.reasons('low').filter(Boolean), ['preempted by service high']);
  swarm.plan();
  t.is(swarm.wanted('high')[0]?.desired, 'ready', 'the victim has not ended');
  swarm.settle();
  t.deepEqual(swarm.running('high')[0]?.preempting, undefined);
  t.is(swarm.running('high').length, 1);
  t.is(swarm.running('low').length, 1);
  t.deepEqual(swarm.reasons('low').filter(Boolean), ['no suitable node (insufficient memory on 1 node)']);
  swarm.nodes(1).settle();
  t.is(swarm.running('low').length, 2, 'it goes elsewhere when it can');
});

for (const [what, low, high] of [
  ['equal', 5, 5],
  ['higher', 6, 5],
  ['default and none', undefined, 0],
] as const) {
  test(`never one of ${what} priority`, (t) => {
    const swarm = cluster()
      .nodes(1)
      .service('low', { ...memory(8), ...(low === undefined ? {} : { priority: low }) })
      .settle()
      .service('high', { priority: high, ...memory(1) })
      .settle();
    t.deepEqual(swarm.spread('low'), { n1: 1 });
    t.deepEqual(swarm.spread('high'), { none: 1 });
  });
}

test('cpu, host ports and generic resources are taken over too', (t) => {
  const port = [{ protocol: 'tcp', targetPort: 80, publishedPort: 80, mode: 'host' }] as const;
  const gpu = { genericResources: [{ kind: 'gpu', count: 1 }] };
  const swarm = cluster()
    .node('n1', having({ kind: 'gpu', names: ['a', 'b'] }))
    .service('cpu', { reservations: { nanoCpus: 3e9 } })
    .service('port', { ports: port })
    .service('gpus', { replicas: 2, reservations: gpu })
    .settle()
    .service('p1', { priority: 1, reservations: { nanoCpus: 2e9 } })
    .service('p2', { priority: 1, ports: port })
    .service('p3', { priority: 1, reservations: gpu })
    .settle();
  t.deepEqual(preemptors(swarm, 'cpu'), ['p1']);
  t.deepEqual(preemptors(swarm, 'port'), ['p2']);
  t.deepEqual(preemptors(swarm, 'gpus'), ['p3']);
  for (const name of ['p1', 'p2', 'p3']) t.is(swarm.running(name).length, 1, name);
  const names = [...swarm.running('p3'), ...swarm.running('gpus')].flatMap(({ granted = [] }) =>
    granted.flatMap((one) => ('names' in one ? one.names : [])),
  );
  t.deepEqual(names.sort(), ['a', 'b']);
});

test('nothing is stopped where that would not help', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('low', memory(8))
    .settle()
    .service('there', { priority: 9, constraints: ['node.labels.zone==a'], ...memory(1) })
    .service('large', { priority: 9, ...memory(9) })
    .service('many', { priority: 9, replicas: 2, placement: { maxReplicasPerNode: 1 } })
    .settle();
  t.deepEqual(preemptors(swarm, 'low'), []);
  t.is(swarm.running('low').length, 1);
});

test('the node where it costs least is chosen', (t) => {
  const swarm = cluster()
    .nodes(3)
    .service('middle', { priority: 5, constraints: ['node.id==n1'], ...memory(8) })
    .service('small', { replicas: 4, constraints: ['node.id==n2'], ...memory(2) })
    .service('big', { constraints: ['node.id==n3'], ...memory(8) })
    .settle()
    .service('high', { priority: 10, ...memory(8) })
    .settle();
  t.deepEqual(swarm.spread('high'), { n3: 1 });
  t.deepEqual(preemptors(swarm, 'big'), ['high']);
});

test('several replicas spread, and share what one victim leaves', (t) => {
  const swarm = cluster()
    .nodes(2)
    .service('low', { replicas: 2, ...memory(8) })
    .settle()
    .service('high', { priority: 1, replicas: 4, ...memory(4) })
    .settle();
  t.deepEqual(swarm.spread('high'), { n1: 2, n2: 2 });
  t.is(swarm.running('high').length, 4);
  t.is(preemptors(swarm, 'low').length, 2);
});

test('what stops anyway is waited for', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('high', { priority: 1, ...memory(4) })
    .service('low', memory(4))
    .settle()
    .service('high', { image: 'img:2' });
  planTwice(swarm);
  t.deepEqual(preemptors(swarm, 'low'), []);
  swarm.elapse(10_000);
  t.deepEqual(preemptors(swarm, 'low'), []);
  t.is(swarm.running('high')[0]?.revision, 2);
});

test('one that does not stop is not waited for for ever', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('stuck', memory(4))
    .service('low', memory(4))
    .settle()
    .removeService('stuck')
    .service('high', { priority: 1, ...memory(4) });
  planTwice(swarm);
  t.deepEqual(preemptors(swarm, 'low'), []);
  t.is(swarm.last?.wakeAt, swarm.now + 60_000);
  swarm.now += 60_000;
  swarm.plan();
  t.deepEqual(preemptors(swarm, 'low'), ['high']);
});

test('a global service takes its place on each node', (t) => {
  const swarm = cluster()
    .nodes(2)
    .service('low', { replicas: 2, ...memory(8) })
    .settle()
    .service('agent', { global: true, priority: 100, ...memory(1) })
    .settle();
  t.deepEqual(swarm.spread('agent'), { n1: 1, n2: 1 });
  t.is(swarm.running('agent').length, 2);
});

test('a task of a global service gives way, and comes back where there is room again', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('agent', { global: true, ...memory(5) })
    .settle()
    .service('high', { priority: 1, ...memory(5) })
    .settle();
  t.is(swarm.running('agent').length, 0);
  t.is(swarm.wanted('agent').length, 0);
  swarm.removeService('high').settle();
  t.is(swarm.running('agent').length, 1);
});

test("containers are left alone, and a job's runs too unless their service says that they may be stopped", (t) => {
  const mode = { kind: 'replicated-job', totalCompletions: 1, maxConcurrent: 1 } as const;
  const swarm = cluster().nodes(2);
  createContainer(swarm, 'box', memory(8));
  wantContainer(swarm, 'box', 'running');
  swarm.settle().service('job', { mode, ...memory(8) });
  for (let i = 0; i < 3; i += 1) swarm.plan();
  for (const { id } of swarm.wanted('job')) swarm.report(id, 'running');
  swarm.service('high', { priority: 1, ...memory(1) });
  planTwice(swarm);
  t.deepEqual(swarm.spread('high'), { none: 1 });
  swarm.service('job', { priority: -1 });
  for (let i = 0; i < 3; i += 1) swarm.plan();
  for (const { id } of swarm.wanted('job')) swarm.report(id, 'running');
  swarm.plan();
  t.deepEqual(preemptors(swarm, 'job'), ['high']);
  t.deepEqual(preemptors(swarm, 'box'), []);
  t.not(swarm.wanted('high')[0]?.nodeId, undefined);
});

test("a cron job's run that gives way is made up for", (t) => {
  const mode = {
    kind: 'cron',
    schedule: '* * * * *',
    timeZone: 'UTC',
    concurrency: 'forbid',
    catchUpMs: 1000,
    history: 5,
  } as const;
  const swarm = cluster()
    .nodes(1)
    .service('clock', { mode, priority: -5, ...memory(8) });
  swarm.now = 60_000 * Math.ceil(swarm.now / 60_000);
  for (let i = 0; i < 3; i += 1) swarm.plan();
  const [run] = swarm.wanted('clock');
  if (run === undefined) return t.fail('no run');
  swarm.report(run.id, 'running').service('high', { priority: 0, ...memory(1) });
  planTwice(swarm);
  t.deepEqual(preemptors(swarm, 'clock'), ['high']);
  t.like(swarm.wanted('clock')[0], { slot: run.slot, scheduledAtMs: run.scheduledAtMs });
});

test('a lower priority of a service counts for the tasks that it has', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('low', { priority: 5, ...memory(8) })
    .settle()
    .service('high', { priority: 5, ...memory(1) })
    .settle();
  t.deepEqual(swarm.spread('high'), { none: 1 });
  swarm.service('low', { priority: 4 }).settle();
  t.deepEqual(swarm.spread('high'), { n1: 1 });
  t.is(swarm.tasks('low').filter((task) => task.preemptedBy !== undefined)[0]?.revision, 1);
});

test('the room is kept for the one that took it: nobody else comes first', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('low', { replicas: 4, ...memory(2) })
    .settle()
    .service('high', { priority: 1, ...memory(8) });
  planTwice(swarm);
  const victims = swarm.tasks('low').filter(({ preemptedBy }) => preemptedBy !== undefined);
  t.is(victims.length, 4);
  for (const { id } of victims) {
    t.is(swarm.wanted('high')[0]?.desired, 'ready');
    swarm.report(id, 'shutdown').plan();
    t.deepEqual(swarm.spread('low'), { none: 4 }, 'its replacement would take the room');
  }
  t.is(swarm.wanted('high')[0]?.desired, 'running');
});

test('when its own service goes meanwhile, the room goes back', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('low', memory(8))
    .settle()
    .service('high', { priority: 1, ...memory(8) });
  planTwice(swarm);
  swarm.removeService('high').settle();
  t.is(swarm.running('low').length, 1);
});

test('one that waits for its room gives way itself to a higher one', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('low', memory(8))
    .settle()
    .service('middle', { priority: 1, ...memory(8) });
  planTwice(swarm);
  swarm.service('high', { priority: 2, ...memory(8) });
  planTwice(swarm);
  t.deepEqual(preemptors(swarm, 'middle'), ['high']);
  swarm.settle();
  t.is(swarm.running('high').length, 1);
  t.is(swarm.tasks('middle').filter((task) => swarm.stateOf(task) === 'running').length, 0);
});

test('a service in the middle of a start-first update gives way slot by slot', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('low', { update: { order: 'start-first' }, ...memory(3) })
    .settle();
  swarm.hangs = ({ revision, serviceId }) => serviceId === 'low' && revision === 2;
  swarm.service('low', { image: 'img:2' });
  for (let i = 0; i < 3; i += 1) {
    swarm.plan();
    swarm.obey();
  }
  t.is(swarm.wanted('low').length, 2);
  swarm.service('high', { priority: 1, ...memory(4) });
  planTwice(swarm);
  t.is(preemptors(swarm, 'low').length, 1);
  t.is(swarm.wanted('low').length, 1, 'the slot has its other task');
});

test('a crash loop of the higher one keeps its room, and stops nothing more', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('low', { replicas: 2, ...memory(4) })
    .settle()
    .service('high', { priority: 1, restart: { delayNs: SECOND }, ...memory(4) })
    .settle();
  for (let i = 0; i < 4; i += 1) {
    for (const { id } of swarm.running('high')) swarm.report(id, 'failed');
    swarm.elapse(2000);
  }
  t.is(preemptors(swarm, 'low').length, 1);
  t.is(swarm.running('low').length, 1);
  t.true(swarm.wanted('low').every(isWanted));
});
