/** Clients that are attached to the standard streams of this node's containers, or wait for a container to start. */
import type { Socket } from 'node:net';
import { ConflictError, NotFoundError } from '../../shared/errors/index.ts';
import type {
  AttachMethods,
  AttachParams,
  AttachStreams,
  MethodHandlers,
  StreamChunk,
  StreamHandlers,
} from '../../shared/model/node-methods/index.ts';
import { attachInput, attachOutput } from '../native/attach.ts';
import { NativeError, resizeContainer } from '../native/container.ts';
import { AttachFrames } from './attach-frames.ts';
import type { Containers } from './containers.ts';
import type { Watcher } from './new-container.ts';
import type { LogPlace } from './log-files.ts';
import { replayLog } from './log-reader.ts';
import type { ContainerRecord } from './record.ts';
import { feed } from './session-io.ts';

/** Says that the client misses nothing from now on. */
const READY: StreamChunk = { stream: 1, data: Buffer.alloc(0) };

interface Connection {
  readonly record: ContainerRecord;
  readonly output: Socket;
  /** Of the log: what the container wrote before. */
  readonly logEnd: LogPlace;
  readonly input: Socket | undefined;
}

interface Waiter {
  readonly params: AttachParams;
  /** Undefined: it was removed before it started. */
  readonly resolve: (connection: Connection | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export class Attachments implements Watcher {
  readonly #containers: Containers;
  readonly #waiters = new Map<string, Set<Waiter>>();
  readonly methods: MethodHandlers<keyof AttachMethods> = {
    'container.resize': async ({ containerId, rows, columns }) => this.#resize(containerId, rows, columns),
  };
  readonly streams: StreamHandlers<keyof AttachStreams> = {
    'container.attach': (params, input, signal) => this.#attach(params, input, signal),
  };

  /** Connects who waits, before a container of `containers` starts. */
  constructor(containers: Containers) {
    this.#containers = containers;
    containers.watch(this);
  }

  /** Who waits is connected, or told why not. Who waits for one that is removed hears its end: why, its starter is told. */
  async starting(containerId: string): Promise<void> {
    await Promise.all(this.#take(containerId).map((waiter) => this.#connectWaiter(waiter)));
  }

  awaits(containerId: string): boolean {
    return this.#waiters.has(containerId);
  }

  removed(containerId: string): void {
    for (const waiter of this.#take(containerId)) waiter.resolve(undefined);
  }

  async *#attach(
    params: AttachParams,
    input: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): AsyncGenerator<StreamChunk> {
    const { containerId } = params;
    if (await this.#containers.paused(containerId))
      throw new ConflictError(`Container ${containerId} is paused, unpause the container before attach`);
    if (!params.stream) {
      yield READY;
      if (params.logs) yield* replayLog(this.#containers.logPath(containerId), undefined, params, signal);
      return;
    }
    const connected = this.#connected(params, signal);
    let relayed = false;
    try {
      yield READY;
      const connection = await connected;
      relayed = true;
      if (connection === undefined) return;
      yield* this.#relay(params, connection, input, signal);
    } finally {
      if (!relayed) connected.then(close, () => undefined);
    }
  }

  async *#relay(
    params: AttachParams,
    connection: Connection,
    input: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): AsyncGenerator<StreamChunk> {
    const { record, output } = connection;
    const over = new AbortController();
    const detached = new AbortController();
    const leave = (): void => void output.destroy();
    for (const end of [signal, detached.signal]) end.addEventListener('abort', leave, { once: true });
    // A manager that is gone takes its input with it; its stream ends by the signal.
    feedInput(connection, input, detached, AbortSignal.any([signal, over.signal])).catch(() => undefined);
    try {
      if (params.logs) {
        const path = this.#containers.logPath(record.id);
        yield* replayLog(path, connection.logEnd, params, signal);
      }
      yield* chunksOf(output, record.tty === true, params);
      signal.throwIfAborted();
      if (!detached.signal.aborted) await this.#ended(record.id);
    } finally {
      signal.removeEventListener('abort', leave);
      over.abort();
      output.destroy();
      connection.input?.destroy();
    }
  }

  /** Its monitor cuts off who does not read; when the container has ended, it says so in its state first. */
  async #ended(containerId: string): Promise<void> {
    const state = await this.#containers.state(containerId).catch(() => undefined);
    if (state?.status === 'running')
      throw new ConflictError('detached: the output of the container was not read in time');
  }

  /** Registered at once, so that no start is missed while it is found out whether the container runs. */
  #connected(params: AttachParams, signal: AbortSignal): Promise<Connection | undefined> {
    return new Promise((resolve, reject) => {
      const { containerId } = params;
      const abort = (): void => {
        this.#forget(waiter);
        reject(signal.reason as Error);
      };
      const settled = (): void => signal.removeEventListener('abort', abort);
      const waiter: Waiter = {
        params,
        resolve: (connection) => {
          settled();
          resolve(connection);
          if (signal.aborted) close(connection);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#waiters.set(containerId, (this.#waiters.get(containerId) ?? new Set()).add(waiter));
      if (signal.aborted) abort();
      else void this.#connectIfLive(waiter);
    });
  }

  async #connectIfLive(waiter: Waiter): Promise<void> {
    const { containerId } = waiter.params;
    const known = this.#containers.find(containerId);
    if (known === undefined || known.exit !== undefined) return;
    const state = await this.#containers.state(containerId).catch(() => undefined);
    if (state === undefined || state.status === 'stopped') return;
    if (this.#forget(waiter)) await this.#connectWaiter(waiter);
  }

  async #connectWaiter(waiter: Waiter): Promise<void> {
    const { params } = waiter;
    const record = this.#containers.find(params.containerId);
    try {
      if (record === undefined) throw noSuch(params.containerId);
      const runDir = this.#containers.runDirectory(record.id);
      const { socket: output, logEnd } = await attachOutput(runDir, params.logs);
      try {
        const input = params.stdin && record.openStdin === true ? await attachInput(runDir) : undefined;
        waiter.resolve({ record, output, logEnd, input });
      } catch (error) {
        output.destroy();
        throw error;
      }
    } catch (error) {
      waiter.reject(connectError(error, params.containerId));
    }
  }

  /** False when somebody else has taken it. */
  #forget(waiter: Waiter): boolean {
    const { containerId } = waiter.params;
    const waiters = this.#waiters.get(containerId);
    const found = waiters?.delete(waiter) ?? false;
    if (waiters?.size === 0) this.#waiters.delete(containerId);
    return found;
  }

  #take(containerId: string): Waiter[] {
    const waiters = [...(this.#waiters.get(containerId) ?? [])];
    this.#waiters.delete(containerId);
    return waiters;
  }

  async #resize(containerId: string, rows: number, columns: number): Promise<Record<string, never>> {
    const record = this.#containers.find(containerId);
    if (record === undefined) throw noSuch(containerId);
    try {
      await resizeContainer(this.#containers.runDirectory(containerId), rows, columns);
      return {};
    } catch (error) {
      throw connectError(error, containerId);
    }
  }
}

function close(connection: Connection | undefined): void {
  connection?.output.destroy();
  connection?.input?.destroy();
}

/**
 * Docker's rule (moby container/stream/attach.go): the end of a client's input closes the container's, if it is one that
 * ends with its first client and no terminal; else the client leaves.
 */
async function feedInput(
  { record, input: stdin }: Connection,
  input: AsyncIterable<Buffer>,
  detached: AbortController,
  signal: AbortSignal,
): Promise<void> {
  if (stdin === undefined) {
    for await (const _ of input) signal.throwIfAborted();
    return;
  }
  const once = record.stdinOnce === true && record.tty !== true;
  await feed(stdin, input, !once, signal);
  if (!once) stdin.end(() => detached.abort());
}

async function* chunksOf(
  output: Socket,
  tty: boolean,
  wanted: Pick<AttachParams, 'stdout' | 'stderr'>,
): AsyncGenerator<StreamChunk> {
  const frames = new AttachFrames();
  for await (const data of untilClosed(output)) {
    const chunks = tty ? [{ stream: 1 as const, data }] : frames.push(data);
    for (const chunk of chunks) if (chunk.stream === 2 ? wanted.stderr : wanted.stdout) yield chunk;
  }
}

/** However the connection ends, it is only an end. */
async function* untilClosed(socket: Socket): AsyncGenerator<Buffer> {
  try {
    for await (const data of socket) yield data as Buffer;
  } catch (error) {
    if (!socket.destroyed) throw error;
  }
}

function connectError(error: unknown, containerId: string): unknown {
  if (!(error instanceof NativeError)) return error;
  if (error.code === 'ESRCH') return new ConflictError(`Container ${containerId} is not running`);
  if (error.code === 'ENOTTY' || error.code === 'EUSERS') return new ConflictError(error.detail);
  return error;
}

function noSuch(containerId: string): NotFoundError {
  return new NotFoundError(`No such container: ${containerId}`);
}
