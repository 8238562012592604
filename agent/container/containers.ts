/** The containers of this node: made, found again after a restart, stopped, removed. One directory each on disk. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, UnavailableError } from '../../shared/errors/index.ts';
import { delay, isAbort, untilAborted } from '../../shared/lib/abort.ts';
import { DEFAULT_POOL, freeRange, type IdRange } from '../../shared/lib/id-ranges.ts';
import { IdleWork } from '../../shared/lib/idle-work.ts';
import { KeyedMutex } from '../../shared/lib/mutex.ts';
import type { Logger } from '../../shared/model/options.ts';
import { isFrozen, setFrozen } from '../native/cgroup-files.ts';
import {
  createContainer,
  deleteContainer,
  execInContainer,
  killContainer,
  MonitorLostError,
  NativeError,
  readState,
  readStateFile,
  startContainer,
  waitContainer,
  type ContainerState,
  type MadeContainer,
} from '../native/container.ts';
import { writeBatch } from '../native/file-batch.ts';
import { makeReadyMonitor, withStartWord } from '../native/start-word.ts';
import { removeTmpfs } from '../native/tmpfs.ts';
import { filesOf, isNothingBetween, isOfFiles } from './new-files.ts';
import type { Belongings, NewContainer, Watcher } from './new-container.ts';
import { memoryPath, withPeers } from './peers.ts';
import { readRecord, writeRecord, type ContainerExit, type ContainerRecord } from './record.ts';
import { exitOf, lostExit } from './exit.ts';
import { mountMemory } from '../files/memory-directory.ts';
import { withUserRange } from './user-ranges.ts';
import { forgetDiskLimit, limitLayer, writableLayer } from './writable-layer.ts';

const SIGKILL = 9;
const PAUSED_POLL_MS = 250;

export class Containers {
  readonly #stateDir: string;
  readonly #runDir: string;
  readonly #logger: Logger;
  readonly #belongings: Belongings | undefined;
  readonly #records = new Map<string, ContainerRecord>();
  readonly #exclusive = new KeyedMutex();
  readonly #endings = new Map<string, Promise<void>>();
  readonly #removing = new Set<string>();
  readonly #chosen = new Map<string, IdRange>();
  readonly #pool: IdRange;
  readonly #removals = new Map<string, (() => void)[]>();
  readonly #watchers: Watcher[] = [];
  /** Monitors for the next ones; none where nothing was started. */
  readonly #monitors = new IdleWork(async () => (await makeReadyMonitor()) > 0);

  /**
   * `stateDir` and `runDir` are the agent's; containers live in `containers/` and `c/` below them. `pool`: the ids of
   * those that have a user namespace of their own.
   */
  constructor(
    stateDir: string,
    runDir: string,
    logger: Logger,
    belongings?: Belongings,
    pool: IdRange = DEFAULT_POOL,
  ) {
    this.#pool = pool;
    this.#stateDir = join(stateDir, 'containers');
    this.#runDir = join(runDir, 'c');
    this.#logger = logger;
    this.#belongings = belongings;
  }

  /** It hears of all containers. */
  watch(watcher: Watcher): void {
    this.#watchers.push(watcher);
  }

  find(id: string): ContainerRecord | undefined {
    return this.#records.get(id);
  }

  /** Where a container's files are: log, upper and work directories, hosts, resolv.conf. */
  directory(id: string): string {
    return join(this.#stateDir, id);
  }

  /** Short, because a unix socket's path is: twelve digits are what people see of an id. */
  runDirectory(id: string): string {
    return join(this.#runDir, id.slice(0, 12));
  }

  /** What it has written over its image. */
  upperDirectory(id: string): string {
    return join(this.directory(id), 'upper');
  }

  /** Of its log's files, without the number: see log-files.ts. */
  logPath(id: string): string {
    return join(this.directory(id), 'log');
  }

  list(): readonly ContainerRecord[] {
    return [...this.#records.values()];
  }

  ofTask(taskId: string): ContainerRecord | undefined {
    for (const record of this.#records.values()) if (record.taskId === taskId) return record;
    return undefined;
  }

  /** Finds what an earlier agent left: records are taken up, directories without one are swept. */
  async load(): Promise<void> {
    await mkdir(this.#stateDir, { recursive: true, mode: 0o700 });
    await mkdir(this.#runDir, { recursive: true, mode: 0o700 });
    for (const id of await readdir(this.#stateDir)) {
      const record = await readRecord(this.directory(id));
      if (record === undefined) await this.#sweep(id);
      else this.#records.set(id, record);
    }
    const living = this.list().filter((record) => record.exit === undefined);
    await this.#belongings?.sweep(living.map((record) => record.id));
  }

  /** Writes what is known of a container, without making or touching anything of it in the kernel. */
  async note(record: ContainerRecord, files?: NewContainer['files']): Promise<void> {
    await writeBatch(filesOf({ record, files }, this.directory(record.id)));
    this.#records.set(record.id, record);
  }

  /** While the work goes on, the container is not made for another run: nothing else writes to its layer. */
  exclusive<T>(id: string, work: () => Promise<T>): Promise<T> {
    return this.#exclusive.run(id, work);
  }

  /**
   * Makes the container up to the point where its process waits to be started; if `wired` has resolved by then and nobody
   * waits for that point, its command runs at once.
   */
  async create(container: NewContainer, wired?: Promise<unknown>): Promise<MadeContainer> {
    const { id } = container.record;
    this.#monitors.begin();
    try {
      const made = await this.exclusive(id, () => this.#create(container, wired));
      if (made.startedAtMs !== undefined) await this.#starting(id);
      return made;
    } finally {
      this.#monitors.end();
    }
  }

  /** Its ids are taken from when they are chosen until its end is recorded. */
  async #create(container: NewContainer, wired?: Promise<unknown>): Promise<MadeContainer> {
    if (container.remapped !== true) return this.#make(container, wired);
    const { id } = container.record;
    const userRange = freeRange(this.#pool, this.#takenRanges());
    if (userRange === undefined) throw new UnavailableError('all ids for user namespaces are in use');
    this.#chosen.set(id, userRange);
    try {
      const record = { ...container.record, userRange };
      return await this.#make(
        { ...container, record, config: withUserRange(container.config, userRange) },
        wired,
      );
    } finally {
      this.#chosen.delete(id);
    }
  }

  #takenRanges(): IdRange[] {
    const living = this.list().filter(({ exit }) => exit === undefined);
    return [...this.#chosen.values(), ...living.flatMap(({ userRange }) => userRange ?? [])];
  }

  async #make(container: NewContainer, wired?: Promise<unknown>): Promise<MadeContainer> {
    const { record } = container;
    const { kept, maxBytes, maxFiles } = container.log;
    const directory = this.directory(record.id);
    const runDir = this.runDirectory(record.id);
    const layer = writableLayer(directory);
    const batch = filesOf(container, directory, runDir);
    const atOnce = isNothingBetween(container);
    if (!atOnce) await writeBatch(batch);
    const before = this.#records.get(record.id);
    this.#records.set(record.id, record);
    await limitLayer(layer, record);
    if (container.sharedBytes !== undefined) await mountMemory(memoryPath(directory), container.sharedBytes);
    const mayStart = () => !this.#watchers.some((watcher) => watcher.awaits(record.id));
    return withPeers(this, container.sharing ?? {}, container.config, (config) =>
      withStartWord(wired, mayStart, (startWord) =>
        createContainer({
          id: record.id,
          runDir,
          config,
          rootfs: { lower: [...container.layers], ...layer },
          ...(kept ? { log: { path: this.logPath(record.id), maxBytes, maxFiles } } : {}),
          stdin: record.openStdin ?? false,
          stdinOnce: record.stdinOnce ?? false,
          ...(atOnce ? { batch } : {}),
          ...(startWord === undefined ? {} : { startWord }),
        }),
      ).catch((error: unknown) => {
        // There is no record of it then.
        if (isOfFiles(error)) this.#putBack(record.id, before);
        throw error;
      }),
    );
  }

  #putBack(id: string, record: ContainerRecord | undefined): void {
    if (record === undefined) this.#records.delete(id);
    else this.#records.set(id, record);
  }

  async #starting(id: string): Promise<void> {
    for (const watcher of this.#watchers) if (watcher.awaits(id)) await watcher.starting(id);
  }

  async start(id: string): Promise<void> {
    await this.#starting(id);
    await startContainer(this.runDirectory(id));
  }

  /** What the monitor says now. Throws MonitorLostError when there is none and no exit was recorded. */
  state(id: string): Promise<ContainerState> {
    return readState(this.runDirectory(id));
  }

  /** What its monitor wrote last: that of one that has just started tells of its start. */
  recorded(id: string): Promise<ContainerState> {
    return readStateFile(this.runDirectory(id));
  }

  /** Resolves when the container has ended, for whatever reason; a lost monitor is an exit with an error. */
  async wait(id: string, signal: AbortSignal): Promise<ContainerExit> {
    const record = this.#records.get(id);
    if (record?.exit !== undefined) return record.exit;
    try {
      const state = await waitContainer(this.runDirectory(id), signal);
      return await this.#ended(id, record?.taskId, exitOf(state));
    } catch (error) {
      if (isAbort(error)) throw error;
      return this.#ended(id, record?.taskId, lostExit(error));
    }
  }

  /** Signal, grace period, SIGKILL; resolves with the exit. A paused container goes on, so that it can end. */
  stop(
    record: Pick<ContainerRecord, 'id' | 'stopSignal' | 'stopGraceMs'>,
    signal: AbortSignal,
  ): Promise<ContainerExit> {
    return this.end(record, this.wait(record.id, signal), signal);
  }

  /** The same, for who hears of the end otherwise. */
  async end<T>(
    { id, stopSignal, stopGraceMs }: Pick<ContainerRecord, 'id' | 'stopSignal' | 'stopGraceMs'>,
    ended: Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    await this.signal(id, stopSignal);
    if (await this.paused(id)) await this.unpause(id, signal);
    const grace = new AbortController();
    const first = await Promise.race([
      ended.then((end) => ({ end })),
      delay(stopGraceMs, AbortSignal.any([signal, grace.signal])).then(() => undefined),
    ]).finally(() => grace.abort());
    if (first !== undefined) return first.end;
    await this.signal(id, SIGKILL);
    return ended;
  }

  /** A container that is gone already needs no signal. */
  async signal(id: string, number: number): Promise<void> {
    try {
      await killContainer(this.runDirectory(id), number);
    } catch (error) {
      if (error instanceof MonitorLostError) return;
      if (error instanceof NativeError && ['ESRCH', 'ENOENT', 'ECONNREFUSED'].includes(error.code)) return;
      throw error;
    }
  }

  /** Stops its processes where they are, until unpause. The kernel keeps the state, so it outlives the agent. */
  pause(id: string, signal: AbortSignal): Promise<void> {
    return setFrozen(this.runDirectory(id), true, signal);
  }

  unpause(id: string, signal: AbortSignal): Promise<void> {
    return setFrozen(this.runDirectory(id), false, signal);
  }

  paused(id: string): Promise<boolean> {
    return isFrozen(this.runDirectory(id));
  }

  /** For what must not run in a paused container, as a health check would look like a failed one. */
  async untilUnpaused(id: string): Promise<void> {
    const signal = new AbortController().signal;
    while (await this.paused(id)) await delay(PAUSED_POLL_MS, signal);
  }

  exec: typeof execInContainer = (runDir, process, options) => execInContainer(runDir, process, options);

  /**
   * Records the end durably, then frees what the kernel still holds for the container. Several may hear of the end; all
   * resolve when everything is done, so that none starts it anew before.
   */
  async #ended(id: string, taskId: string | undefined, exit: ContainerExit): Promise<ContainerExit> {
    const record = this.#records.get(id);
    // Who was slow to hear of it may find the container's next run.
    if (record === undefined || record.taskId !== taskId) return exit;
    if (record.exit !== undefined) return record.exit;
    const ending = this.#endings.get(id) ?? this.#finish({ ...record, exit });
    this.#endings.set(id, ending);
    try {
      await ending;
    } finally {
      this.#endings.delete(id);
    }
    return this.#records.get(id)?.exit ?? exit;
  }

  async #finish(ended: ContainerRecord): Promise<void> {
    const { id } = ended;
    try {
      await this.#belongings?.remove(id);
      await writeRecord(this.directory(id), ended);
      await this.#unmountMemory(id);
      await deleteContainer(this.runDirectory(id));
    } finally {
      if (this.#records.has(id)) this.#records.set(id, ended);
      for (const watcher of this.#watchers) watcher.ended?.(id);
    }
  }

  /** Notes that the container never ran: `error` says why. */
  async failed(id: string, exitCode: number, error: string): Promise<ContainerExit> {
    const exit = { exitCode, error, oomKilled: false, finishedAtMs: Date.now(), neverRan: true } as const;
    return this.#ended(id, this.#records.get(id)?.taskId, exit);
  }

  /** What the kernel and the run directory still hold of it; its files stay. Idempotent. */
  async release(id: string): Promise<void> {
    await deleteContainer(this.runDirectory(id));
    await this.#belongings?.remove(id);
    await this.#unmountMemory(id);
    await rm(this.runDirectory(id), { recursive: true, force: true });
  }

  /** Containers that share it keep what they have. */
  async #unmountMemory(id: string): Promise<void> {
    if (this.#records.get(id)?.sharesMemory === true) await removeTmpfs(memoryPath(this.directory(id)));
  }

  /** Everything of it: processes, cgroup, files; then `rest`, which belongs to it, too. Idempotent. */
  async remove(id: string, rest?: () => Promise<void>): Promise<void> {
    this.#removing.add(id);
    try {
      await this.release(id);
      for (const watcher of this.#watchers) await watcher.leaving?.(id);
      await forgetDiskLimit(this.directory(id), this.#records.get(id));
      await rm(this.directory(id), { recursive: true, force: true });
      this.#records.delete(id);
      for (const watcher of this.#watchers) watcher.removed(id);
      await rest?.();
    } finally {
      this.#removing.delete(id);
    }
    for (const resolve of this.#removals.get(id) ?? []) resolve();
    this.#removals.delete(id);
  }

  /** Resolves when there is nothing of it, now or later. */
  async untilRemoved(id: string, signal: AbortSignal): Promise<void> {
    if (!this.#records.has(id) && !this.#removing.has(id)) return;
    const removed = new Promise<void>((resolve) => {
      this.#removals.set(id, [...(this.#removals.get(id) ?? []), resolve]);
    });
    await Promise.race([removed, untilAborted(signal)]);
  }

  async #sweep(id: string): Promise<void> {
    this.#logger.warn({ containerId: id }, 'removing an unfinished container directory');
    await this.remove(id).catch((error: unknown) =>
      this.#logger.error({ containerId: id, reason: describeError(error) }, 'could not remove it'),
    );
  }
}
