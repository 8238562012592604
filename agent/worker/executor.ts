/** Performs a task's steps with the real container runtime, images, volumes and networks. */
import { describeError } from '../../shared/errors/index.ts';
import type { TaskAssignment } from '../../shared/model/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import type { ContainerBuilder } from '../container/builder.ts';
import type { Containers } from '../container/containers.ts';
import { probeArgs } from '../container/health.ts';
import type { ContainerExit, ContainerRecord } from '../container/record.ts';
import { NativeError } from '../native/container.ts';
import { commandProcess } from '../container/exec-process.ts';
import { TaskHealth } from './task-health.ts';
import type { Outcome, StepExecutor } from './runner.ts';

/** The part of the network driver that starting and ending a container needs. */
export interface Attachments {
  attach(taskId: string, netnsPath: string, signal: AbortSignal): Promise<void>;
  detach(taskId: string): Promise<void>;
}

type Progress = (outcome: Outcome) => void;

export class TaskExecutor implements StepExecutor {
  readonly #containers: Containers;
  readonly #builder: ContainerBuilder;
  readonly #networks: Attachments;
  readonly #logger: Logger;
  readonly #health = new Map<string, TaskHealth>();

  constructor(containers: Containers, builder: ContainerBuilder, networks: Attachments, logger: Logger) {
    this.#containers = containers;
    this.#builder = builder;
    this.#networks = networks;
    this.#logger = logger;
  }

  async prepare(task: TaskAssignment, interrupt: AbortSignal): Promise<Outcome> {
    await this.#builder.prepare(task, interrupt);
    return { state: 'ready', message: 'prepared' };
  }

  async start(task: TaskAssignment, progress: Progress, interrupt: AbortSignal): Promise<Outcome> {
    const record = (await this.#adoptable(task.taskId, interrupt)) ?? (await this.#launch(task, interrupt));
    if (record.exit !== undefined) return endOutcome(record, record.exit);
    const health = this.#watchHealth(task, record);
    if (health === undefined) return this.#running(task, record);
    progress({
      state: 'starting',
      message: 'waiting for the health check',
      ...this.#container(record),
      health: 'starting',
    });
    while (health.health === 'starting') {
      const exit = await this.#exitOrChange(record, health, interrupt);
      if (exit !== undefined) return endOutcome(record, exit);
    }
    if (health.health === 'unhealthy') return this.#unhealthy(record, health, interrupt);
    return this.#running(task, record);
  }

  async watch(task: TaskAssignment, _progress: Progress, interrupt: AbortSignal): Promise<Outcome> {
    const record = this.#containers.ofTask(task.taskId);
    if (record === undefined) return { state: 'failed', message: 'lost', error: 'the container was lost' };
    const health = this.#watchHealth(task, record);
    for (;;) {
      const exit = await this.#exitOrChange(record, health, interrupt);
      if (exit !== undefined) return endOutcome(record, exit);
      if (health?.health === 'unhealthy') return this.#unhealthy(record, health, interrupt);
    }
  }

  async stop(taskId: string, signal: AbortSignal): Promise<Outcome> {
    const record = this.#containers.ofTask(taskId);
    if (record === undefined) return { state: 'shutdown', message: 'shutdown' };
    const exit = await this.#containers.stop(record, signal);
    this.#closeHealth(taskId);
    return {
      state: 'shutdown',
      message: 'shutdown',
      container: { containerId: record.id, exitCode: exit.exitCode },
    };
  }

  async remove(taskId: string): Promise<void> {
    this.#closeHealth(taskId);
    this.#builder.forget(taskId);
    const record = this.#containers.ofTask(taskId);
    await this.#networks.detach(taskId);
    if (record !== undefined) await this.#containers.remove(record.id);
  }

  /** A container that an earlier agent started, or that ended meanwhile; one that never started is thrown away. */
  async #adoptable(taskId: string, interrupt: AbortSignal): Promise<ContainerRecord | undefined> {
    const record = this.#containers.ofTask(taskId);
    if (record === undefined || record.exit !== undefined) return record;
    const state = await this.#containers.state(record.id).catch(() => undefined);
    if (state === undefined) return { ...record, exit: await this.#containers.wait(record.id, interrupt) };
    if (state.status !== 'created') return record;
    await this.#containers.remove(record.id);
    return undefined;
  }

  async #launch(task: TaskAssignment, interrupt: AbortSignal): Promise<ContainerRecord> {
    const container = await this.#builder.build(task, interrupt);
    const { record } = container;
    try {
      const pid = await this.#containers.create(container);
      await this.#networks.attach(task.taskId, `/proc/${pid}/ns/net`, interrupt);
      interrupt.throwIfAborted();
      await this.#containers.start(record.id);
      return record;
    } catch (error) {
      if (interrupt.aborted) {
        await this.#containers.remove(record.id);
        throw error;
      }
      this.#logger.warn({ taskId: task.taskId, reason: describeError(error) }, 'the container did not start');
      const exit = await this.#containers.failed(record.id, startExitCode(error), startReason(error, record));
      return { ...record, exit };
    }
  }

