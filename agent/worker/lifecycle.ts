/** Commands in a task's container after its start and before its stop. */
import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError } from '../../shared/errors/index.ts';
import { untilAborted } from '../../shared/lib/abort.ts';
import type { LifecycleHook } from '../../shared/model/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import type { Containers } from '../container/containers.ts';
import { execProcess } from '../container/exec-process.ts';
import type { ContainerRecord } from '../container/record.ts';

const MAX_OUTPUT_BYTES = 4096;
/** What is told of a command's output. */
const TOLD = 500;
/** Left for the stop itself, however long what comes before it takes. */
const LEAST_GRACE_MS = 2_000;

/** Runs one; resolves with what is wrong, or undefined. `timeoutMs` 0: as long as it takes. */
async function runHook(
  containers: Containers,
  record: ContainerRecord,
  hook: LifecycleHook,
  timeoutMs: number,
): Promise<string | undefined> {
  const { command, user = '', workingDir = '', env = [], privileged } = hook;
  try {
    const { pid } = await containers.state(record.id);
    const spec = { execId: '', containerId: record.id, args: command, env, user, workingDir };
    const process = await execProcess(record, pid, {
      ...spec,
      ...{ tty: false, attachStdin: false, attachStdout: true, attachStderr: true },
      ...(privileged === true ? { privileged } : {}),
    });
    const options = { timeoutMs: Math.ceil(timeoutMs), maxOutputBytes: MAX_OUTPUT_BYTES };
    const { exitCode, timedOut, output } = await containers.exec(
      containers.runDirectory(record.id),
      process,
      options,
    );
    if (timedOut) return 'it took too long';
    const said = output.trim().slice(-TOLD);
    return exitCode === 0 ? undefined : `exit code ${exitCode}${said === '' ? '' : `: ${said}`}`;
  } catch (error) {
    return describeError(error);
  }
}

/**
 * Once for each start of the container: an agent that is started anew in the middle begins them again. Resolves with what went
 * wrong; rejects when interrupted, which leaves the command to its end.
 */
export async function afterStart(
  containers: Containers,
  record: ContainerRecord,
  interrupt: AbortSignal,
): Promise<string | undefined> {
  const { postStart = [] } = record;
  const done = join(containers.directory(record.id), 'post-start-done');
  if (postStart.length === 0 || (await isThere(done))) return undefined;
  for (const hook of postStart) {
    const wrong = await Promise.race([runHook(containers, record, hook, 0), untilAborted(interrupt)]);
    interrupt.throwIfAborted();
    if (typeof wrong === 'string') return `post_start ${JSON.stringify(hook.command.join(' '))}: ${wrong}`;
  }
  await writeFile(done, '');
  return undefined;
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Within the grace period of the stop, whose rest is what `stopGraceMs` of the answer is. What fails is logged. */
export async function beforeStop(
  containers: Containers,
  record: ContainerRecord,
  logger: Logger,
): Promise<ContainerRecord> {
  const { preStop = [], stopGraceMs } = record;
  if (preStop.length === 0 || !(await isRunning(containers, record.id))) return record;
  const startMs = performance.now();
  const leftMs = (): number => stopGraceMs - (performance.now() - startMs);
  for (const hook of preStop) {
    const timeoutMs = leftMs();
    const wrong =
      timeoutMs <= 0 ? 'no time is left for it' : await runHook(containers, record, hook, timeoutMs);
    if (wrong !== undefined)
      logger.warn({ taskId: record.taskId, command: hook.command, reason: wrong }, 'pre_stop failed');
  }
  return { ...record, stopGraceMs: Math.max(leftMs(), Math.min(LEAST_GRACE_MS, stopGraceMs)) };
}

/** In a paused one a command would wait with it. */
async function isRunning(containers: Containers, id: string): Promise<boolean> {
  const state = await containers.state(id).catch(() => undefined);
  return state?.status === 'running' && !(await containers.paused(id));
}
