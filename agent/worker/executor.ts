/** Performs a task's steps with the real container runtime, images, volumes and networks. */
import { describeError } from '../../shared/errors/index.ts';
import type { ContainerStatus, TaskAssignment } from '../../shared/model/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import type { ContainerBuilder } from '../container/builder.ts';
import type { Containers } from '../container/containers.ts';
import type { NewContainer } from '../container/new-container.ts';
import { canJoinNetwork, joiningNetwork } from '../container/join-network.ts';
import { readHealth, writeHealth } from '../container/health-file.ts';
import type { HealthState } from '../container/health-state.ts';
import { probeArgs } from '../container/health.ts';
import { anonymousVolumesOf } from '../container/held-mounts.ts';
import type { ContainerExit, ContainerRecord } from '../container/record.ts';
import { hostPortsOf } from '../network/host-ports.ts';
import type { ReadyNamespace } from '../network/ready-namespaces.ts';
import { type MadeContainer, NativeError } from '../native/container.ts';
import { commandProcess } from '../container/exec-process.ts';
import { standaloneMode } from '../container/standalone.ts';
import type { ContainerClaims } from './container-claims.ts';
import { afterStart, beforeStop } from './lifecycle.ts';
import { TaskHealth } from './task-health.ts';
import type { Outcome, StepExecutor } from './runner.ts';

/** The part of the network driver that starting and ending a container needs. */
export interface Attachments {
  /** A namespace that the task's container can join; undefined: it makes its own. */
  readyNamespace(taskId: string): ReadyNamespace | undefined;
  attach(taskId: string, netnsPath: string, signal: AbortSignal): Promise<void>;
  detach(taskId: string): Promise<void>;
}

type Progress = (outcome: Outcome) => void;

export class TaskExecutor implements StepExecutor {
  readonly #containers: Containers;
  readonly #builder: ContainerBuilder;
  readonly #networks: Attachments;
  readonly #logger: Logger;
  readonly #claims: ContainerClaims;
  readonly #discardVolume: (name: string) => Promise<void>;
  readonly #health = new Map<string, TaskHealth>();
  /** Of those that were started as they were made: what is known of their start. */
  readonly #atOnce = new WeakMap<ContainerRecord, MadeContainer>();

  /** `discardVolume` removes one that was made for a standalone container alone. */
  constructor(
    containers: Containers,
    builder: ContainerBuilder,
    networks: Attachments,
    logger: Logger,
    claims: ContainerClaims,
    discardVolume: (name: string) => Promise<void>,
  ) {
    this.#containers = containers;
    this.#builder = builder;
    this.#networks = networks;
    this.#logger = logger;
    this.#claims = claims;
    this.#discardVolume = discardVolume;
  }

  async prepare(task: TaskAssignment, interrupt: AbortSignal): Promise<Outcome> {
    await this.#builder.prepare(task, interrupt);
    await this.#createStandalone(task, interrupt);
    const id = standaloneMode(task)?.containerId;
    const container = id === undefined ? {} : { container: { containerId: id } };
    return { state: 'ready', message: 'prepared', ...container };
  }

