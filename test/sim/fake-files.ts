/** The disk in memory: the few calls of node:fs/promises that the simulated processes make, and a disk that is full. */
import type fsPromises from 'node:fs/promises';

const PREFIX = '/sim/';

/** Paths begin with /sim/MACHINE/. */
export interface FileSystem {
  readonly contents: Map<string, string>;
  /** Machines whose disk takes no more. */
  readonly full: Set<string>;
}

export function newFileSystem(): FileSystem {
  return { contents: new Map(), full: new Set() };
}

type Real = Pick<typeof fsPromises, 'readFile' | 'open' | 'rename'>;

/** Paths elsewhere are left to the `real` calls: those of who runs the simulation. */
export function fakeFiles(files: FileSystem, real: Real): Record<string, unknown> {
  return {
    readFile: async (path: string, ...rest: never[]): Promise<unknown> => {
      if (!isOurs(path)) return real.readFile(path, ...rest);
      const content = files.contents.get(path);
      if (content === undefined) throw failure('ENOENT', 'no such file or directory', path);
      return content;
    },
    open: async (path: string, ...rest: never[]): Promise<unknown> =>
      isOurs(path) ? new OpenFile(files, path) : real.open(path, ...rest),
    rename: async (from: string, to: string): Promise<void> => {
      if (!isOurs(from)) return real.rename(from, to);
      const content = files.contents.get(from);
      if (content === undefined) throw failure('ENOENT', 'no such file or directory', from);
      files.contents.delete(from);
      files.contents.set(to, content);
    },
  };
}

class OpenFile {
  readonly #files: FileSystem;
  readonly #path: string;

  constructor(files: FileSystem, path: string) {
    this.#files = files;
    this.#path = path;
  }

  async chmod(): Promise<void> {}
  async sync(): Promise<void> {}
  async close(): Promise<void> {}

  async writeFile(content: string): Promise<void> {
    const machine = this.#path.slice(PREFIX.length).split('/')[0] ?? '';
    // As much as there was room for: what reads such a file must not fall over it.
    const whole = !this.#files.full.has(machine);
    this.#files.contents.set(this.#path, whole ? content : content.slice(0, content.length / 2));
    if (!whole) throw failure('ENOSPC', 'no space left on device', this.#path);
  }
}

function isOurs(path: unknown): boolean {
  return typeof path === 'string' && path.startsWith(PREFIX);
}

function failure(code: string, text: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${text}, '${path}'`), { code });
}
