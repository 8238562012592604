/** What managers ask of this node's containers, method by method. */
import {
  ConflictError,
  describeError,
  InvalidError,
  NotFoundError,
  UnsupportedError,
} from '../../shared/errors/index.ts';
import type {
  ContainerInfo,
  ContainerLimits,
  ContainerMethods,
  ContainerStreams,
  ExecMethods,
  ExecStreams,
  LogsParams,
  MethodHandlers,
  NodeMethods,
  NodeStreams,
  StreamChunk,
  StreamHandlers,
} from '../../shared/model/node-methods/index.ts';
import { NativeError, updateContainer } from '../native/container.ts';
import { sizesOf } from '../native/files-helper.ts';
import type { Containers } from './containers.ts';
import { describeContainer } from './describe.ts';
import { Execs } from './execs.ts';
import type { HealthState } from './health-state.ts';
import { readLog } from './log-reader.ts';
import type { ContainerRecord } from './record.ts';
import { requireProcessors } from './processors.ts';
import { limitsOf } from './runtime-spec.ts';
import { parseSignal } from './signals.ts';
import { readSample } from './stats.ts';
import { readTop } from './top.ts';

export class ContainerService {
  readonly #containers: Containers;
  readonly #execs: Execs;
  readonly #healthOf: (taskId: string) => HealthState | undefined;
  readonly #imageBytes: (imageId: string) => Promise<number | undefined>;
  readonly methods: MethodHandlers<keyof (ContainerMethods & ExecMethods)> = {
    'container.list': () => Promise.all(this.#containers.list().map((record) => this.#describe(record))),
    'container.inspect': async ({ containerId }) => this.#inspect(this.#find(containerId)),
    'container.kill': async (params, signal) => this.#kill(params.containerId, params.signal, signal),
    'container.stop': async (params, signal) => this.#stop(params, signal),
    'container.discard-volumes': async ({ containerId }) => this.#discardVolumes(containerId),
    'container.until-removed': async ({ containerId }, signal) => {
      await this.#containers.untilRemoved(containerId, signal);
      return {};
    },
    'container.size': async ({ containerId }, signal) => {
      const { id, imageId } = this.#find(containerId);
      const [counted = 0] = await sizesOf([this.#containers.upperDirectory(id)], signal);
      const ownBytes = Math.max(0, counted);
      return { ownBytes, totalBytes: ownBytes + ((await this.#imageBytes(imageId)) ?? 0) };
    },
    'container.update': async ({ containerId, limits }) => this.#update(containerId, limits),
    'container.pause': async ({ containerId }, signal) => this.#pause(containerId, signal),
    'container.unpause': async ({ containerId }, signal) => this.#unpause(containerId, signal),
    'container.wait': async ({ containerId }, signal) => {
      const exit = await this.#containers.wait(this.#find(containerId).id, signal);
      return { exitCode: exit.exitCode, ...(exit.error === undefined ? {} : { error: exit.error }) };
    },
    'container.top': async ({ containerId, format, columns }) =>
      readTop((await this.#running(containerId)).runDir, columns ?? format),
    'container.sample': async ({ containerId }) => this.#sample(containerId),
    'exec.create': async (params) => {
      await this.#unpaused(params.containerId);
      this.#execs.create(params);
      return {};
    },
    'exec.inspect': async ({ execId }) => this.#execs.inspect(execId),
    'exec.wait': async ({ execId }, signal) => ({ exitCode: await this.#execs.wait(execId, signal) }),
    'exec.resize': async ({ execId, rows, columns }) => {
      this.#execs.resize(execId, { rows, columns });
      return {};
    },
    'exec.start': async ({ execId, size }) => {
      const target = await this.#unpaused(this.#execs.inspect(execId).spec.containerId);
      await this.#execs.start(execId, target, size);
      return {};
    },
  };
  readonly streams: StreamHandlers<keyof (ContainerStreams & ExecStreams)> = {
    'container.logs': (params, _input, signal) => this.#logs(params, signal),
    'exec.attach': (params, input, signal) => this.#attach(params, input, signal),
  };

  constructor(
    containers: Containers,
    healthOf: (taskId: string) => HealthState | undefined,
    imageBytes: (imageId: string) => Promise<number | undefined>,
  ) {
    this.#imageBytes = imageBytes;
    this.#containers = containers;
    this.#execs = new Execs();
    this.#healthOf = healthOf;
  }

  async *#logs(params: LogsParams, signal: AbortSignal): AsyncGenerator<StreamChunk> {
    const record = this.#find(params.containerId);
    if (record.withoutLog === true)
      throw new UnsupportedError('configured logging driver does not support reading');
    const ended = new AbortController();
    const stop = new AbortController();
    const end = (): void => ended.abort();
    // To wait for one that was only created, or is being made, would note that its monitor was lost.
    if (await this.#isMade(record))
      this.#containers.wait(record.id, AbortSignal.any([signal, stop.signal])).then(end, end);
    else end();
    try {
      yield* readLog(this.#containers.logPath(record.id), params, ended.signal, signal);
    } finally {
      stop.abort();
    }
  }

  async #isMade({ id, exit }: ContainerRecord): Promise<boolean> {
    return exit === undefined && (await this.#containers.state(id).catch(() => undefined)) !== undefined;
  }

  async *#attach(
    { execId, size }: NodeStreams['exec.attach'],
    input: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): AsyncGenerator<StreamChunk> {
    const target = await this.#unpaused(this.#execs.inspect(execId).spec.containerId);
    yield* this.#execs.attach(execId, target, size, input, signal);
  }

  async #kill(containerId: string, name: string, signal: AbortSignal) {
    const number = signalNumber(name);
    const { record } = await this.#running(containerId);
    await this.#containers.signal(record.id, number);
    // A frozen process gets no signal before it goes on.
    if (await this.#containers.paused(record.id)) await this.#containers.unpause(record.id, signal);
    return {};
  }

  async #stop(
    { containerId, signal: name, graceMs }: NodeMethods['container.stop']['params'],
    signal: AbortSignal,
  ) {
    const record = this.#find(containerId);
    const stopSignal = name === undefined ? record.stopSignal : signalNumber(name);
    if (record.exit !== undefined || record.standalone?.created === true) return { stopped: true };
    // Docker's -1: as long as it takes.
    const grace = graceMs === undefined ? record.stopGraceMs : graceMs < 0 ? FOREVER_MS : graceMs;
    await this.#containers.stop({ id: record.id, stopSignal, stopGraceMs: grace }, signal);
    return { stopped: false };
  }

  async #update(containerId: string, limits: ContainerLimits) {
    const { id, exit } = this.#find(containerId);
    const state = await this.#containers.state(id).catch(() => undefined);
    // Its next start has them.
    if (exit !== undefined || state === undefined || state.status === 'stopped') return {};
    await requireProcessors(limits.options);
    try {
      // No limit of processes is one too.
      await updateContainer(this.#containers.runDirectory(id), { pids: { limit: -1 }, ...limitsOf(limits) });
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
      throw new ConflictError(`Cannot update container ${containerId}: ${describeError(error)}`, {
        cause: error,
      });
    }
    return {};
  }

  async #pause(containerId: string, signal: AbortSignal) {
    const { record } = await this.#unpaused(containerId, 'is already paused');
    await this.#containers.pause(record.id, signal);
    return {};
  }

  async #unpause(containerId: string, signal: AbortSignal) {
    const { record } = await this.#running(containerId);
    if (!(await this.#containers.paused(record.id)))
      throw new ConflictError(`Container ${containerId} is not paused`);
    await this.#containers.unpause(record.id, signal);
    return {};
  }

  async #discardVolumes(containerId: string) {
    const record = this.#find(containerId);
    if (record.standalone === undefined)
      throw new ConflictError(`container ${containerId} belongs to a service`);
    await this.#containers.note({ ...record, standalone: { ...record.standalone, discardVolumes: true } });
    return {};
  }

  async #sample(containerId: string) {
    const record = this.#find(containerId);
    if (record.exit !== undefined) return {};
    const state = await this.#containers.state(record.id).catch(() => undefined);
    if (state?.status !== 'running') return {};
    return { sample: await readSample(this.#containers.runDirectory(record.id), state.pid, Date.now()) };
  }

  /** Throws ConflictError, as Docker words it, when it does not run. */
  async #running(containerId: string) {
    const record = this.#find(containerId);
    const state = await this.#containers.state(record.id).catch(() => undefined);
    if (state?.status !== 'running') throw new ConflictError(`Container ${containerId} is not running`);
    return { record, pid: state.pid, runDir: this.#containers.runDirectory(record.id) };
  }

  async #unpaused(containerId: string, what = 'is paused, unpause the container before exec') {
    const target = await this.#running(containerId);
    if (await this.#containers.paused(target.record.id))
      throw new ConflictError(`Container ${containerId} ${what}`);
    return target;
  }

  #find(id: string): ContainerRecord {
    const record = this.#containers.list().find((one) => one.id === id);
    if (record === undefined) throw new NotFoundError(`No such container: ${id}`);
    return record;
  }

  /** With what would be much in a list of all containers. */
  async #inspect(record: ContainerRecord): Promise<ContainerInfo> {
    const { failures, log } = this.#healthOf(record.taskId) ?? {};
    const probes = failures === undefined || log === undefined ? {} : { probes: { failures, log } };
    return { ...(await this.#describe(record)), ...probes };
  }

  #describe(record: ContainerRecord): Promise<ContainerInfo> {
    return describeContainer(this.#containers, record, this.#healthOf(record.taskId));
  }
}

/** setTimeout takes no more. */
const FOREVER_MS = 2 ** 31 - 1;

function signalNumber(name: string): number {
  try {
    return parseSignal(name);
  } catch (cause) {
    throw new InvalidError(`Invalid signal: ${name}`, { cause });
  }
}
