import test from 'ava';
import fc from 'fast-check';
import { Withdrawals } from '../../../manager/dispatcher/withdrawal.ts';

const TIMEOUT_MS = 2000;

function sent(nodeId: string, seq: number, withdrawn: string[], serving: string[] = []) {
  return { kind: 'sent', nodeId, seq, withdrawn, serving } as const;
}
function acked(nodeId: string, seq: number) {
  return { kind: 'acked', nodeId, seq } as const;
}
function hold(taskId: string, nowMs = 0, unseen = false) {
  return { kind: 'hold', taskId, nowMs, unseen } as const;
}

test('a task that nobody serves is released at once', (t) => {
  const withdrawals = new Withdrawals(TIMEOUT_MS);
  t.deepEqual(withdrawals.handle(hold('t1')), ['t1']);
});

test('a task waits until every node that was told has confirmed', (t) => {
  const withdrawals = new Withdrawals(TIMEOUT_MS);
  withdrawals.handle(sent('n1', 5, ['t1']));
  withdrawals.handle(sent('n2', 9, ['t1']));
  t.deepEqual(withdrawals.handle(hold('t1')), []);
  t.deepEqual(withdrawals.handle(acked('n1', 4)), [], 'an acknowledgement of an earlier frame says nothing');
  t.deepEqual(withdrawals.handle(acked('n1', 6)), [], 'a later frame includes this one, but n2 is missing');
  t.deepEqual(withdrawals.handle(acked('n2', 9)), ['t1']);
  t.deepEqual(withdrawals.handle({ kind: 'tick', nowMs: 1e9 }), [], 'released once only');
});

test('a node whose session ends is not waited for', (t) => {
  const withdrawals = new Withdrawals(TIMEOUT_MS);
  withdrawals.handle(sent('n1', 1, ['t1']));
  withdrawals.handle(hold('t1'));
  t.deepEqual(withdrawals.handle({ kind: 'closed', nodeId: 'n1' }), ['t1']);
});

test('the deadline releases what was not confirmed', (t) => {
  const withdrawals = new Withdrawals(TIMEOUT_MS);
  withdrawals.handle(sent('n1', 1, ['t1']));
  withdrawals.handle(hold('t1', 100));
  t.deepEqual(withdrawals.handle({ kind: 'tick', nowMs: 2099 }), []);
  t.deepEqual(withdrawals.handle({ kind: 'tick', nowMs: 2100 }), ['t1']);
});

test('a withdrawal for health that is not confirmed yet counts when the task is to stop', (t) => {
  const withdrawals = new Withdrawals(TIMEOUT_MS);
  withdrawals.handle(sent('n1', 1, ['t1']));
  withdrawals.handle(sent('n2', 1, ['t1']));
  withdrawals.handle(acked('n2', 1));
  t.deepEqual(withdrawals.handle(hold('t1')), []);
  t.deepEqual(withdrawals.handle(acked('n1', 1)), ['t1']);
});

test('a task that serves again has nothing left to confirm', (t) => {
  const withdrawals = new Withdrawals(TIMEOUT_MS);
  withdrawals.handle(sent('n1', 1, ['t1']));
  withdrawals.handle(sent('n1', 2, [], ['t1']));
  withdrawals.handle(sent('n1', 3, ['t1']));
  withdrawals.handle(hold('t1'));
  t.deepEqual(withdrawals.handle(acked('n1', 2)), []);
  t.deepEqual(withdrawals.handle(acked('n1', 3)), ['t1']);
});

test('what an earlier manager told is not known: the whole time is waited', (t) => {
  const withdrawals = new Withdrawals(TIMEOUT_MS);
  t.deepEqual(withdrawals.handle(hold('t1', 0, true)), []);
  withdrawals.handle(sent('n1', 1, ['t1']));
  t.deepEqual(withdrawals.handle(acked('n1', 1)), []);
  t.deepEqual(withdrawals.handle({ kind: 'tick', nowMs: 2000 }), ['t1']);
});

test('invariant 11: every held task is released exactly once, never before its confirmations or its deadline', (t) => {
  const event = fc.oneof(
    fc.record({
      kind: fc.constant('sent' as const),
      nodeId: fc.constantFrom('n1', 'n2'),
      withdrawn: fc.subarray(['t1', 't2']),
    }),
    fc.record({
      kind: fc.constant('acked' as const),
      nodeId: fc.constantFrom('n1', 'n2'),
      behind: fc.nat(2),
    }),
    fc.record({ kind: fc.constant('closed' as const), nodeId: fc.constantFrom('n1', 'n2') }),
    fc.record({ kind: fc.constant('hold' as const), taskId: fc.constantFrom('t1', 't2') }),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      const withdrawals = new Withdrawals(TIMEOUT_MS);
      /** The model: [task, node, seq] that are not confirmed. */
      let open: [string, string, number][] = [];
      const held = new Set<string>();
      let seq = 0;
      for (const step of events) {
        let released: readonly string[];
        if (step.kind === 'sent') {
          seq += 1;
          open = open.filter(([task, node]) => node !== step.nodeId || !step.withdrawn.includes(task));
          for (const task of step.withdrawn) open.push([task, step.nodeId, seq]);
          released = withdrawals.handle(sent(step.nodeId, seq, step.withdrawn));
        } else if (step.kind === 'acked') {
          const upTo = seq - step.behind;
          open = open.filter(([, node, at]) => node !== step.nodeId || at > upTo);
          released = withdrawals.handle(acked(step.nodeId, upTo));
        } else if (step.kind === 'closed') {
          open = open.filter(([, node]) => node !== step.nodeId);
          released = withdrawals.handle(step);
        } else {
          held.add(step.taskId);
          released = withdrawals.handle(hold(step.taskId));
        }
        const due = [...held].filter((task) => !open.some(([waiting]) => waiting === task));
        t.deepEqual([...released].sort(), due.sort());
        for (const task of released) held.delete(task);
      }
      t.deepEqual([...withdrawals.handle({ kind: 'tick', nowMs: TIMEOUT_MS })].sort(), [...held].sort());
    }),
    { numRuns: 300 },
  );
});
