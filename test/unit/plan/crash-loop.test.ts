/** Tasks that keep failing: tried ever more rarely, with a bounded history, and at once when something is changed. */
import test from 'ava';
import fc from 'fast-check';
import { EAGER_RETRIES, MAX_BACKOFF_MS, SETTLED_MS } from '../../../manager/plan/reconcile/restart.ts';
import type { TestCluster } from './_cluster.ts';
import { cluster, SECOND } from './_cluster.ts';

/** Runs the service's only slot `ranMs` at a time, again and again. When each run began. */
function crashes(swarm: TestCluster, times: number, ranMs: (round: number) => number): number[] {
  const starts: number[] = [];
  for (let round = 0; round < times; round += 1) {
    for (let i = 0; swarm.running('web').length === 0; i += 1) {
      const wakeAt = swarm.settle().last?.wakeAt;
      if (swarm.running('web').length > 0) break;
      if (wakeAt === undefined || i > 20) throw new Error('nothing will ever run again');
      swarm.now = Math.max(swarm.now, wakeAt);
    }
    starts.push(swarm.now);
    swarm.now += ranMs(round);
    for (const { id } of swarm.running('web')) swarm.report(id, 'failed', { error: 'exit 1' });
    swarm.plan();
  }
  return starts;
}

function gaps(starts: readonly number[], ranMs: number): number[] {
  return starts.slice(1).map((start, i) => start - (starts[i] ?? 0) - ranMs);
}

test('Swarm’s delay for the first retries, then twice as long each time, at most five minutes', (t) => {
  const swarm = cluster().nodes(2).service('web').settle();
  const seconds = gaps(
    crashes(swarm, 12, () => 1000),
    1000,
  ).map((ms) => ms / 1000);
  t.deepEqual(seconds, [5, 5, 5, 10, 20, 40, 80, 160, 300, 300, 300]);
});

test('a delay of nothing is no hot loop, and one longer than the back-off stands', (t) => {
  const hot = cluster()
    .nodes(1)
    .service('web', { restart: { delayNs: 0 } })
    .settle();
  t.deepEqual(
    gaps(
      crashes(hot, 8, () => 0),
      0,
    ),
    [0, 0, 0, 1000, 2000, 4000, 8000],
  );
  const slow = cluster()
    .nodes(1)
    .service('web', { restart: { delayNs: 3600 * SECOND } })
    .settle();
  t.deepEqual(
    new Set(
      gaps(
        crashes(slow, 8, () => 0),
        0,
      ),
    ),
    new Set([3_600_000]),
  );
});

test('any crash loop: never faster than the policy, ever slower, a bounded history', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 60 }),
      fc.nat(SETTLED_MS - 1),
      fc.constantFrom('replicated', 'global'),
      (delayS, ranMs, kind) => {
        const swarm = cluster({ taskHistoryLimit: 2 }).nodes(1);
        swarm.service('web', { global: kind === 'global', restart: { delayNs: delayS * SECOND } }).settle();
        const waits = gaps(
          crashes(swarm, 14, () => ranMs),
          ranMs,
        );
        t.true(waits.every((ms, i) => ms >= Math.max(delayS * 1000, waits[i - 1] ?? 0)));
        t.is(waits.at(-1), Math.max(delayS * 1000, MAX_BACKOFF_MS));
        t.true(swarm.tasks('web').length <= 1 + 2 + 1);
        t.true(swarm.store.all('statuses').size <= 1 + 2 + 1);
      },
    ),
    { numRuns: 30 },
  );
});

test('a run of some length ends the back-off', (t) => {
  const swarm = cluster().nodes(1).service('web').settle();
  crashes(swarm, 8, (round) => (round === 7 ? SETTLED_MS : 1000));
  t.is(swarm.wanted('web')[0]?.startAfterMs, swarm.now + 5000);
  t.is(swarm.wanted('web')[0]?.failures, undefined);
});

for (const [what, change] of [
  ['a new image', { image: 'img:2' }],
  ['--force', { forceUpdate: 1 }],
] as const) {
  test(`an update by ${what} runs at once, whatever was still to be waited for`, (t) => {
    const swarm = cluster().nodes(1).service('web').settle();
    crashes(swarm, 10, () => 1000);
    t.true((swarm.wanted('web')[0]?.startAfterMs ?? 0) - swarm.now >= 160_000);
    swarm.settle();
    swarm.service('web', change).settle();
    t.is(swarm.running('web').length, 1);
    t.is(swarm.wanted('web')[0]?.failures, undefined);
  });
}

test('scaling is no mending: the slot that fails stays backed off', (t) => {
  const swarm = cluster().nodes(1).service('web').settle();
  crashes(swarm, 8, () => 1000);
  const { startAfterMs } = swarm.wanted('web')[0] ?? {};
  swarm.service('web', { replicas: 2 }).settle();
  t.is(swarm.wanted('web')[0]?.startAfterMs, startAfterMs);
  t.is(swarm.running('web').length, 1, 'the new slot runs');
});

test('what completes has not failed: a service that runs once a delay keeps its beat', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('web', { restart: { delayNs: 60 * SECOND } })
    .settle();
  for (let i = 0; i < 10; i += 1) {
    for (const { id } of swarm.running('web')) swarm.report(id, 'complete');
    swarm.plan();
    t.is(swarm.wanted('web')[0]?.startAfterMs, swarm.now + 60_000);
    swarm.elapse(60_000);
  }
});

test('where attempts are limited the policy is followed to the letter', (t) => {
  const swarm = cluster().nodes(1);
  swarm.service('web', { restart: { maxAttempts: 6, windowNs: 60 * SECOND } }).settle();
  t.deepEqual(
    new Set(
      gaps(
        crashes(swarm, 6, () => 1000),
        1000,
      ),
    ),
    new Set([5000]),
  );
  t.true(EAGER_RETRIES < 6);
});

test('start-first, going on after failures: the update’s own retries are backed off too', (t) => {
  const update = { order: 'start-first', failureAction: 'continue' } as const;
  const swarm = cluster().nodes(2).service('web', { update }).settle();
  swarm.service('web', { image: 'img:2' });
  let made = 0;
  for (let s = 0; s < 600; s += 1) {
    swarm.plan();
    for (const { id, revision } of swarm.wanted('web')) {
      if (revision === 1 || swarm.store.get('statuses', id) !== undefined) continue;
      made += 1;
      swarm.report(id, 'rejected', { error: 'no such image' });
    }
    swarm.now += 1000;
  }
  t.is(swarm.running('web').length, 1, 'the old one serves on');
  t.true(made >= 5 && made <= 11, `${made} tries in ten minutes`);
});
