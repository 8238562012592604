/**
 * Who did what, as lines of JSON in files of this manager: appended, never changed, the oldest given up when there are enough. What
 * can not be written is counted and said in the log: requests do not wait for it, nor fail by it.
 */
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { describeError } from '../../shared/errors/index.ts';
import type { Logger } from '../../shared/model/options.ts';

export interface AuditEntry {
  /** ISO 8601, UTC. */
  readonly time: string;
  /** Undefined: whoever may use the unix socket, or nobody. */
  readonly user?: string | undefined;
  readonly by: 'socket' | 'certificate' | 'token' | 'nobody';
  /** Which certificate or token. */
  readonly credential?: string | undefined;
  /** Address of the client; undefined for the socket. */
  readonly from?: string | undefined;
  readonly method: string;
  /** Without the query, which may hold whole bodies. */
  readonly path: string;
  /** `begun`: it goes on, and has another line at its end. */
  readonly outcome: 'begun' | 'done' | 'refused' | 'failed';
  readonly status?: number | undefined;
  /** What was written: `update service shop_web`. */
  readonly changes?: readonly string[] | undefined;
  readonly requestId?: string | undefined;
  readonly elapsedMs?: number | undefined;
  /** Why it was refused before anybody looked at it. */
  readonly why?: string | undefined;
}

export interface AuditQuery {
  readonly sinceMs?: number | undefined;
  readonly user?: string | undefined;
  /** The newest of them. */
  readonly limit: number;
}

export interface AuditLogOptions {
  readonly directory: string;
  readonly logger: Logger;
  /** Default: 16 MiB. */
  readonly fileBytes?: number;
  /** Default: 10. */
  readonly files?: number;
}

const NAME = 'audit.log';
const QUEUE = 10_000;

export class AuditLog {
  readonly #options: Required<AuditLogOptions>;
  #queue: string[] = [];
  #lost = 0;
  #writing: Promise<void> = Promise.resolve();
  #busy = false;
  #fresh = true;

  constructor(options: AuditLogOptions) {
    this.#options = { fileBytes: 16 * 1024 * 1024, files: 10, ...options };
  }

  append(entry: AuditEntry): void {
    if (this.#queue.length >= QUEUE) this.#lost += 1;
    else this.#queue.push(`${JSON.stringify(entry)}\n`);
    if (this.#busy) return;
    this.#busy = true;
    this.#writing = this.#drain();
  }

  /** Resolves when all that was appended is written, or given up. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  /** Of this manager, oldest first. Lines that are none, after a crash, are left out. */
  async read({ sinceMs = 0, user, limit }: AuditQuery): Promise<AuditEntry[]> {
    await this.flush();
    const found: AuditEntry[] = [];
    for (const file of (await this.#files()).reverse()) {
      const changed = await stat(file).catch(() => undefined);
      if (changed === undefined || changed.mtimeMs < sinceMs) continue;
      for await (const line of createInterface({ input: createReadStream(file) })) {
        const entry = parse(line);
        if (entry === undefined || Date.parse(entry.time) < sinceMs) continue;
        if (user !== undefined && entry.user !== user) continue;
        found.push(entry);
        if (found.length > limit) found.shift();
      }
    }
    return found;
  }

  async #drain(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        const lines = this.#queue;
        this.#queue = [];
        await this.#write(lines);
      }
    } finally {
      this.#busy = false;
    }
  }

  async #write(lines: readonly string[]): Promise<void> {
    const { directory, fileBytes, logger } = this.#options;
    const current = path.join(directory, NAME);
    let file: FileHandle | undefined;
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const size = await stat(current).then(
        (found) => found.size,
        () => 0,
      );
      if (size >= fileBytes) await this.#rotate();
      file = await open(current, 'a', 0o600);
      // Of a line that a crash has cut off, the rest is a line of its own.
      await file.appendFile((this.#fresh && size > 0 ? '\n' : '') + lines.join(''));
      this.#fresh = false;
      if (this.#lost > 0) logger.error({ lost: this.#lost }, 'lines of the audit log were lost');
      this.#lost = 0;
    } catch (error) {
      this.#lost += lines.length;
      logger.error(
        { directory, lost: this.#lost, reason: describeError(error) },
        'the audit log can not be written',
      );
    } finally {
      await file?.close();
    }
  }

  /** audit.log, audit.log.1, ...: newest first. */
  async #files(): Promise<string[]> {
    const { directory } = this.#options;
    const names = await readdir(directory).catch((): string[] => []);
    const numbers = names.flatMap((name) => {
      const match = /^audit\.log(?:\.(\d+))?$/.exec(name);
      return match === null ? [] : [Number(match[1] ?? 0)];
    });
    return numbers.sort((a, b) => a - b).map((number) => this.#nameOf(number));
  }

  #nameOf(number: number): string {
    return path.join(this.#options.directory, number === 0 ? NAME : `${NAME}.${number}`);
  }

  async #rotate(): Promise<void> {
    const files = await this.#files();
    for (const [i, file] of [...files.entries()].reverse()) {
      if (i + 1 >= this.#options.files) await rm(file, { force: true });
      else await rename(file, this.#nameOf(i + 1));
    }
  }
}

function parse(line: string): AuditEntry | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && 'time' in value ? (value as AuditEntry) : undefined;
  } catch {
    return undefined;
  }
}
