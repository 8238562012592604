/** Containers that share namespaces with others of their node, and memory in /dev/shm with those that let them. */
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConflictError, NotFoundError } from '../../shared/errors/index.ts';
import type { RuntimeOptions } from '../../shared/model/index.ts';
import type { ContainerState, OciConfig } from '../native/container.ts';
import type { ContainerRecord } from './record.ts';
import type { BindMount } from './runtime-spec.ts';

/** By the kind of namespace, the id of the container that it is of. */
export type Sharing = Readonly<Partial<Record<'network' | 'pid' | 'ipc', string>>>;

/** What there is to know of other containers. */
export interface Peers {
  find(id: string): ContainerRecord | undefined;
  state(id: string): Promise<ContainerState>;
  directory(id: string): string;
}

/** Docker's, of /dev/shm. */
const DEFAULT_SHM_BYTES = 64 * 1024 * 1024;

/** Whose namespaces it is in, and how much memory it lets others share. */
export function sharingOf(options: RuntimeOptions = {}): { sharing: Sharing; sharedBytes?: number } {
  const { networkOf, pidOf, ipcOf, ipcShareable, shmBytes = DEFAULT_SHM_BYTES } = options;
  const sharing = {
    ...(networkOf === undefined ? {} : { network: networkOf }),
    ...(pidOf === undefined ? {} : { pid: pidOf }),
    ...(ipcOf === undefined ? {} : { ipc: ipcOf }),
  };
  return { sharing, ...(ipcShareable === true ? { sharedBytes: shmBytes } : {}) };
}

/**
 * The config with the namespaces of the others, while `use` has it: they are held open, so that a process id that is given
 * out again leads nowhere else. Throws NotFoundError or ConflictError, in Docker's words, for one that does not run.
 */
export async function withPeers<T>(
  peers: Peers,
  sharing: Sharing,
  config: OciConfig,
  use: (config: OciConfig) => Promise<T>,
): Promise<T> {
  const held: FileHandle[] = [];
  const namespaces: { type: string; path: string }[] = [];
  try {
    for (const [type, id] of Object.entries(sharing)) {
      const handle = await openNamespace(peers, type, id);
      held.push(handle);
      namespaces.push({ type, path: `/proc/${process.pid}/fd/${handle.fd}` });
    }
    const { linux } = config;
    return await use({ ...config, linux: { ...linux, namespaces: [...linux.namespaces, ...namespaces] } });
  } finally {
    for (const handle of held) await handle.close();
  }
}

async function openNamespace(peers: Peers, type: string, id: string): Promise<FileHandle> {
  const { name } = requirePeer(peers, id);
  const pidNow = async (): Promise<number | undefined> => {
    const state = await peers.state(id).catch(() => undefined);
    return state?.status === 'running' ? state.pid : undefined;
  };
  const pid = await pidNow();
  const path = `/proc/${pid}/ns/${type === 'network' ? 'net' : type}`;
  const handle = pid === undefined ? undefined : await open(path, 'r').catch(() => undefined);
  if (handle !== undefined && (await pidNow()) === pid) return handle;
  await handle?.close();
  throw new ConflictError(`cannot join ${type} namespace of a non running container: ${name} (${id})`);
}

function requirePeer(peers: Peers, id: string): ContainerRecord {
  const record = peers.find(id);
  if (record === undefined) throw new NotFoundError(`No such container: ${id} is not on this node any more`);
  return record;
}

/** The files below /etc that belong to the node, in a container's directory: `readOnly` with the container's root. */
export function etcBinds(directory: string, readOnly: boolean): BindMount[] {
  return ['hosts', 'hostname', 'resolv.conf'].map((name) => ({
    source: join(directory, name),
    target: `/etc/${name}`,
    options: ['bind', ...(readOnly ? ['ro'] : []), 'rprivate'],
  }));
}

/** Whose name, addresses and resolvers it has with the network of another container; undefined: its own. */
export async function filesLender(
  peers: Peers,
  networkOf: string | undefined,
  readOnly: boolean,
): Promise<{ id: string; hostname: string; binds: BindMount[] } | undefined> {
  if (networkOf === undefined) return undefined;
  const id = requirePeer(peers, networkOf).filesOf ?? networkOf;
  const directory = peers.directory(id);
  const hostname = (await readFile(join(directory, 'hostname'), 'utf8')).trim();
  return { id, hostname, binds: etcBinds(directory, readOnly) };
}

/** A mount of the memory that it shares, as the one who lends it or as the one who has it from another. */
export function sharedMemory(peers: Peers, id: string, options: RuntimeOptions = {}): BindMount[] {
  const { ipcOf, ipcShareable = false } = options;
  if (ipcOf === undefined && !ipcShareable) return [];
  if (ipcOf !== undefined && requirePeer(peers, ipcOf).sharesMemory !== true)
    throw new ConflictError(
      `container ${ipcOf}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
    );
  const source = memoryPath(peers.directory(ipcOf ?? id));
  return [{ source, target: '/dev/shm', options: ['bind', 'rprivate', 'nosuid', 'noexec', 'nodev'] }];
}

export function memoryPath(directory: string): string {
  return join(directory, 'shm');
}
