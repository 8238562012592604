import test from 'ava';
import fc from 'fast-check';
import { ForwardClock } from '../../../shared/lib/forward-clock.ts';

const HOUR_MS = 3_600_000;

function machine() {
  const time = { wallMs: 1_700_000_000_000, steadyMs: 50 };
  const clock = new ForwardClock(
    () => time.wallMs,
    () => time.steadyMs,
  );
  const pass = (ms: number): void => {
    time.wallMs += ms;
    time.steadyMs += ms;
  };
  return { time, clock, pass };
}

test('it is the machine’s clock as long as nobody sets that back', (t) => {
  const { time, clock, pass } = machine();
  for (const ms of [0, 1, 1000, HOUR_MS]) {
    pass(ms);
    t.is(clock.now(), time.wallMs);
  }
  time.wallMs += 2 * HOUR_MS;
  t.is(clock.now(), time.wallMs, 'set ahead');
});

test('set back by two hours, five seconds are five seconds, and the machine’s clock is met again', (t) => {
  const { time, clock, pass } = machine();
  const before = clock.now();
  time.wallMs -= 2 * HOUR_MS;
  t.is(clock.now(), before);
  pass(5_600);
  t.true(clock.now() - before >= 5_000 && clock.now() - before <= 5_600);
  pass(21 * HOUR_MS);
  t.is(clock.now(), time.wallMs);
});

test('whatever is done to the machine’s clock, time never goes back and never stands still', (t) => {
  const steps = fc.array(
    fc.record({ setMs: fc.integer({ min: -HOUR_MS, max: HOUR_MS }), passMs: fc.nat(60_000) }),
  );
  fc.assert(
    fc.property(steps, (all) => {
      const { time, clock, pass } = machine();
      let last = clock.now();
      for (const { setMs, passMs } of all) {
        time.wallMs += setMs;
        pass(passMs);
        const now = clock.now();
        t.true(now - last >= Math.floor(passMs * 0.9) - 1 && now >= time.wallMs);
        last = now;
      }
    }),
  );
});

test('a machine that was switched on in 1970 goes on from what the records say', (t) => {
  const { time, clock, pass } = machine();
  const newest = time.wallMs;
  time.wallMs = 0;
  const late = new ForwardClock(
    () => time.wallMs,
    () => time.steadyMs,
  );
  t.is(late.atLeast(newest), newest);
  t.is(late.now(), newest);
  t.is(late.atLeast(newest - 1), 0);
  time.wallMs = newest + HOUR_MS;
  pass(10);
  t.is(late.now(), time.wallMs, 'its clock was set right');
  t.is(clock.now(), time.wallMs);
});
