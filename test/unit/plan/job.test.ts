import test from 'ava';
import type { ServiceMode } from '../../../shared/model/index.ts';
import type { SpecChanges, TestCluster } from './_cluster.ts';
import { cluster } from './_cluster.ts';

function job(totalCompletions: number, maxConcurrent: number, more: SpecChanges = {}): SpecChanges {
  const mode: ServiceMode = { kind: 'replicated-job', totalCompletions, maxConcurrent };
  return { mode, ...more };
}

/** Every task of the job that runs ends so. */
function finish(swarm: TestCluster, state: 'complete' | 'failed', count = Infinity): number {
  const running = swarm.running('job').slice(0, count);
  for (const { id } of running) swarm.report(id, state);
  swarm.settle();
  return running.length;
}

function completed(swarm: TestCluster): number[] {
  return swarm
    .tasks('job')
    .filter((task) => swarm.stateOf(task) === 'complete')
    .map(({ slot }) => slot)
    .sort((a, b) => a - b);
}

test('runs no more at once than allowed, until all have completed', (t) => {
  const swarm = cluster().nodes(3).service('job', job(5, 2)).settle();
  t.deepEqual(
    swarm.running('job').map(({ slot }) => slot),
    [0, 1],
  );
  t.is(finish(swarm, 'complete', 1), 1);
  t.is(swarm.running('job').length, 2);
  t.is(finish(swarm, 'complete'), 2);
  t.is(finish(swarm, 'complete'), 2);
  t.is(swarm.running('job').length, 0);
  t.deepEqual(completed(swarm), [0, 1, 2, 3, 4]);
  swarm.elapse(60_000);
  t.deepEqual(completed(swarm), [0, 1, 2, 3, 4]);
});

test('what failed is tried again in its slot, whatever the condition; what completed is not', (t) => {
  for (const condition of ['any', 'on-failure'] as const) {
    const swarm = cluster()
      .nodes(1)
      .service('job', job(2, 2, { restart: { condition } }))
      .settle();
    finish(swarm, 'failed', 1);
    t.is(swarm.running('job').length, 1);
    swarm.elapse(6000);
    t.is(swarm.running('job').length, 2);
    finish(swarm, 'complete');
    swarm.elapse(60_000);
    t.deepEqual(completed(swarm), [0, 1]);
    t.is(swarm.wanted('job').length, 0);
  }
});

test('what may not be tried again leaves its place to the next', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('job', job(3, 1, { restart: { condition: 'none' } }))
    .settle();
  finish(swarm, 'failed');
  finish(swarm, 'complete');
  finish(swarm, 'complete');
  swarm.elapse(60_000);
  t.deepEqual(completed(swarm), [1, 2]);
  t.is(swarm.running('job').length, 0);
});

test('an update starts it anew, and what the last execution left goes', (t) => {
  const swarm = cluster().nodes(2).service('job', job(2, 2)).settle();
  finish(swarm, 'complete', 1);
  swarm.service('job', { image: 'img:2' }).settle();
  t.deepEqual(
    swarm.running('job').map(({ revision }) => revision),
    [2, 2],
  );
  t.true(swarm.tasks('job').every(({ revision }) => revision === 2));
  t.is(swarm.get('job').updateStatus, undefined);
});

test('a task whose node is lost is run elsewhere; one that had completed there is not', (t) => {
  const swarm = cluster().nodes(2).service('job', job(2, 2)).settle();
  const [first, second] = swarm.running('job');
  t.not(first?.nodeId, second?.nodeId);
  swarm.report(first?.id ?? '', 'complete').settle();
  swarm.node(first?.nodeId ?? '', { status: 'down' }).settle();
  t.is(swarm.running('job').length, 1);
  swarm
    .node(first?.nodeId ?? '', { status: 'ready' })
    .node(second?.nodeId ?? '', { status: 'down' })
    .settle();
  t.is(swarm.running('job')[0]?.nodeId, first?.nodeId);
  finish(swarm, 'complete');
  t.deepEqual(completed(swarm), [0, 1]);
});

test('nothing runs when nothing may run at once', (t) => {
  const swarm = cluster().nodes(1).service('job', job(3, 0)).settle();
  t.is(swarm.tasks('job').length, 0);
});

test('a global job completes once on every node, also on one that joins later, and again after an update', (t) => {
  const swarm = cluster().nodes(2).node('n3', { availability: 'drain' });
  swarm.service('job', { mode: { kind: 'global-job' } }).settle();
  t.deepEqual(swarm.spread('job'), { n1: 1, n2: 1 });
  finish(swarm, 'complete');
  swarm.elapse(60_000);
  t.is(completed(swarm).length, 2);
  swarm.node('n4').node('n1', { availability: 'drain' }).settle();
  t.deepEqual(swarm.spread('job'), { n4: 1 });
  finish(swarm, 'complete');
  t.is(completed(swarm).length, 3);
  swarm.service('job', { image: 'img:2' }).settle();
  t.deepEqual(swarm.spread('job'), { n2: 1, n4: 1 });
});

test('a removed job goes with all its tasks', (t) => {
  const swarm = cluster().nodes(1).service('job', job(3, 2)).settle();
  finish(swarm, 'complete', 1);
  swarm.removeService('job').settle();
  t.is(swarm.tasks('job').length, 0);
  t.is(swarm.store.get('services', 'job'), undefined);
});

test('a job that depends on another waits for its completions, and says so', (t) => {
  const dependsOn = [{ service: 'job', condition: 'completed', required: true }] as const;
  const swarm = cluster().nodes(2).service('job', job(2, 1));
  const mode: ServiceMode = { kind: 'replicated-job', totalCompletions: 3, maxConcurrent: 3 };
  swarm.service('next', { mode, dependsOn }).service('sweep', { mode: { kind: 'global-job' }, dependsOn });
  swarm.settle();
  t.deepEqual(swarm.reasons('next'), ['waits for service job to complete (0 of 2)']);
  t.is(swarm.tasks('sweep').length, 0);
  finish(swarm, 'complete');
  t.deepEqual(swarm.running('next'), []);
  finish(swarm, 'complete');
  t.is(swarm.running('next').length, 3);
  t.is(swarm.running('sweep').length, 2);
});
