/**
 * Sends containers' output on to syslog daemons and to the journal. The monitor knows nothing of it: the log's files are
 * followed, and how far they have been sent is kept beside them, so that an agent that restarts goes on from there.
 */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describeError } from '../../shared/errors/index.ts';
import { delay, isAbort } from '../../shared/lib/abort.ts';
import { backoffMs } from '../../shared/lib/backoff.ts';
import type { Logger } from '../../shared/model/options.ts';
import { replaceFile } from '../files/replace-file.ts';
import type { Watcher } from './new-container.ts';
import type { LogPlace } from './log-files.ts';
import { parseLogLine } from './log-line.ts';
import { journalEntry, type LogTarget, syslogMessage } from './log-message.ts';
import { followLog } from './log-reader.ts';
import { type LogSink, LocalSink, syslogSink } from './log-sink.ts';
import type { ContainerRecord } from './record.ts';

const JOURNAL = '/run/systemd/journal/socket';
const PLACE_FILE = 'forwarded.json';
/** How often the place is kept: so much is sent again after an agent that was killed. */
const KEEP_MS = 250;
const RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;
/** So long the removal of a container waits for the end of its output to be sent. */
const DRAIN_MS = 3_000;

/** What there is to know of containers. */
export interface Logged {
  find(id: string): ContainerRecord | undefined;
  list(): readonly ContainerRecord[];
  directory(id: string): string;
  logPath(id: string): string;
}

interface Following {
  /** Of all runs of the container. */
  readonly stop: AbortController;
  /** Aborted when nothing more comes of this run. */
  readonly ended: AbortController;
  readonly done: Promise<void>;
}

export class LogForwarding implements Watcher {
  readonly #containers: Logged;
  readonly #logger: Logger;
  readonly #journal: string;
  readonly #following = new Map<string, Following>();

  /** `journal`: the path of systemd's socket. */
  constructor(containers: Logged, logger: Logger, journal: string = JOURNAL) {
    this.#containers = containers;
    this.#logger = logger;
    this.#journal = journal;
  }

  /** Goes on with what an earlier agent left. */
  resume(): void {
    for (const { id, exit } of this.#containers.list()) {
      this.#follow(id);
      if (exit !== undefined) this.ended(id);
    }
  }

  async starting(id: string): Promise<void> {
    this.#follow(id);
  }

  awaits(id: string): boolean {
    return this.#containers.find(id)?.forward !== undefined;
  }

  ended(id: string): void {
    this.#following.get(id)?.ended.abort();
  }

  /** It is about to be removed: what it has said is sent, within bounds. */
  async leaving(id: string): Promise<void> {
    const following = this.#following.get(id);
    if (following === undefined) return;
    following.ended.abort();
    const timer = setTimeout(() => following.stop.abort(), DRAIN_MS);
    await following.done;
    clearTimeout(timer);
  }

  removed(id: string): void {
    this.#following.get(id)?.stop.abort();
    this.#following.delete(id);
  }

  /** Resolves when the places of all are kept. */
  async close(): Promise<void> {
    const all = [...this.#following.values()];
    for (const { stop } of all) stop.abort();
    await Promise.all(all.map(({ done }) => done));
  }

  /** A further run of a container begins when the one before has been sent. */
  #follow(id: string): void {
    const target = this.#containers.find(id)?.forward;
    if (target === undefined) return;
    const before = this.#following.get(id);
    before?.ended.abort();
    const stop = before?.stop ?? new AbortController();
    const ended = new AbortController();
    const done = (before?.done ?? Promise.resolve())
      .then(() => this.#send(id, target, ended.signal, stop.signal))
      .catch((error: unknown) => {
        if (isAbort(error)) return;
        this.#logger.error({ containerId: id, reason: describeError(error) }, 'a log is not sent any more');
      });
    this.#following.set(id, { stop, ended, done });
  }

  async #send(id: string, target: LogTarget, ended: AbortSignal, signal: AbortSignal): Promise<void> {
    const directory = this.#containers.directory(id);
    const sink = target.kind === 'journald' ? new LocalSink(this.#journal) : syslogSink(target.address);
    let sent = await readPlace(directory);
    let kept = { place: sent, atMs: 0 };
    const keep = async (): Promise<void> => {
      if (sent === undefined || sent === kept.place) return;
      kept = { place: sent, atMs: performance.now() };
      await replaceFile(join(directory, PLACE_FILE), JSON.stringify(sent));
    };
    try {
      for await (const { lines, place } of followLog(this.#containers.logPath(id), sent, ended, signal)) {
        const messages = messagesOf(target, lines);
        await this.#deliver(id, sink, messages, signal);
        sent = place;
        if (performance.now() - kept.atMs >= KEEP_MS) await keep();
      }
    } finally {
      sink.close();
      await keep();
    }
  }

  /** Until all have gone: who takes nothing holds up its container's log, and nobody else. */
  async #deliver(id: string, sink: LogSink, messages: readonly Buffer[], signal: AbortSignal): Promise<void> {
    let left = messages;
    for (let attempt = 0; left.length > 0; attempt += 1) {
      const { done, error } = await sink.send(left, signal);
      signal.throwIfAborted();
      left = left.slice(done);
      if (error === undefined) {
        if (attempt > 0) this.#logger.info({ containerId: id }, 'the log is sent again');
        return;
      }
      const details = { containerId: id, reason: describeError(error) };
      if (attempt === 0) this.#logger.warn(details, 'the log could not be sent: it is tried again');
      await delay(backoffMs(attempt, RETRY_MS, MAX_RETRY_MS, Math.random()), signal);
    }
  }
}

function messagesOf(target: LogTarget, lines: readonly Buffer[]): Buffer[] {
  const from = { hostname: hostname(), pid: process.pid };
  return lines.flatMap((raw) => {
    const line = parseLogLine(raw);
    if (line === undefined) return [];
    return [target.kind === 'journald' ? journalEntry(target, line) : syslogMessage(target, line, from)];
  });
}

/** Undefined: nothing has been sent. */
async function readPlace(directory: string): Promise<LogPlace | undefined> {
  try {
    return JSON.parse(await readFile(join(directory, PLACE_FILE), 'utf8')) as LogPlace;
  } catch {
    return undefined;
  }
}
