import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Outcome, StepExecutor } from '../../../agent/worker/runner.ts';
import { Worker } from '../../../agent/worker/worker.ts';
import type { AssignmentSet, TaskAssignment, TaskState, TaskStatus } from '../../../shared/model/index.ts';
import { EMPTY_ASSIGNMENTS } from '../../../shared/wire/assignment-diff.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

/** A node whose disk holds the containers of `tasks`, all of them running. */
class Disk implements StepExecutor {
  readonly calls: string[] = [];
  readonly tasks: Set<string>;

  constructor(...tasks: string[]) {
    this.tasks = new Set(tasks);
  }

  async prepare(): Promise<Outcome> {
    return { state: 'ready', message: '' };
  }
  async start(task: TaskAssignment): Promise<Outcome> {
    this.calls.push(`start ${task.taskId}`);
    this.tasks.add(task.taskId);
    return { state: 'running', message: '' };
  }
  async watch(task: TaskAssignment, _progress: unknown, interrupt: AbortSignal): Promise<Outcome> {
    if (!this.tasks.has(task.taskId)) return { state: 'failed', message: 'lost', error: 'lost' };
    return new Promise((_resolve, reject) => {
      interrupt.addEventListener('abort', () => reject(interrupt.reason as Error), { once: true });
    });
  }
  async stop(taskId: string): Promise<Outcome> {
    this.calls.push(`stop ${taskId}`);
    return { state: 'shutdown', message: '' };
  }
  async remove(taskId: string): Promise<void> {
    this.calls.push(`remove ${taskId}`);
    this.tasks.delete(taskId);
  }
}

function setOf(...tasks: Partial<TaskAssignment>[]): AssignmentSet {
  const rows = tasks.map((task): [string, TaskAssignment] => [
    task.taskId ?? '',
    { desired: 'running', serviceId: 's', ...task } as TaskAssignment,
  ]);
  return { ...EMPTY_ASSIGNMENTS, tasks: new Map(rows) };
}

async function workerOn(t: ExecutionContext, disk: Disk) {
  const runDir = await mkdtemp(join(tmpdir(), 'shoal-test-worker-'));
  t.teardown(() => rm(runDir, { recursive: true }));
  const reports: TaskStatus[] = [];
  const agent = new AbortController();
  const adopted = new Map([...disk.tasks].map((id): [string, TaskState] => [id, 'starting']));
  const worker = new Worker({
    executor: disk,
    networks: { apply: () => Promise.resolve() },
    report: (status) => reports.push(status),
    adopted,
    files: { take: () => undefined },
    assignments: { path: join(runDir, 'assignments.json'), inMemory: true },
    now: () => 1,
    logger: silentLogger,
    signal: agent.signal,
  });
  return { worker, reports, agent };
}

async function until(condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 20_000; !condition(); ) {
    if (Date.now() > end) throw new Error(`never true: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('invariant 2: a task that was started once and whose container is lost fails, and is not started again', async (t) => {
  const disk = new Disk();
  const { worker, reports, agent } = await workerOn(t, disk);
  worker.assign(setOf({ taskId: 'old', started: true }, { taskId: 'new' }), () => undefined);
  await until(() => reports.some(({ taskId, state }) => taskId === 'new' && state === 'running'));
  await until(() => reports.some(({ taskId, state }) => taskId === 'old' && state === 'failed'));
  t.deepEqual(disk.calls, ['start new']);
  agent.abort();
  await worker.close();
});

test('containers that no task owns any more are stopped and removed, the others taken up', async (t) => {
  const disk = new Disk('kept', 'gone');
  const { worker, reports, agent } = await workerOn(t, disk);
  worker.assign(setOf({ taskId: 'kept' }), () => undefined);
  await until(() => disk.calls.includes('remove gone'));
  await until(() => reports.some(({ taskId, state }) => taskId === 'kept' && state === 'running'));
  t.deepEqual([...disk.tasks], ['kept']);
  t.false(disk.calls.includes('stop kept'));
  agent.abort();
  await worker.close();
});

test('the networks agree before the assignments are acknowledged', async (t) => {
  const { worker, agent } = await workerOn(t, new Disk());
  let acknowledged = false;
  worker.assign(setOf(), () => {
    acknowledged = true;
  });
  t.false(acknowledged);
  await until(() => acknowledged);
  t.true(acknowledged);
  agent.abort();
  await worker.close();
});