  async start(task: TaskAssignment, progress: Progress, interrupt: AbortSignal): Promise<Outcome> {
    const record = (await this.#adoptable(task.taskId, interrupt)) ?? (await this.#launch(task, interrupt));
    if (record.exit !== undefined) return endOutcome(record, record.exit);
    const wrong = await afterStart(this.#containers, record, interrupt);
    if (wrong !== undefined) return this.#endedFor(record, wrong, interrupt);
    const health = await this.#watchHealth(task, record);
    if (health === undefined || standaloneMode(task) !== undefined) return this.#running(task, record);
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
    const health = await this.#watchHealth(task, record);
    for (;;) {
      const exit = await this.#exitOrChange(record, health, interrupt);
      if (exit !== undefined) return endOutcome(record, exit);
      // A standalone container runs on, as Docker has it.
      if (health?.health === 'unhealthy' && record.standalone === undefined)
        return this.#unhealthy(record, health, interrupt);
    }
  }

  async stop(taskId: string, signal: AbortSignal): Promise<Outcome> {
    const record = this.#containers.ofTask(taskId);
    if (record === undefined || record.standalone?.created === true)
      return { state: 'shutdown', message: 'shutdown' };
    const left = await beforeStop(this.#containers, record, this.#logger);
    const exit = await this.#containers.stop(left, signal);
    await this.#closeHealth(taskId);
    return {
      state: 'shutdown',
      message: 'shutdown',
      container: endedContainer(record, exit),
    };
  }

  async remove(taskId: string): Promise<void> {
    await this.#closeHealth(taskId);
    this.#builder.forget(taskId);
    const record = this.#containers.ofTask(taskId) ?? this.#standaloneOf(taskId);
    await this.#networks.detach(taskId);
    this.#claims.forget(taskId);
    if (record === undefined) return;
    // Another task of this node goes on with its files.
    if (record.standalone !== undefined && this.#claims.isClaimed(record.id)) return;
    const own = record.standalone?.discardVolumes === false ? [] : anonymousVolumesOf(record);
    await this.#containers.remove(record.id, async () => {
      for (const name of own) await this.#discardVolume(name);
    });
  }

  /** Its directory and record, so that it can be looked at before it is started. */
  async #createStandalone(task: TaskAssignment, interrupt: AbortSignal): Promise<void> {
    const mode = standaloneMode(task);
    if (mode === undefined || this.#containers.find(mode.containerId) !== undefined) return;
    const { record, files } = await this.#builder.build(task, interrupt, false);
    if (record.standalone === undefined) return;
    await this.#containers.note({ ...record, standalone: { ...record.standalone, created: true } }, files);
  }

  #standaloneOf(taskId: string): ContainerRecord | undefined {
    const id = this.#claims.containerOf(taskId);
    return id === undefined ? undefined : this.#containers.find(id);
  }

  /** A container that an earlier agent started, or that ended meanwhile; one that never started is thrown away. */
  async #adoptable(taskId: string, interrupt: AbortSignal): Promise<ContainerRecord | undefined> {
    const record = this.#containers.ofTask(taskId);
    if (record === undefined || record.exit !== undefined) return record;
    if (record.standalone?.created === true) return undefined;
    const state = await this.#containers.state(record.id).catch(() => undefined);
    if (state === undefined) return { ...record, exit: await this.#containers.wait(record.id, interrupt) };
    if (state.status !== 'created') return record;
    await (record.standalone === undefined
      ? this.#containers.remove(record.id)
      : this.#containers.release(record.id));
    return undefined;
  }

  async #launch(task: TaskAssignment, interrupt: AbortSignal): Promise<ContainerRecord> {
    // Before anything is mounted for the next one.
    const before = await this.#endOfLastRun(task, interrupt);
    const container = await this.#builder.build(task, interrupt);
    const { record } = container;
    try {
      const made = await this.#createAttached(task.taskId, container, interrupt);
      interrupt.throwIfAborted();
      if (made.startedAtMs === undefined) await this.#containers.start(record.id);
      else this.#atOnce.set(record, made);
      return record;
    } catch (error) {
      if (interrupt.aborted) {
        await this.#takeBack(record, before);
        throw error;
      }
      this.#logger.warn({ taskId: task.taskId, reason: describeError(error) }, 'the container did not start');
      const exit = await this.#containers.failed(record.id, startExitCode(error), startReason(error, record));
      return { ...record, exit };
    }
  }

  /** With a namespace that is there already, both are done at once, and its command may run, too. */
  async #createAttached(
    taskId: string,
    container: NewContainer,
    interrupt: AbortSignal,
  ): Promise<MadeContainer> {
    const ready = canJoinNetwork(container) ? this.#networks.readyNamespace(taskId) : undefined;
    if (ready === undefined) {
      const made = await this.#containers.create(container);
      await this.#networks.attach(taskId, `/proc/${made.pid}/ns/net`, interrupt);
      return made;
    }
    const failed = new AbortController();
    const signal = AbortSignal.any([interrupt, failed.signal]);
    const wired = new Promise<void>((resolve, reject) => {
      // The container first: it takes longer.
      queueMicrotask(() => this.#networks.attach(taskId, ready.path, signal).then(resolve, reject));
    });
    const created = this.#containers.create(joiningNetwork(container, ready.path), wired);
    created.catch(() => failed.abort());
    try {
      const [made, attached] = await Promise.allSettled([created, wired]);
      if (made.status === 'rejected') throw made.reason;
      if (attached.status === 'rejected') throw attached.reason;
      return made.value;
    } finally {
      ready.close();
    }
  }

  /** What a standalone container was before this run: nothing of that may be left in the kernel. */
  async #endOfLastRun(task: TaskAssignment, interrupt: AbortSignal): Promise<ContainerRecord | undefined> {
    const id = standaloneMode(task)?.containerId;
    const last = id === undefined ? undefined : this.#containers.find(id);
    if (last === undefined) return undefined;
    if (last.exit === undefined && last.standalone?.created !== true)
      await this.#containers.stop(last, interrupt);
    await this.#containers.release(last.id);
    return this.#containers.find(last.id);
  }

