/** What a container mounts of its node: volumes, which are made when they are missing, and directories. */
import { mkdir, stat } from 'node:fs/promises';
import { InvalidError } from '../../shared/errors/index.ts';
import type { MountSpec } from '../../shared/model/index.ts';
import type { ResolvedImage } from '../image/image-service.ts';
import type { Volumes } from '../volume/volumes.ts';
import type { ImagesByName } from './mounted-images.ts';
import type { BindMount } from './runtime-spec.ts';
import { withOwnIds } from './user-ranges.ts';

export interface MountOwner {
  readonly id: string;
  readonly image: ResolvedImage;
  readonly mounts: readonly MountSpec[];
  /** Names of its volumes that have none of their own. */
  readonly anonymous: readonly string[];
  readonly remapped: boolean;
  readonly mounted: ImagesByName;
}

type Mounted<K> = Extract<MountSpec, { kind: K }>;

/** In their order. A tmpfs is nothing of the node's. */
export async function mountBinds(
  volumes: Volumes,
  owner: MountOwner,
  signal: AbortSignal,
): Promise<BindMount[]> {
  const binds: BindMount[] = [];
  for (const mount of owner.mounts) {
    if (mount.kind === 'bind') binds.push(await directoryBind(mount));
    if (mount.kind === 'image') binds.push(imageBind(mount, owner));
    if (mount.kind === 'volume') binds.push(await volumeBind(volumes, mount, owner, signal));
  }
  return binds;
}

async function directoryBind(mount: Mounted<'bind'>): Promise<BindMount> {
  const { source, target } = mount;
  if (!source.startsWith('/')) throw new InvalidError(`bind source "${source}" is not an absolute path`);
  if (mount.createSource === true) await makeSource(source);
  const kind = mount.recursive === false ? 'bind' : 'rbind';
  const access = mount.readOnlyBelow === false ? 'x-ro-here' : 'ro';
  const options = [kind, mount.readOnly ? access : 'rw', mount.propagation ?? 'rprivate'];
  return { source, target, options };
}

/** A directory, unless there is something already: a file is bound as well. */
async function makeSource(source: string): Promise<void> {
  try {
    await mkdir(source, { recursive: true });
  } catch (cause) {
    const there = await stat(source).catch(() => undefined);
    if (there === undefined) throw new InvalidError(`bind source "${source}" can not be made`, { cause });
  }
}

function imageBind({ source, target, subpath }: Mounted<'image'>, { mounted }: MountOwner): BindMount {
  const image = mounted.get(source);
  if (image === undefined) throw new InvalidError(`the image ${source} of ${target} is not on this node`);
  const part = subpath === undefined ? [] : [`x-subpath=${subpath}`];
  return { source: image.id, target, options: ['ro', ...part], layers: image.layers };
}

async function volumeBind(
  volumes: Volumes,
  mount: Mounted<'volume'>,
  { id, image, anonymous, remapped }: MountOwner,
  signal: AbortSignal,
): Promise<BindMount> {
  // What its image has at the target belongs at the volume's root.
  const noCopy = mount.noCopy === true || mount.subpath !== undefined;
  const volume = { ...mount, noCopy, anonymous: anonymous.includes(mount.source) };
  const source = await volumes.ensure(volume, image.layers, id, signal);
  // Not `rw`, which would undo the options of what is mounted for the volume.
  const access = mount.readOnly ? ['ro'] : [];
  if (mount.subpath !== undefined) access.push(`x-subpath=${mount.subpath}`);
  const bind = { source, target: mount.target, options: ['bind', ...access, 'rprivate'] };
  return remapped ? withOwnIds(bind) : bind;
}
