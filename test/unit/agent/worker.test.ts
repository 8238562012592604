import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type AssignmentSet, type TaskAssignment, type TaskState } from '../../../shared/model/index.ts';
import { listsToSet } from '../../../shared/wire/assignment-diff.ts';
import type { StepExecutor } from '../../../agent/worker/runner.ts';
import { Worker } from '../../../agent/worker/worker.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

function setOf(...taskIds: readonly string[]): AssignmentSet {
  const tasks = taskIds.map((taskId) => ({ taskId, serviceId: 's', desired: 'running' }) as TaskAssignment);
  return listsToSet({
    tasks,
    networks: [],
    peers: [],
    endpoints: [],
    services: [],
    secrets: [],
    configs: [],
  });
}

/** A worker in a directory, with what it did in words. Its containers run on. */
function workerIn(t: ExecutionContext, runDir: string, adopted: readonly string[]) {
  const done: string[] = [];
  const said: string[] = [];
  const agent = new AbortController();
  const forever = (signal: AbortSignal): Promise<never> =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
  const executor: StepExecutor = {
    prepare: async () => ({ state: 'ready', message: '' }),
    start: async (task) => {
      done.push(`start ${task.taskId}`);
      return { state: 'running', message: '' };
    },
    watch: (_task, _progress, interrupt) => forever(interrupt),
    stop: async (taskId) => {
      done.push(`stop ${taskId}`);
      return { state: 'shutdown', message: '' };
    },
    remove: async (taskId) => void done.push(`remove ${taskId}`),
  };
  const worker = new Worker({
    executor,
    networks: { apply: async (set) => void done.push(`networks of ${[...set.tasks.keys()].join()}`) },
    report: ({ taskId, state }) => void said.push(`${taskId} ${state}`),
    adopted: new Map(adopted.map((taskId): [string, TaskState] => [taskId, 'starting'])),
    files: { take: () => undefined },
    assignments: { path: join(runDir, 'assignments.json'), inMemory: true },
    now: () => 1,
    logger: silentLogger,
    signal: agent.signal,
  });
  const close = async (): Promise<void> => {
    agent.abort();
    await worker.close();
  };
  t.teardown(close);
  return { worker, done, said, close };
}

/** Lets what is ready to run do so. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function directoryOf(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-worker-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return directory;
}

test('an agent resumes from what the one before was told last', async (t) => {
  const directory = await directoryOf(t);
  const first = workerIn(t, directory, []);
  first.worker.assign(setOf('one'), () => undefined);
  first.worker.assign(setOf('one', 'two'), () => undefined);
  await first.close();
  const second = workerIn(t, directory, ['one', 'two']);
  await second.worker.resume();
  await turn();
  t.deepEqual(second.done.toSorted(), ['networks of one,two', 'start one', 'start two']);
});

test('a container that the saved set does not know keeps its network until a manager has spoken', async (t) => {
  const directory = await directoryOf(t);
  const first = workerIn(t, directory, []);
  first.worker.assign(setOf('one', 'unstarted'), () => undefined);
  await first.close();
  const { worker, done } = workerIn(t, directory, ['one', 'newer']);
  await worker.resume();
  await turn();
  t.deepEqual(done, ['start one'], 'neither networks nor what has no container yet');
  worker.assign(setOf('one', 'newer', 'unstarted'), () => undefined);
  await turn();
  t.deepEqual(done.toSorted(), [
    'networks of one,newer,unstarted',
    'start newer',
    'start one',
    'start unstarted',
  ]);
});

test('with the set that begins a session every task says again what it is, with others none', async (t) => {
  const { worker, said } = workerIn(t, await directoryOf(t), []);
  worker.assign(setOf('one', 'two'), () => undefined, true);
  t.deepEqual(said, ['one accepted', 'two accepted'], 'once');
  await turn();
  worker.assign(setOf('one'), () => undefined);
  await turn();
  t.is(said.filter((text) => text === 'one running').length, 1);
  t.is(said.at(-1), 'two shutdown', 'it left the set');
  said.length = 0;
  worker.assign(setOf('one'), () => undefined);
  await turn();
  t.deepEqual(said, []);
  worker.assign(setOf('one'), () => undefined, true);
  await turn();
  t.deepEqual(said, ['one running']);
});
