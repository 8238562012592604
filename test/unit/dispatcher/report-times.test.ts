import test from 'ava';
import fc from 'fast-check';
import {
  clockOffsetMs,
  clockWarning,
  shifted,
  withinLife,
} from '../../../manager/dispatcher/report-times.ts';
import { StatusIntake } from '../../../manager/dispatcher/status-intake.ts';
import { durationText } from '../../../shared/lib/duration-text.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { quiet, status, task } from '../session/rig.ts';

const HOUR_MS = 3_600_000;
const NOW = 1_700_000_000_000;
const own = task('t1', 'web', 'n1', { createdAtMs: NOW - 60_000 });

test('a node’s times come onto the manager’s clock, whatever the node’s clock says', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: -72 * HOUR_MS, max: 72 * HOUR_MS }),
      fc.nat(59_000),
      fc.nat(1_000),
      (skewMs, agoMs, travelMs) => {
        const happened = NOW - agoMs - travelMs;
        const said = status('t1', 'running', { atMs: happened + skewMs, startedAtMs: happened - 5 + skewMs });
        const offset = clockOffsetMs(NOW - travelMs + skewMs, NOW);
        const known = withinLife(shifted(said, offset), own, undefined, NOW);
        t.is(known.atMs, happened + travelMs, 'late by the way of the frame, by nothing else');
        t.is(known.startedAtMs, happened - 5 + travelMs);
      },
    ),
  );
});

test('without a clock to compare with, times stay within the life of the task', (t) => {
  fc.assert(
    fc.property(fc.integer(), fc.option(fc.integer(), { nil: undefined }), (atMs, startedAtMs) => {
      const said = status('t1', 'running', { atMs, ...(startedAtMs === undefined ? {} : { startedAtMs }) });
      const { atMs: at, startedAtMs: began = at } = withinLife(said, own, undefined, NOW);
      t.true(at >= own.createdAtMs && at <= NOW);
      t.true(began >= own.createdAtMs && began <= at);
    }),
  );
});

test('when a task began to run is said once: a clock that is set later moves nothing', (t) => {
  const known = status('t1', 'running', { atMs: NOW - 9_000, startedAtMs: NOW - 9_000 });
  const later = status('t1', 'failed', { atMs: NOW, startedAtMs: NOW - 2 * HOUR_MS });
  t.is(withinLife(later, own, known, NOW).startedAtMs, NOW - 9_000);
  const lost = withinLife(status('t1', 'failed', { atMs: NOW - 2 * HOUR_MS }), own, known, NOW);
  t.is(lost.startedAtMs, NOW - 9_000, 'also by a node that has lost the container');
  t.is(lost.atMs, NOW - 9_000, 'and time does not go back');
});

test('what a skewed node says again after a reconnect is not written again', async (t) => {
  const { signal } = new AbortController();
  const store = new MemoryStore();
  await store.commit([{ table: 'tasks', key: 't1', value: own }], { signal });
  const intake = new StatusIntake(store, quiet, { now: () => NOW });
  for (const jitterMs of [0, 3, 17]) {
    const said = status('t1', 'running', { atMs: NOW - 50 + jitterMs, startedAtMs: NOW - 60 + jitterMs });
    await intake.take('n1', [said], signal);
  }
  t.deepEqual(intake.counts, { write: 1, ignore: 2, refuse: 0 });
});

test('a clock that is off is told in words, one that is nearly right is not', (t) => {
  t.is(clockWarning(4_999), undefined);
  t.is(clockWarning(-2 * HOUR_MS - 5 * 60_000), "its clock is 2 h 5 min ahead of the manager's");
  t.is(clockWarning(90_000), "its clock is 90 s behind the manager's");
  t.is(durationText(-3 * 24 * HOUR_MS - 4 * HOUR_MS), '3 d 4 h');
  t.is(durationText(600_000), '10 min');
  t.is(durationText(2 * HOUR_MS), '2 h');
});
