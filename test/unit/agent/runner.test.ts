import test from 'ava';
import { Runner, type Outcome, type StepExecutor } from '../../../agent/worker/runner.ts';
import type { TaskAssignment, TaskStatus } from '../../../shared/model/index.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const task = { taskId: 't1', serviceId: 's1', desired: 'running' } as TaskAssignment;

/** An executor whose container runs until it is told to end. */
class Scripted implements StepExecutor {
  readonly calls: string[] = [];
  finish: (outcome: Outcome) => void = () => undefined;
  readonly #ended = new Promise<Outcome>((resolve) => {
    this.finish = resolve;
  });
  prepareResult: () => Promise<Outcome> = async () => ({ state: 'ready', message: '' });

  async prepare(_task: TaskAssignment, interrupt: AbortSignal): Promise<Outcome> {
    this.calls.push('prepare');
    return Promise.race([this.prepareResult(), rejectOn(interrupt)]);
  }
  async start(): Promise<Outcome> {
    this.calls.push('start');
    return { state: 'running', message: 'started' };
  }
  async watch(_task: TaskAssignment, _progress: unknown, interrupt: AbortSignal): Promise<Outcome> {
    this.calls.push('watch');
    return Promise.race([this.#ended, rejectOn(interrupt)]);
  }
  async stop(): Promise<Outcome> {
    this.calls.push('stop');
    return { state: 'shutdown', message: 'shutdown' };
  }
  async remove(): Promise<void> {
    this.calls.push('remove');
  }
}

function rejectOn(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

function run(executor: StepExecutor, assignment: TaskAssignment = task) {
  const reports: TaskStatus[] = [];
  const waiters: { state: string; resolve: () => void }[] = [];
  const agent = new AbortController();
  const report = (status: TaskStatus): void => {
    reports.push(status);
    for (const waiter of waiters) if (waiter.state === status.state) waiter.resolve();
  };
  const runner = new Runner(assignment, 'assigned', {
    executor,
    report,
    now: () => 1,
    logger: silentLogger,
    signal: agent.signal,
  });
  const reached = (state: string): Promise<void> =>
    reports.some((status) => status.state === state)
      ? Promise.resolve()
      : new Promise((resolve) => void waiters.push({ state, resolve }));
  return { runner, reports, reached, agent };
}

test('runs, ends and is forgotten', async (t) => {
  const executor = new Scripted();
  const { runner, reports, reached } = run(executor);
  await reached('running');
  executor.finish({ state: 'complete', message: 'finished' });
  await reached('complete');
  runner.forget();
  await runner.done;
  t.deepEqual(
    reports.map((status) => status.state),
    ['accepted', 'preparing', 'ready', 'running', 'complete'],
  );
  t.deepEqual(executor.calls, ['prepare', 'start', 'watch', 'remove']);
});

test('a task that is not wanted any more is stopped, then removed when it is forgotten', async (t) => {
  const executor = new Scripted();
  const { runner, reached } = run(executor);
  await reached('running');
  runner.update({ ...task, desired: 'shutdown' });
  await reached('shutdown');
  runner.forget();
  await runner.done;
  t.deepEqual(executor.calls.slice(-2), ['stop', 'remove']);
});

test('a pull that hangs is given up when the task is to stop', async (t) => {
  const executor = new Scripted();
  const pulling = new Promise<void>((entered) => {
    executor.prepareResult = () => {
      entered();
      return new Promise(() => undefined);
    };
  });
  const { runner, reached } = run(executor);
  await pulling;
  runner.update({ ...task, desired: 'shutdown' });
  await reached('shutdown');
  t.deepEqual(executor.calls, ['prepare']);
  runner.forget();
  await runner.done;
});

test('a failed preparation rejects the task with the reason', async (t) => {
  const executor = new Scripted();
  executor.prepareResult = () => Promise.reject(new Error('manifest unknown'));
  const { runner, reports, reached } = run(executor);
  await reached('rejected');
  t.is(reports.at(-1)?.error, 'manifest unknown');
  runner.forget();
  await runner.done;
});

test('a replacement waits in ready until it is promoted', async (t) => {
  const executor = new Scripted();
  const { runner, reached } = run(executor, { ...task, desired: 'ready' });
  await reached('ready');
  t.deepEqual(executor.calls, ['prepare']);
  runner.update(task);
  await reached('running');
  runner.forget();
  await runner.done;
});

test('the end of the agent stops no container', async (t) => {
  const executor = new Scripted();
  const { runner, reached, agent } = run(executor);
  await reached('running');
  agent.abort();
  await runner.done;
  t.false(executor.calls.includes('stop'));
});
