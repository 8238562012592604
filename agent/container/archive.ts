/** Files into and out of containers (docker cp, export, diff): each call has a process of its own for it. */
import { posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { NotFoundError } from '../../shared/errors/index.ts';
import type {
  ArchiveMethods,
  ArchiveStreams,
  MethodHandlers,
  NodeStreams,
  OfPath,
  PathStat,
  StreamChunk,
  StreamHandlers,
} from '../../shared/model/node-methods/index.ts';
import { FilesHelper, type FilesRequest, type FilesStat } from '../native/files-helper.ts';
import { type ContainerView, layersRoot, openView, type ViewOptions } from './container-view.ts';

type Put = NodeStreams['container.archive.put'];

export class ArchiveService {
  readonly #options: ViewOptions;
  readonly methods: MethodHandlers<keyof ArchiveMethods> = {
    'container.archive.stat': (params, signal) => this.#stat(params, signal),
  };
  readonly streams: StreamHandlers<keyof ArchiveStreams> = {
    'container.archive.get': (params, _input, signal) => this.#get(params, signal),
    'container.archive.put': (params, input, signal) => this.#put(params, input, signal),
    'container.export': ({ containerId }, _input, signal) => this.#export(containerId, signal),
    'container.changes': ({ containerId }, _input, signal) => this.#changes(containerId, signal),
  };

  constructor(options: ViewOptions) {
    this.#options = options;
  }

  async #stat(params: OfPath, signal: AbortSignal): Promise<PathStat> {
    const view = await openView(this.#options, params.containerId, signal);
    const helper = start(view, { mode: 'stat', path: insidePath(params.path), ...rootOf(view) }, signal);
    try {
      const found = await helper.stat();
      await helper.done();
      return pathStat(params.path, found);
    } catch (error) {
      throw notFound(error, params);
    } finally {
      await finish(helper, view);
    }
  }

  async *#get(params: OfPath, signal: AbortSignal): AsyncGenerator<StreamChunk> {
    const view = await openView(this.#options, params.containerId, signal);
    const helper = start(view, { mode: 'get', path: insidePath(params.path), ...rootOf(view) }, signal);
    try {
      const found = pathStat(params.path, await helper.stat());
      yield { stream: 2, data: Buffer.from(JSON.stringify(found)) };
      yield* outputOf(helper);
    } catch (error) {
      throw notFound(error, params);
    } finally {
      await finish(helper, view);
    }
  }

  /** Nothing starts a container while its layer is written: the kernel forbids two that write to one. */
  async *#put(params: Put, input: AsyncIterable<Buffer>, signal: AbortSignal): AsyncGenerator<StreamChunk> {
    yield* [];
    await this.#options.containers.exclusive(params.containerId, async () => {
      const view = await openView(this.#options, params.containerId, signal);
      const { uid, gid } = view.record;
      const helper = start(
        view,
        {
          mode: 'put',
          path: insidePath(params.path),
          writable: true,
          keepKinds: params.keepKinds,
          ...(params.own && (uid !== 0 || gid !== 0) ? { owner: { uid, gid } } : {}),
          ...rootOf(view),
        },
        signal,
        false,
      );
      // What it does not take is told by how it ends.
      pipeline(input, helper.input, { signal }).catch(() => undefined);
      try {
        await helper.done();
      } catch (error) {
        throw notFound(error, params);
      } finally {
        await finish(helper, view);
      }
    });
  }

  async *#export(containerId: string, signal: AbortSignal): AsyncGenerator<StreamChunk> {
    const view = await openView(this.#options, containerId, signal);
    const helper = start(view, { mode: 'export', ...rootOf(view) }, signal);
    try {
      yield* outputOf(helper);
    } finally {
      await finish(helper, view);
    }
  }

  async *#changes(containerId: string, signal: AbortSignal): AsyncGenerator<StreamChunk> {
    const record = this.#options.containers.find(containerId);
    if (record === undefined) throw new NotFoundError(`No such container: ${containerId}`);
    const root = await layersRoot(this.#options, record);
    const helper = new FilesHelper({ mode: 'changes', root }, undefined, signal);
    helper.input.end();
    try {
      yield* outputOf(helper);
    } finally {
      await helper.close();
    }
  }
}

function start(view: ContainerView, request: FilesRequest, signal: AbortSignal, ended = true): FilesHelper {
  const helper = new FilesHelper(request, view.namespace, signal);
  if (ended) helper.input.end();
  return helper;
}

async function finish(helper: FilesHelper, view: ContainerView): Promise<void> {
  await helper.close();
  await view.close();
}

async function* outputOf(helper: FilesHelper): AsyncGenerator<StreamChunk> {
  for await (const data of helper.output) yield { stream: 1, data: data as Buffer };
  await helper.done();
}

function rootOf({ root }: ContainerView): { root?: NonNullable<ContainerView['root']> } {
  return root === undefined ? {} : { root };
}

/** Cleaned, as Docker does it, but for an end that says that a directory is meant, or what is in it. */
function insidePath(path: string): string {
  const clean = posix.join('/', path);
  if (/(^|\/)\.$/.test(path)) return posix.join(clean, '/').concat('.');
  return clean;
}

function pathStat(path: string, found: FilesStat): PathStat {
  const name = posix.basename(insidePath(path).replace(/\/$/, ''));
  return { name: name === '' ? '/' : name, ...found };
}

function notFound(error: unknown, { containerId, path }: OfPath): unknown {
  if (!(error instanceof NotFoundError)) return error;
  return new NotFoundError(`Could not find the file ${path} in container ${containerId}`, {
    cause: error.cause,
  });
}