  #watchHealth(task: TaskAssignment, record: ContainerRecord): TaskHealth | undefined {
    const known = this.#health.get(task.taskId);
    const args = probeArgs(record.healthCheck);
    if (known !== undefined || args === undefined || record.healthCheck === undefined) return known;
    const runDir = this.#containers.runDirectory(record.id);
    const health = new TaskHealth(
      record.healthCheck,
      commandProcess(record, args),
      Date.now(),
      async (process, options) => {
        await this.#containers.untilUnpaused(record.id);
        return this.#containers.exec(runDir, process, options);
      },
      this.#logger,
    );
    this.#health.set(task.taskId, health);
    return health;
  }

  /** The exit, or undefined when the health changed. */
  async #exitOrChange(
    record: ContainerRecord,
    health: TaskHealth | undefined,
    interrupt: AbortSignal,
  ): Promise<ContainerExit | undefined> {
    const other = new AbortController();
    const signal = AbortSignal.any([interrupt, other.signal]);
    const waits: Promise<ContainerExit | undefined>[] = [this.#containers.wait(record.id, signal)];
    if (health !== undefined) waits.push(health.change(signal).then(() => undefined));
    try {
      return await Promise.race(waits);
    } finally {
      other.abort();
      for (const wait of waits) wait.catch(() => undefined);
    }
  }

  async #unhealthy(record: ContainerRecord, health: TaskHealth, interrupt: AbortSignal): Promise<Outcome> {
    const exit = await this.#containers.stop(record, interrupt);
    this.#closeHealth(record.taskId);
    return {
      state: 'failed',
      message: 'unhealthy',
      error: `task: unhealthy container${health.output === '' ? '' : `: ${health.output.slice(0, 500)}`}`,
      ...startedAt(exit),
      container: { containerId: record.id, exitCode: exit.exitCode },
      health: 'unhealthy',
    };
  }

  async #running(task: TaskAssignment, record: ContainerRecord): Promise<Outcome> {
    const state = await this.#containers.state(record.id).catch(() => undefined);
    const health = this.#health.get(record.taskId)?.health;
    return {
      state: 'running',
      message: 'started',
      ...startedAt(state),
      container: { containerId: record.id, ...(state === undefined ? {} : { pid: state.pid }) },
      ...(health === undefined ? {} : { health }),
      ...hostPorts(task),
    };
  }

  #container(record: ContainerRecord): Pick<Outcome, 'container'> {
    return { container: { containerId: record.id } };
  }

  #closeHealth(taskId: string): void {
    this.#health.get(taskId)?.close();
    this.#health.delete(taskId);
  }

  healthOf(taskId: string): 'starting' | 'healthy' | 'unhealthy' | undefined {
    return this.#health.get(taskId)?.health;
  }
}

/** When it began to run: what ends later than a rolling update monitors is no failure of the update. */
function startedAt(seen: { readonly startedAtMs?: number } | undefined): Pick<Outcome, 'startedAtMs'> {
  return seen?.startedAtMs === undefined ? {} : { startedAtMs: seen.startedAtMs };
}

/** What `docker service ps` and `docker ps` show as its ports. */
function hostPorts({ spec }: TaskAssignment): Pick<Outcome, 'hostPorts'> {
  const ports = spec.ports.filter((port) => port.mode === 'host');
  if (ports.length === 0) return {};
  return {
    hostPorts: ports.map(({ protocol, targetPort, publishedPort }) => ({
      protocol,
      targetPort,
      publishedPort,
    })),
  };
}

/** Zero is complete, all else failed; the text is the one that Swarm's users know. */
function endOutcome(record: ContainerRecord, exit: ContainerExit): Outcome {
  const container = { containerId: record.id, exitCode: exit.exitCode };
  if (exit.exitCode === 0 && exit.error === undefined)
    return { state: 'complete', message: 'finished', ...startedAt(exit), container };
  const memory = exit.oomKilled ? ': out of memory' : '';
  return {
    state: 'failed',
    message: 'started',
    error: exit.error ?? `task: non-zero exit (${exit.exitCode})${memory}`,
    ...startedAt(exit),
    container,
  };
}

/** The shell's convention: 127 not found, 126 not executable, 125 for everything before it. */
function startExitCode(error: unknown): number {
  if (!(error instanceof NativeError) || error.step !== 'exec') return 125;
  return error.code === 'ENOENT' ? 127 : 126;
}

function startReason(error: unknown, record: ContainerRecord): string {
  if (error instanceof NativeError && error.step === 'exec') {
    const what = error.code === 'ENOENT' ? 'executable file not found in the image' : describeError(error);
    return `starting the container failed: exec: "${record.args[0] ?? ''}": ${what}`;
  }
  return `starting the container failed: ${describeError(error)}`;
}
