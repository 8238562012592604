/** Where the vendors of the node's devices describe them: read when a container wants one, and looked at for what changed. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError } from '../../shared/errors/index.ts';
import { tellChanges } from '../../shared/lib/tell-changes.ts';
import type { AgentOptions, Logger, NodeDevices } from '../../shared/model/index.ts';
import { nodeDevices, type ReadFile, type Registry, registryOf } from './registry.ts';
import { parseCdiFile } from './spec-file.ts';

/** The specification's; the later has precedence. */
const CDI_DIRECTORIES: readonly string[] = ['/etc/cdi', '/var/run/cdi'];

const LOOK_MS = 5_000;
const MAX_FILE_BYTES = 4 * 1024 * 1024;

interface Entry {
  readonly path: string;
  readonly priority: number;
  /** Another one when the file is another one, or written anew. */
  readonly version: string;
  readonly problem?: string;
}

export class CdiDirectories {
  readonly #directories: readonly string[];
  readonly #logger: Logger;
  #known: { readonly version: string; readonly registry: Registry } = {
    version: '[]',
    registry: registryOf([]),
  };

  private constructor(directories: readonly string[], logger: Logger) {
    this.#directories = directories;
    this.#logger = logger;
  }

  /** `tell` is called at once, and whenever other devices are described, until the signal aborts. */
  static async open(
    { cdiDirectories, logger }: Pick<AgentOptions, 'cdiDirectories' | 'logger'>,
    tell: (devices: NodeDevices | undefined) => void,
    signal: AbortSignal,
    everyMs = LOOK_MS,
  ): Promise<CdiDirectories> {
    const opened = new CdiDirectories(cdiDirectories ?? CDI_DIRECTORIES, logger.child({ part: 'cdi' }));
    await tellChanges(
      async () => nodeDevices(await opened.read()),
      tell,
      (error) =>
        opened.#logger.warn({ reason: describeError(error) }, 'CDI: the directories can not be read'),
      signal,
      everyMs,
    );
    return opened;
  }

  /** What the files say now. */
  async read(): Promise<Registry> {
    const entries = (await Promise.all(this.#directories.map(entriesOf))).flat();
    const version = JSON.stringify(entries);
    if (version !== this.#known.version) {
      const registry = registryOf(await Promise.all(entries.map(readEntry)));
      for (const { of, why } of registry.problems) this.#logger.warn({ of, why }, 'CDI: not usable');
      this.#known = { version, registry };
    }
    return this.#known.registry;
  }
}

/** Files of another kind, and directories, are nobody's. */
async function entriesOf(directory: string, priority: number): Promise<Entry[]> {
  const names = (await readdir(directory).catch(() => [])).filter((name) => /\.(json|yaml)$/.test(name));
  const entries = names.toSorted().map(async (name): Promise<Entry[]> => {
    const path = join(directory, name);
    try {
      const found = await stat(path);
      if (found.isDirectory()) return [];
      const version = `${found.ino} ${found.size} ${found.mtimeMs} ${found.ctimeMs}`;
      if (!found.isFile()) return [{ path, priority, version, problem: 'no file' }];
      if (found.size <= MAX_FILE_BYTES) return [{ path, priority, version }];
      return [{ path, priority, version, problem: `larger than ${MAX_FILE_BYTES} bytes` }];
    } catch (error) {
      return [{ path, priority, version: '', problem: describeError(error) }];
    }
  });
  return (await Promise.all(entries)).flat();
}

async function readEntry({ path, priority, problem }: Entry): Promise<ReadFile> {
  if (problem !== undefined) return { path, priority, content: { problem } };
  try {
    const text = await readFile(path, 'utf8');
    return { path, priority, content: parseCdiFile(await parseText(path, text)) };
  } catch (error) {
    return { path, priority, content: { problem: describeError(error).split('\n')[0] ?? '' } };
  }
}

/** YAML as Go's libraries have it, where 0660 is octal. Loaded for this only. */
async function parseText(path: string, text: string): Promise<unknown> {
  if (path.endsWith('.json')) return JSON.parse(text);
  const { parse } = await import('./yaml.ts');
  return parse(text, { version: '1.1' });
}
