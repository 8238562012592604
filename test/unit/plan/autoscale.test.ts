import test from 'ava';
import fc from 'fast-check';
import type { Recommendations, ScaleInput, Use } from '../../../manager/plan/reconcile/autoscale.ts';
import { decideReplicas } from '../../../manager/plan/reconcile/autoscale.ts';
import { useOf } from '../../../manager/plan/reconcile/service-scale.ts';
import type { Autoscale } from '../../../shared/model/index.ts';

const MINUTE = 60_000;
const NOW = 1_000 * MINUTE;
const CPU: Autoscale = { min: 1, max: 100, cpuPercent: 50, coolDownMs: 5 * MINUTE };

function cpu(...percents: (number | undefined)[]): (Use | undefined)[] {
  return percents.map((cpuPercent) => (cpuPercent === undefined ? undefined : { cpuPercent }));
}

/** So many tasks were right all the time, for as long as anybody asks. */
function always(replicas: number): Recommendations {
  return { sinceMs: 0, lastMs: NOW - 5_000, peaks: [{ atMs: NOW - 5_000, replicas }] };
}

function decide(uses: (Use | undefined)[], more: Partial<ScaleInput> = {}): number {
  return decideReplicas(inputOf(uses, more)).replicas;
}

function inputOf(uses: readonly (Use | undefined)[], more: Partial<ScaleInput> = {}): ScaleInput {
  return {
    autoscale: CPU,
    current: uses.length,
    uses,
    changedAtMs: undefined,
    updating: false,
    history: always(1),
    now: NOW,
    ...more,
  };
}

test('as many tasks as bring the mean to its target, rounded up', (t) => {
  t.is(decide(cpu(100, 100)), 4);
  t.is(decide(cpu(70, 71)), 3);
  t.is(decide(cpu(10, 10, 10, 10)), 1);
  t.is(decide(cpu(30, 30, 30, 30)), 3);
  t.is(decide(cpu(0, 0)), 1);
});

test('near the target nothing changes; a tenth more or less is near', (t) => {
  t.is(decide(cpu(55, 55)), 2);
  t.is(decide(cpu(45, 45)), 2);
  t.is(decide(cpu(56, 56)), 3);
  t.is(decide(cpu(...Array.from({ length: 10 }, () => 44))), 9);
});

test('at most double in one step, or four more; never beyond the bounds', (t) => {
  t.is(decide(cpu(1000)), 5);
  t.is(decide(cpu(1000, 1000, 1000, 1000, 1000, 1000)), 12);
  t.is(decide(cpu(1000), { autoscale: { ...CPU, max: 3 } }), 3);
  t.is(decide(cpu(0, 0, 0, 0), { autoscale: { ...CPU, min: 3 } }), 3);
});

test('a task of which nothing is known never moves the number', (t) => {
  t.is(decide(cpu(undefined, undefined)), 2, 'nothing is known at all');
  // One at 90 of two that are wanted: with an idle second the mean is 45.
  t.is(decide(cpu(90, undefined)), 2);
  t.is(decide(cpu(150, undefined)), 3, 'even if the second is idle there is too much for two');
  // Idle one: the second is thought to be at its target.
  t.is(decide(cpu(10, undefined)), 2);
  t.is(decide(cpu(10, 10, 10, undefined)), 2);
  t.is(decide(cpu(10), { current: 4 }), 4, 'three that are not there yet');
});

test('of two targets the one that asks for more counts; one that is not known asks for no change', (t) => {
  const autoscale = { ...CPU, memoryPercent: 80 };
  const uses = (cpuPercent: number, memoryPercent?: number): Use[] => {
    const use = { cpuPercent, ...(memoryPercent === undefined ? {} : { memoryPercent }) };
    return [use, use, use, use];
  };
  t.is(decide(uses(10, 80), { autoscale }), 4);
  t.is(decide(uses(100, 20), { autoscale }), 8);
  t.is(decide(uses(10, 120), { autoscale }), 6);
  t.is(decide(uses(10, 20), { autoscale }), 1);
  t.is(decide(uses(10), { autoscale }), 4);
  t.is(decide(uses(100), { autoscale }), 8);
  const { reason } = decideReplicas(inputOf(uses(10, 120), { autoscale }));
  t.is(reason, 'mean memory use was 120 %, the target is 80 %');
});

