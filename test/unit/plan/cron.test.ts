import test from 'ava';
import type { CronMode } from '../../../shared/model/index.ts';
import type { TestCluster } from './_cluster.ts';
import { cluster } from './_cluster.ts';

const MINUTE = 60_000;

function clock(mode: Partial<CronMode> = {}): TestCluster {
  const cron: CronMode = {
    kind: 'cron',
    schedule: '*/10 * * * *',
    timeZone: 'UTC',
    concurrency: 'allow',
    catchUpMs: MINUTE,
    history: 3,
    ...mode,
  };
  const swarm = cluster().nodes(2);
  swarm.now = Date.parse('2026-01-01T00:05Z');
  return swarm.service('job', { mode: cron }).settle();
}

function finish(swarm: TestCluster, state: 'complete' | 'failed' = 'complete'): TestCluster {
  for (const { id } of swarm.running('job')) swarm.report(id, state);
  return swarm.settle();
}

/** Minutes after midnight that the runs are for. */
function runs(swarm: TestCluster): number[] {
  const times = swarm.tasks('job').map((task) => (task.scheduledAtMs ?? 0) - Date.parse('2026-01-01'));
  return times.map((ms) => ms / MINUTE).sort((a, b) => a - b);
}

test('runs once whenever its time comes, and keeps the last runs', (t) => {
  const swarm = clock();
  t.deepEqual(runs(swarm), []);
  swarm.elapse(5 * MINUTE);
  t.deepEqual(runs(swarm), [10]);
  t.is(swarm.running('job').length, 1);
  finish(swarm);
  swarm.elapse(9 * MINUTE);
  t.deepEqual(runs(swarm), [10]);
  for (let i = 0; i < 5; i += 1) finish(swarm.elapse(10 * MINUTE));
  t.deepEqual(runs(swarm), [40, 50, 60]);
  t.deepEqual(
    swarm.tasks('job').map((task) => swarm.stateOf(task)),
    ['complete', 'complete', 'complete'],
  );
});

test('a run that is not over: the next runs beside it, is left out, or takes its place', (t) => {
  const allow = clock({ concurrency: 'allow' }).elapse(15 * MINUTE);
  t.is(allow.running('job').length, 2);
  const forbid = clock({ concurrency: 'forbid' }).elapse(17 * MINUTE);
  t.deepEqual(runs(forbid), [10]);
  finish(forbid).elapse(9 * MINUTE);
  t.deepEqual(runs(forbid), [10, 30]);
  const replace = clock({ concurrency: 'replace' }).elapse(16 * MINUTE);
  t.deepEqual(runs(replace), [10, 20]);
  t.deepEqual(
    replace.running('job').map(({ scheduledAtMs }) => new Date(scheduledAtMs ?? 0).getUTCMinutes()),
    [20],
  );
});

test('forbid: a run that waited is made up for within the catch-up window', (t) => {
  const swarm = clock({ concurrency: 'forbid', catchUpMs: 8 * MINUTE }).elapse(17 * MINUTE);
  t.deepEqual(runs(swarm), [10]);
  finish(swarm);
  t.deepEqual(runs(swarm), [10, 20]);
});

test('nobody was there to start it: the last run that is late but not too late is made up for, once', (t) => {
  const late = clock({ catchUpMs: 30 * MINUTE });
  late.now += 40 * MINUTE;
  t.deepEqual(runs(late.settle()), [40]);
  const tooLate = clock();
  tooLate.now += 38 * MINUTE;
  t.deepEqual(runs(tooLate.settle()), []);
});

test('a run that fails is tried again in its place, and keeps its time', (t) => {
  const swarm = clock().elapse(5 * MINUTE);
  finish(swarm, 'failed').elapse(10_000);
  t.is(swarm.running('job').length, 1);
  t.deepEqual(runs(swarm), [10, 10]);
  t.deepEqual([...new Set(swarm.tasks('job').map(({ slot }) => slot))], [0]);
});

test('an update changes what comes, not what runs; what was due before it is not made up for', (t) => {
  const swarm = clock().elapse(5 * MINUTE);
  swarm.now += 10_000;
  swarm.service('job', { image: 'img:2' }).settle();
  t.deepEqual(runs(swarm), [10]);
  t.is(swarm.running('job').length, 1);
  swarm.elapse(10 * MINUTE);
  t.deepEqual(
    swarm.running('job').map(({ revision }) => revision),
    [1, 2],
  );
});

test('removed with all its runs', (t) => {
  const swarm = clock()
    .elapse(15 * MINUTE)
    .removeService('job')
    .settle();
  t.deepEqual(runs(swarm), []);
  t.is(swarm.store.get('services', 'job'), undefined);
});
