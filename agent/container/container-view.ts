/** The files of one container as its processes see or saw them, for the helper that works on them. */
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { NotFoundError } from '../../shared/errors/index.ts';
import type { FilesRoot } from '../native/files-helper.ts';
import type { Containers } from './containers.ts';
import { volumesOf } from './held-mounts.ts';
import { outermostFirst } from './mount-order.ts';
import type { ContainerRecord } from './record.ts';
import { makeWritableLayer } from './writable-layer.ts';

export interface ContainerView {
  readonly record: ContainerRecord;
  /** Of a container that does not run. */
  readonly root?: FilesRoot;
  /** Of one that runs. */
  readonly namespace?: FileHandle;
  /** Gives back what the view holds. */
  readonly close: () => Promise<void>;
}

/** The part of the volumes that a view needs: their file systems must be mounted meanwhile. */
export interface ViewVolumes {
  hold(names: readonly string[], holder: string, signal: AbortSignal): Promise<void>;
  release(holder: string): Promise<void>;
}

export interface ViewOptions {
  readonly containers: Containers;
  readonly volumes: ViewVolumes;
  /** Directories of an image's layers, topmost first. Rejects when it is not here any more. */
  readonly layersOf: (imageId: string) => Promise<readonly string[]>;
}

/** The files that the agent gives each container. */
const OWN_FILES = ['hosts', 'hostname', 'resolv.conf'];

let lastView = 0;

/** Throws NotFoundError when there is no such container. */
export async function openView(
  options: ViewOptions,
  containerId: string,
  signal: AbortSignal,
): Promise<ContainerView> {
  const record = options.containers.find(containerId);
  if (record === undefined) throw new NotFoundError(`No such container: ${containerId}`);
  const namespace = await namespaceOf(options.containers, record);
  if (namespace !== undefined) return { record, namespace, close: () => namespace.close() };
  lastView += 1;
  const holder = `view-${lastView}`;
  const close = (): Promise<void> => options.volumes.release(holder);
  try {
    await options.volumes.hold(volumesOf(record), holder, signal);
    return { record, root: await layersRoot(options, record), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Only that it still has the same process afterwards says that the namespace is its own, not that of a later process. */
async function namespaceOf(
  containers: Containers,
  { id, exit }: ContainerRecord,
): Promise<FileHandle | undefined> {
  const pidOf = async (): Promise<number | undefined> => {
    const state = exit === undefined ? await containers.state(id).catch(() => undefined) : undefined;
    // One that is about to be started has its root already.
    return state === undefined || state.status === 'stopped' ? undefined : state.pid;
  };
  const pid = await pidOf();
  if (pid === undefined) return undefined;
  const namespace = await open(`/proc/${pid}/ns/mnt`, 'r').catch(() => undefined);
  if (namespace !== undefined && (await pidOf()) === pid) return namespace;
  await namespace?.close();
  return undefined;
}

/** The overlay of a container that does not run; its directories are there even before its first start. */
export async function layersRoot(
  { containers, layersOf }: ViewOptions,
  record: ContainerRecord,
): Promise<FilesRoot> {
  const directory = containers.directory(record.id);
  const place = join(directory, 'view');
  const { upper, work } = await makeWritableLayer(directory, record);
  await mkdir(place, { recursive: true, mode: 0o700 });
  const readOnly = record.readOnlyRoot === true;
  const own = OWN_FILES.map((name) => ({
    source: join(directory, name),
    target: `/etc/${name}`,
    readOnly,
    recursive: false,
  }));
  const mounts = (record.mounts ?? []).map(({ kind, recursive, source, subpath, target, readOnly }) => {
    const part = subpath === undefined ? {} : { subpath };
    return { source, ...part, target, readOnly, recursive: kind === 'bind' && recursive !== false };
  });
  const lower = await layersOf(record.imageId);
  return {
    lower,
    upper,
    work,
    place,
    readOnly,
    mounts: outermostFirst([...own, ...mounts], ({ target }) => target),
  };
}
