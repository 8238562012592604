import test from 'ava';
import fc from 'fast-check';
import { nextStep, type Intent, type Step } from '../../../agent/worker/next-step.ts';
import { compareStates, isTerminal, TASK_STATES, type TaskState } from '../../../shared/model/index.ts';

const intents: Intent[] = ['ready', 'run', 'stop', 'forget'];

/** Where a step leads, whatever happens in it. */
function outcomes(step: Step, observed: TaskState): TaskState[] {
  switch (step.kind) {
    case 'report':
      return [step.state];
    case 'prepare':
      return ['ready', 'rejected'];
    case 'start':
      return ['running', 'failed', 'complete'];
    case 'watch':
      return ['complete', 'failed'];
    case 'stop':
      return ['shutdown'];
    case 'wait':
    case 'remove':
      return [observed];
  }
}

test('invariant 3: a task never goes back, whatever is wanted and whatever happens', (t) => {
  fc.assert(
    fc.property(
      fc.constantFrom(...TASK_STATES),
      fc.array(fc.tuple(fc.constantFrom(...intents), fc.nat()), { maxLength: 20 }),
      (first, turns) => {
        let observed: TaskState = first;
        for (const [intent, choice] of turns) {
          const possible = outcomes(nextStep(observed, intent), observed);
          const next = possible[choice % possible.length] ?? observed;
          t.true(compareStates(next, observed) >= 0, `${observed} -> ${next}`);
          observed = next;
        }
      },
    ),
  );
});

test('a task that is to run gets to running by single steps', (t) => {
  const seen: TaskState[] = ['assigned'];
  for (let state: TaskState = 'assigned'; state !== 'running'; ) {
    state = outcomes(nextStep(state, 'run'), state)[0] ?? state;
    seen.push(state);
  }
  t.deepEqual(seen, ['assigned', 'accepted', 'preparing', 'ready', 'running']);
});

test('a task that is to stop always ends, and starts nothing on the way', (t) => {
  for (const first of TASK_STATES) {
    const step = nextStep(first, 'stop');
    t.false(step.kind === 'start' || step.kind === 'prepare', first);
    t.true(isTerminal(outcomes(step, first)[0] ?? first), first);
  }
});

test('a task that waits in ready does not start', (t) => {
  t.is(nextStep('ready', 'ready').kind, 'wait');
  t.is(nextStep('ready', 'run').kind, 'start');
});

test('only a forgotten task is removed, and only once it has ended', (t) => {
  for (const state of TASK_STATES) {
    for (const intent of intents) {
      t.is(nextStep(state, intent).kind === 'remove', intent === 'forget' && isTerminal(state));
    }
  }
});
