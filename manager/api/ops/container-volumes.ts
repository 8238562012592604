/** Where a new container may go for the volumes that it names: a volume that exists is on its node only. */
import { InvalidError, NotFoundError } from '../../../shared/errors/index.ts';
import type { MountSpec } from '../../../shared/model/index.ts';
import { askNodes } from '../ask-nodes.ts';
import type { ApiContext } from '../context.ts';
import { findNode } from '../resources/nodes.ts';
import { splitVolumeName } from './volumes.ts';

export interface PlacedMounts {
  /** Volumes by their plain names. */
  readonly mounts: readonly MountSpec[];
  /** Those of `nodeIds` that have every volume which any node has. */
  readonly nodeIds: readonly string[];
}

/**
 * A volume NODE/NAME is on that node, made there when it is missing; one that some nodes have is on these; any other is made
 * where the container goes. Throws InvalidError when there is no node for all of them.
 */
export async function placeVolumes(
  ctx: ApiContext,
  mounts: readonly MountSpec[],
  nodeIds: readonly string[],
  signal: AbortSignal,
): Promise<PlacedMounts> {
  const named = mounts.filter((mount) => mount.kind === 'volume' && mount.source !== '');
  if (named.length === 0) return { mounts, nodeIds };
  const { answers } = await askNodes(ctx, 'volume.list', {}, signal);
  let left = nodeIds;
  const plain = mounts.map((mount): MountSpec => {
    if (mount.kind !== 'volume' || mount.source === '') return mount;
    const { node, name } = splitVolumeName(mount.source);
    const holders =
      node === undefined
        ? answers.filter(({ result }) => result.volumes.some((volume) => volume.name === name))
        : [{ nodeId: holderOf(ctx, node, mount.source) }];
    if (holders.length > 0) left = left.filter((id) => holders.some(({ nodeId }) => nodeId === id));
    return { ...mount, source: name };
  });
  if (left.length === 0 && nodeIds.length > 0) {
    const names = named.map((mount) => (mount.kind === 'volume' ? mount.source : '')).join(', ');
    throw new InvalidError(`no node has both the image and the volumes ${names}`);
  }
  return { mounts: plain, nodeIds: left };
}

/** Of NODE/NAME. Not by NotFoundError: for a new container that says that its image is missing, and clients pull it. */
function holderOf(ctx: ApiContext, node: string, source: string): string {
  try {
    return findNode(ctx, node).id;
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    throw new InvalidError(
      `volume ${source}: NODE/NAME is the volume of that node, and a name itself has no slash`,
      { cause: error },
    );
  }
}