test('down: to the most that was right within the cool-down, and not sooner after a change', (t) => {
  const idle = cpu(0, 0, 0, 0, 0, 0);
  const peaks = [
    { atMs: NOW - 4 * MINUTE, replicas: 5 },
    { atMs: NOW - MINUTE, replicas: 2 },
  ];
  const history = { sinceMs: 0, lastMs: NOW - 1_000, peaks };
  t.is(decide(idle, { history }), 5);
  t.is(decide(idle, { history, now: NOW + MINUTE - 2_000 }), 5);
  t.is(decide(idle, { history: { ...history, lastMs: NOW + MINUTE }, now: NOW + MINUTE + 1 }), 2);
  t.is(decide(idle, { changedAtMs: NOW - 4 * MINUTE }), 6);
  t.is(decide(idle, { changedAtMs: NOW - 5 * MINUTE }), 1);
  t.is(decide(idle, { updating: true }), 6, 'an update is under way');
  t.is(decide(cpu(200, 200), { updating: true }), 6, 'up it goes all the same');
});

test('who has not looked for a whole cool-down takes nothing away', (t) => {
  const idle = cpu(0, 0, 0);
  const first = decideReplicas(inputOf(idle, { history: undefined }));
  t.is(first.replicas, 3);
  t.is(first.history.sinceMs, NOW);
  const gap = { sinceMs: 0, lastMs: NOW - 2 * MINUTE, peaks: [{ atMs: NOW - 2 * MINUTE, replicas: 1 }] };
  t.is(decide(idle, { history: gap }), 3);
  let { history } = first;
  for (let at = 5_000; at < 5 * MINUTE; at += 5_000) {
    const next = decideReplicas(inputOf(idle, { history, now: NOW + at }));
    t.is(next.replicas, 3);
    history = next.history;
  }
  t.is(decide(idle, { history, now: NOW + 5 * MINUTE }), 1);
});

test('up: not again before the last change can show', (t) => {
  t.is(decide(cpu(200, 200), { changedAtMs: NOW - 14_000 }), 2);
  t.is(decide(cpu(200, 200), { changedAtMs: NOW - 15_000 }), 6);
  t.is(
    decide(cpu(200, 200), { changedAtMs: NOW - 3_000, autoscale: { ...CPU, coolDownMs: 2_000 } }),
    6,
    'nor is it longer than the cool-down',
  );
  t.is(decide(cpu(200, 200), { changedAtMs: NOW + MINUTE }), 6, 'the clock was set back meanwhile');
});

test('percent of the reservation, else of the limit, else of one processor; old samples are not looked at', (t) => {
  const sample = { atMs: NOW - 1_000, nanoCpus: 250_000_000, memoryBytes: 64 };
  const samples = [{ ...sample, atMs: NOW - 20_000, nanoCpus: 9e9 }, sample];
  const of = (reservations: object, limits: object) => useOf({ reservations, limits }, samples, NOW);
  t.deepEqual(of({}, {}), { cpuPercent: 25 });
  t.deepEqual(of({}, { nanoCpus: 5e8, memoryBytes: 128 }), { cpuPercent: 50, memoryPercent: 50 });
  t.deepEqual(of({ nanoCpus: 1e8, memoryBytes: 32 }, { nanoCpus: 5e8, memoryBytes: 128 }), {
    cpuPercent: 250,
    memoryPercent: 200,
  });
  t.is(useOf({ reservations: {}, limits: {} }, samples, NOW + 30_000), undefined);
  const two = [sample, { ...sample, nanoCpus: 750_000_000 }];
  t.deepEqual(useOf({ reservations: {}, limits: {} }, two, NOW), { cpuPercent: 50 });
});

