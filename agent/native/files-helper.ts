/** The process that works on the files of containers and volumes: shoal-files, native/src/files/. One for each piece of work. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { FileHandle } from 'node:fs/promises';
import type { Duplex, Readable, Writable } from 'node:stream';
import { join } from 'node:path';
import { ForbiddenError, InvalidError, NotFoundError } from '../../shared/errors/index.ts';
import { nativeDir } from './library.ts';
import { NativeError } from './errors.ts';

/** What is mounted for a container that does not run. */
export interface FilesMount {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** With what is mounted below it. */
  readonly recursive: boolean;
  /** A path in the source that stands for it. */
  readonly subpath?: string;
}

/** The root of a container that does not run. */
export interface FilesRoot {
  /** Topmost first. */
  readonly lower: readonly string[];
  readonly upper: string;
  readonly work: string;
  /** A directory to mount over, where nobody but the process sees it. */
  readonly place: string;
  readonly readOnly: boolean;
  readonly mounts: readonly FilesMount[];
}

/** Without a root, the mount namespace says which container it is. */
export type FilesRequest =
  | { readonly mode: 'stat' | 'get'; readonly path: string; readonly root?: FilesRoot }
  | {
      readonly mode: 'put';
      readonly path: string;
      readonly root?: FilesRoot;
      readonly writable: true;
      readonly keepKinds: boolean;
      readonly owner?: { readonly uid: number; readonly gid: number };
    }
  | { readonly mode: 'export'; readonly root?: FilesRoot }
  | { readonly mode: 'changes'; readonly root: FilesRoot }
  | { readonly mode: 'size'; readonly paths: readonly string[] }
  | {
      readonly mode: 'mount';
      readonly source: string;
      readonly target: string;
      readonly type: string;
      /** MS_*, mount(2). */
      readonly flags: number;
      readonly data: string;
    }
  | { readonly mode: 'umount'; readonly target: string };

/** A path as lstat(2) has it. */
export interface FilesStat {
  readonly sizeBytes: number;
  /** st_mode. */
  readonly mode: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanos: number;
  /** Where a link ends, as the container names it. */
  readonly linkTarget: string;
}

type Reply =
  | { readonly stat: FilesStat }
  | { readonly size: number }
  | { readonly done: true }
  | {
      readonly error: {
        readonly kind: 'not-found' | 'invalid' | 'read-only' | 'failed';
        readonly code: number;
        readonly message: string;
      };
    };

/** How much it may say: a line for each directory whose size is asked, an error of a kilobyte. */
const REPLIES_MAX = 1 << 20;

export class FilesHelper {
  /** To be closed or written to its end when the work has input. */
  readonly input: Writable;
  /** The archive, or the list of changes. To be read to its end, else the process waits. */
  readonly output: Readable;
  readonly #talk: Duplex;
  readonly #replies: AsyncGenerator<Reply>;
  readonly #exited: Promise<unknown>;
  readonly #kill: () => void;

  /** The signal's abort kills it. `namespace`: the mount namespace of a container that runs. */
  constructor(request: FilesRequest, namespace: FileHandle | undefined, signal: AbortSignal) {
    signal.throwIfAborted();
    const child = spawn(join(nativeDir, 'shoal-files'), [], {
      stdio: ['pipe', 'pipe', 'ignore', 'pipe', ...(namespace === undefined ? [] : [namespace.fd])],
      env: {},
      cwd: '/',
    });
    this.#kill = () => child.kill('SIGKILL');
    signal.addEventListener('abort', this.#kill, { once: true });
    this.#exited = once(child, 'exit').finally(() => signal.removeEventListener('abort', this.#kill));
    // What could not be spawned is told where the replies are awaited.
    this.#exited.catch(() => undefined);
    [this.input, this.output, , this.#talk] = child.stdio as unknown as [Writable, Readable, null, Duplex];
    for (const stream of [this.input, this.output, this.#talk]) stream.on('error', () => undefined);
    // Node drops what nobody reads yet when a process exits; not where somebody listens so.
    for (const stream of [this.output, this.#talk]) stream.on('readable', () => undefined);
    this.#replies = repliesOf(this.#talk);
    this.#talk.write(`${JSON.stringify(request)}\n`);
  }

  /** What it found of the path. Rejects as `done` does. */
  async stat(): Promise<FilesStat> {
    const reply = await this.#next();
    if ('stat' in reply) return reply.stat;
    throw unexpected(reply);
  }

  /** The sizes as they come, until all are there. */
  async *sizes(): AsyncGenerator<number> {
    for (;;) {
      const reply = await this.#next();
      if (!('size' in reply)) return;
      yield reply.size;
    }
  }

  /**
   * Resolves once it has done its work. Rejects with NotFoundError, InvalidError, ForbiddenError (read-only), or NativeError
   * for everything else.
   */
  async done(): Promise<void> {
    const reply = await this.#next();
    if (!('done' in reply)) throw unexpected(reply);
    await this.#exited;
  }

  /** Ends it, if it has not ended. */
  async close(): Promise<void> {
    this.#kill();
    this.input.destroy();
    this.output.destroy();
    this.#talk.destroy();
    await this.#exited.catch(() => undefined);
  }

  async #next(): Promise<Reply> {
    const { value, done } = await this.#replies.next();
    if (done !== true) {
      if ('error' in value) throw failureOf(value.error);
      return value;
    }
    await this.#exited;
    throw new NativeError(71, 'files', 'ended without an answer');
  }
}

function unexpected(reply: Reply): NativeError {
  return new NativeError(71, 'files', `unexpected answer: ${JSON.stringify(reply)}`);
}

function failureOf({ kind, code, message }: Extract<Reply, { error: unknown }>['error']): Error {
  switch (kind) {
    case 'not-found':
      return new NotFoundError(message);
    case 'invalid':
      return new InvalidError(message);
    case 'read-only':
      return new ForbiddenError(message);
    default:
      return new NativeError(code, 'files', message);
  }
}

async function* repliesOf(talk: Duplex): AsyncGenerator<Reply> {
  let text = '';
  let size = 0;
  for await (const chunk of talk) {
    size += (chunk as Buffer).length;
    if (size > REPLIES_MAX) throw new NativeError(71, 'files', 'said too much');
    text += String(chunk);
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      yield JSON.parse(text.slice(0, end)) as Reply;
      text = text.slice(end + 1);
    }
  }
}

/** Runs one that has neither input nor output. Rejects as `FilesHelper.done` does. */
export async function runFiles(
  request: Extract<FilesRequest, { mode: 'mount' | 'umount' }>,
  signal: AbortSignal,
): Promise<void> {
  const helper = new FilesHelper(request, undefined, signal);
  helper.input.end();
  try {
    await helper.done();
  } finally {
    await helper.close();
  }
}

/**
 * Bytes of the files below each directory; -1 for one that is not there, and for those that were not counted before the
 * signal aborted.
 */
export async function sizesOf(paths: readonly string[], signal: AbortSignal): Promise<number[]> {
  const sizes: number[] = [];
  if (paths.length === 0 || signal.aborted) return paths.map(() => -1);
  const helper = new FilesHelper({ mode: 'size', paths }, undefined, signal);
  helper.input.end();
  try {
    for await (const size of helper.sizes()) sizes.push(size);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await helper.close();
  }
  return paths.map((_, i) => sizes[i] ?? -1);
}