  /** A start that was interrupted has not been. */
  async #takeBack({ id, standalone }: ContainerRecord, before: ContainerRecord | undefined): Promise<void> {
    if (standalone === undefined) return this.#containers.remove(id);
    await this.#containers.release(id);
    if (before !== undefined) await this.#containers.note(before);
  }

  /** Goes on from what an earlier agent found: a healthy container stays healthy when its agent is restarted. */
  async #watchHealth(task: TaskAssignment, record: ContainerRecord): Promise<TaskHealth | undefined> {
    const known = this.#health.get(task.taskId);
    const { healthCheck: check } = record;
    const args = probeArgs(check);
    if (known !== undefined || args === undefined || check === undefined) return known;
    const runDir = this.#containers.runDirectory(record.id);
    const directory = this.#containers.directory(record.id);
    const state = await this.#containers.state(record.id).catch(() => undefined);
    const health = new TaskHealth({
      check,
      process: commandProcess(record, args),
      first: await readHealth(directory, state?.startedAtMs ?? Date.now()),
      run: async (process, options) => {
        await this.#containers.untilUnpaused(record.id);
        return this.#containers.exec(runDir, process, options);
      },
      save: (found) => writeHealth(directory, found),
      logger: this.#logger,
    });
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
    await this.#closeHealth(record.taskId);
    return {
      state: 'failed',
      message: 'unhealthy',
      error: `task: unhealthy container${health.output === '' ? '' : `: ${health.output.slice(0, 500)}`}`,
      ...startedAt(exit),
      container: endedContainer(record, exit),
      health: 'unhealthy',
    };
  }

  /** A command after its start failed, perhaps since it has ended. */
  async #endedFor(record: ContainerRecord, error: string, interrupt: AbortSignal): Promise<Outcome> {
    const state = await this.#containers.state(record.id).catch(() => undefined);
    if (state?.status !== 'running')
      return endOutcome(record, await this.#containers.wait(record.id, interrupt));
    const ended = await this.#containers.stop(record, interrupt);
    const container = endedContainer(record, ended);
    return { state: 'failed', message: 'started', error, ...startedAt(ended), container };
  }

  async #running(task: TaskAssignment, record: ContainerRecord): Promise<Outcome> {
    const made = this.#atOnce.get(record);
    const state = made ?? (await this.#containers.recorded(record.id).catch(() => undefined));
    // Traffic is led to a standalone container whatever its health is, as Docker has it.
    const health = record.standalone === undefined ? this.#health.get(record.taskId)?.health : undefined;
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

  async #closeHealth(taskId: string): Promise<void> {
    const health = this.#health.get(taskId);
    this.#health.delete(taskId);
    await health?.close();
  }

  healthOf(taskId: string): HealthState | undefined {
    return this.#health.get(taskId)?.state;
  }
}

/** When it began to run: what ends later than a rolling update monitors is no failure of the update. */
function startedAt(seen: { readonly startedAtMs?: number } | undefined): Pick<Outcome, 'startedAtMs'> {
  return seen?.startedAtMs === undefined ? {} : { startedAtMs: seen.startedAtMs };
}

/** What `docker service ps` and `docker ps` show as its ports. */
function hostPorts(task: TaskAssignment): Pick<Outcome, 'hostPorts'> {
  const ports = hostPortsOf(task);
  if (ports.length === 0) return {};
  return {
    hostPorts: ports.map(({ protocol, targetPort, publishedPort, hostIp }) => ({
      protocol,
      targetPort,
      publishedPort,
      ...(hostIp === undefined ? {} : { hostIp }),
    })),
  };
}

function endedContainer({ id }: ContainerRecord, { exitCode, oomKilled }: ContainerExit): ContainerStatus {
  return { containerId: id, exitCode, ...(oomKilled ? { oomKilled } : {}) };
}

/** Zero is complete, all else failed; the text is the one that Swarm's users know. */
function endOutcome(record: ContainerRecord, exit: ContainerExit): Outcome {
  const container = endedContainer(record, exit);
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

/** Docker's clients look for these words: they end with 127, or 126. */
const EXEC_ERRORS: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'executable file not found in the image'],
  ['EACCES', 'permission denied'],
  ['EISDIR', 'is a directory: permission denied'],
]);

function startReason(error: unknown, record: ContainerRecord): string {
  if (error instanceof NativeError && error.step === 'exec') {
    const what = EXEC_ERRORS.get(error.code) ?? describeError(error);
    return `starting the container failed: exec: "${record.args[0] ?? ''}": ${what}`;
  }
  return `starting the container failed: ${describeError(error)}`;
}
