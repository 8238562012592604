import test from 'ava';
import { type ServiceJson, ServiceWatch, type TaskJson } from '../../../deploy/cli/convergence.ts';

const START = Date.parse('2026-01-01T00:00:00Z');

function service(replicas: number, update?: { State: string; Message: string }): ServiceJson {
  return {
    ID: 's1',
    Spec: { Name: 'web', Mode: { Replicated: { Replicas: replicas } } },
    ...(update === undefined ? {} : { UpdateStatus: update }),
  };
}

let made = 0;
function task(state: string, more: { slot?: number; error?: string; desired?: string } = {}): TaskJson {
  made += 1;
  const { slot = made, error, desired = 'running' } = more;
  return {
    ID: `t${made}`,
    ServiceID: 's1',
    Slot: slot,
    NodeID: 'n1',
    DesiredState: desired,
    CreatedAt: new Date(START + made).toISOString(),
    Status: { State: state, ...(error === undefined ? {} : { Err: error }) },
  };
}

test('a service converges once its tasks have run for a while, not at first sight', (t) => {
  const watch = new ServiceWatch(START);
  const tasks = [task('running'), task('running')];
  t.is(watch.judge(service(2), tasks, START).kind, 'waiting');
  t.is(watch.judge(service(2), tasks, START + 1_000).kind, 'waiting');
  t.deepEqual(watch.judge(service(2), tasks, START + 2_000), { kind: 'converged' });
});

test('another task in the place of one that ran starts the while again', (t) => {
  const watch = new ServiceWatch(START);
  watch.judge(service(1), [task('running')], START);
  t.is(watch.judge(service(1), [task('running')], START + 2_000).kind, 'waiting');
});

test('a service of zero replicas converges at once', (t) => {
  t.deepEqual(new ServiceWatch(START).judge(service(0), [], START), { kind: 'converged' });
});

test('waiting says how many run and what the others do', (t) => {
  const verdict = new ServiceWatch(START).judge(
    service(3),
    [task('running'), task('preparing'), task('preparing')],
    START,
  );
  t.deepEqual(verdict, { kind: 'waiting', text: '1/3 running, 2 preparing' });
});

test('rejections of one slot in a row fail with the latest reason', (t) => {
  const watch = new ServiceWatch(START);
  const first = task('rejected', { slot: 1, error: 'no such image: a', desired: 'shutdown' });
  t.is(watch.judge(service(1), [first], START).kind, 'waiting');
  const second = task('rejected', { slot: 1, error: 'no such image: b', desired: 'shutdown' });
  t.deepEqual(watch.judge(service(1), [first, second], START), {
    kind: 'failed',
    reason: 'its tasks are rejected: no such image: b',
  });
});

test('failures spread over slots do not fail yet, three of one slot do', (t) => {
  const watch = new ServiceWatch(START);
  const spread = [1, 2, 3].map((slot) => task('failed', { slot, error: 'exit 1', desired: 'shutdown' }));
  t.is(watch.judge(service(3), spread, START).kind, 'waiting');
  const same = [1, 1, 1].map((slot) => task('failed', { slot, error: 'exit 1', desired: 'shutdown' }));
  t.is(watch.judge(service(1), same, START).kind, 'failed');
});

test('failures from before the look began do not count', (t) => {
  const old = [1, 1, 1].map((slot) => task('failed', { slot, error: 'exit 1', desired: 'shutdown' }));
  const watch = new ServiceWatch(START + 1_000_000);
  t.is(watch.judge(service(1), old, START + 1_000_000).kind, 'waiting');
});

test('a task that no node takes is a failure only after a while', (t) => {
  const watch = new ServiceWatch(START);
  const pending = [task('pending', { error: 'no suitable node (3 nodes: constraint)' })];
  t.deepEqual(watch.judge(service(1), pending, START), {
    kind: 'waiting',
    text: '0/1 running, pending: no suitable node (3 nodes: constraint)',
  });
  const verdict = watch.judge(service(1), pending, START + 15_000);
  t.deepEqual(verdict, {
    kind: 'failed',
    reason: 'no node takes its tasks: no suitable node (3 nodes: constraint)',
  });
});

test('an update that goes on is waited for, one that was paused or rolled back is a failure', (t) => {
  const tasks = [task('running')];
  const judge = (State: string) =>
    new ServiceWatch(START).judge(service(1, { State, Message: 'm' }), tasks, START).kind;
  t.is(judge('updating'), 'waiting');
  t.is(judge('rollback_started'), 'waiting');
  t.is(judge('paused'), 'failed');
  t.is(judge('rollback_paused'), 'failed');
  t.is(judge('rollback_completed'), 'failed');
});

test('tasks that ran to their end and are not restarted count as done', (t) => {
  const watch = new ServiceWatch(START);
  const tasks = [task('complete', { desired: 'shutdown' })];
  watch.judge(service(1), tasks, START);
  t.deepEqual(watch.judge(service(1), tasks, START + 2_000), { kind: 'converged' });
});

test('a rollback that was asked for is no failure when it ends, and is one when it is paused', (t) => {
  const judge = (State: string, atMs: number): string =>
    watch.judge(service(1, { State, Message: 'm' }), tasks, START + atMs).kind;
  const watch = new ServiceWatch(START, true);
  const tasks = [task('running')];
  t.is(judge('rollback_started', 0), 'waiting');
  t.is(judge('rollback_completed', 100), 'waiting');
  t.is(judge('rollback_completed', 2_000), 'converged');
  t.is(judge('rollback_paused', 2_100), 'failed');
});