const percent = fc.oneof(fc.constantFrom(0, 45, 50, 55), fc.integer({ min: 0, max: 1_000 }));
const anyInput = fc
  .record({
    min: fc.integer({ min: 1, max: 10 }),
    span: fc.integer({ min: 0, max: 40 }),
    target: fc.integer({ min: 1, max: 200 }),
    memory: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    uses: fc.array(
      fc.option(fc.record({ cpuPercent: percent, memoryPercent: percent }), { nil: undefined, freq: 4 }),
      { maxLength: 20 },
    ),
    changedAgoMs: fc.option(fc.integer({ min: -MINUTE, max: 10 * MINUTE }), { nil: undefined }),
    updating: fc.boolean(),
    peak: fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined }),
  })
  .map(({ min, span, target, memory, at, uses, changedAgoMs, updating, peak }): ScaleInput => {
    const max = min + span;
    const current = min + Math.round(at * span);
    return {
      autoscale: {
        min,
        max,
        cpuPercent: target,
        ...(memory === undefined ? {} : { memoryPercent: memory }),
        coolDownMs: 5 * MINUTE,
      },
      current,
      uses: uses.slice(0, current),
      changedAtMs: changedAgoMs === undefined ? undefined : NOW - changedAgoMs,
      updating,
      history: peak === undefined ? undefined : always(Math.min(max, Math.max(min, peak))),
      now: NOW,
    };
  });

test('always within the bounds, and a step up is bounded', (t) => {
  fc.assert(
    fc.property(anyInput, (input) => {
      const { replicas } = decideReplicas(input);
      const { min, max } = input.autoscale;
      return replicas >= min && replicas <= max && replicas <= Math.max(2 * input.current, input.current + 4);
    }),
  );
  t.pass();
});

test('more use never leads to fewer tasks', (t) => {
  const more = fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 20, maxLength: 20 });
  fc.assert(
    fc.property(anyInput, more, (input, added) => {
      const uses = input.uses.map((use, i) =>
        use === undefined ? undefined : { ...use, cpuPercent: use.cpuPercent + (added[i] ?? 0) },
      );
      return decideReplicas({ ...input, uses }).replicas >= decideReplicas(input).replicas;
    }),
  );
  t.pass();
});

test('means within a tenth of their targets change nothing, whatever is known of the other tasks', (t) => {
  const near = fc.double({ min: 0.9, max: 1.1, noNaN: true });
  fc.assert(
    fc.property(anyInput, near, (input, ratio) => {
      const { cpuPercent = 1, memoryPercent = 1 } = input.autoscale;
      const use = { cpuPercent: cpuPercent * ratio, memoryPercent: memoryPercent * ratio };
      const uses = input.uses.map((one) => (one === undefined ? undefined : use));
      const history = always(input.autoscale.min);
      return decideReplicas({ ...input, uses, history }).replicas === input.current;
    }),
  );
  t.pass();
});

test('what was decided stands: the same measurements do not move it again', (t) => {
  fc.assert(
    fc.property(anyInput, (input) => {
      const first = decideReplicas(input);
      if (first.replicas === input.current) return true;
      const again = decideReplicas({
        ...input,
        current: first.replicas,
        changedAtMs: NOW,
        history: first.history,
      });
      return again.replicas === first.replicas;
    }),
  );
  t.pass();
});

test('the history is as long as there are numbers in it, not as long as the time', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 50, maxLength: 200 }), (loads) => {
      let history: Recommendations | undefined;
      for (const [i, load] of loads.entries()) {
        const input = inputOf(cpu(load, load), { history, now: NOW + i * 5_000, current: 2 });
        ({ history } = decideReplicas(input));
        const numbers = history.peaks.map(({ replicas }) => replicas);
        if (numbers.some((number, at) => at > 0 && number >= (numbers[at - 1] ?? 0))) return false;
      }
      return true;
    }),
  );
  t.pass();
});
