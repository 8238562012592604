/** What a new container is to have of others' volumes and binds, as `docker run --volumes-from` asks. */
import { ConflictError, InvalidError } from '../../../shared/errors/index.ts';
import type { MountSpec } from '../../../shared/model/index.ts';
import type { MountPoint } from '../../../shared/model/node-methods/index.ts';
import { asInvalid } from './container-peers.ts';

/** A single container. */
export interface Lender {
  readonly nodeId: string;
  /** As it was asked for, without volumes that its image wants. */
  readonly asked: readonly MountSpec[];
  /** As they are; undefined: its node has not said. */
  readonly points: readonly MountPoint[] | undefined;
}

export interface Lent {
  readonly mounts: readonly MountSpec[];
  /** Those of `nodeIds` where all the others are. */
  readonly nodeIds: readonly string[];
}

/** No label is set, and nothing is copied: what they ask for is so. */
const WITHOUT_EFFECT: readonly string[] = ['z', 'Z', 'nocopy'];

function parseLender(text: string): { readonly ref: string; readonly readOnly: boolean } {
  const [ref = '', mode = '', ...more] = text.split(':');
  const words = mode.split(',').filter((word) => word !== '' && !WITHOUT_EFFECT.includes(word));
  const other = words.find((word) => word !== 'ro' && word !== 'rw');
  if (ref === '' || more.length > 0 || other !== undefined)
    throw new InvalidError(`HostConfig.VolumesFrom: '${text}': container[:ro|:rw] is expected`);
  return { ref, readOnly: words.includes('ro') };
}

/** Memory is a container's own. What its image wanted has no mount that was asked for. */
function lentMount(point: MountPoint, { asked }: Lender, readOnly: boolean): MountSpec[] {
  const { kind, target, source, name } = point;
  const given = asked.find((mount) => mount.target === target && mount.kind === kind);
  const common = { target, readOnly: readOnly || point.readOnly };
  if (kind === 'volume' && name !== undefined)
    return [{ ...(given?.kind === 'volume' ? given : {}), kind, source: name, noCopy: true, ...common }];
  if (kind === 'bind') return [{ ...(given?.kind === 'bind' ? given : {}), kind, source, ...common }];
  return [];
}

/**
 * `own`: what it names itself, which stands before what others have at the same path, but for volumes without a name. Of
 * several others the last stands. `find` rejects for a container that there is not.
 */
export async function lendMounts(
  refs: readonly string[],
  own: readonly MountSpec[],
  nodeIds: readonly string[],
  find: (ref: string) => Promise<Lender>,
): Promise<Lent> {
  const lent = new Map<string, MountSpec>();
  let left = nodeIds;
  for (const text of refs) {
    const { ref, readOnly } = parseLender(text);
    const lender = await find(ref).catch(asInvalid);
    if (lender.points === undefined)
      throw new ConflictError(
        `HostConfig.VolumesFrom: what ${ref} has is not known: its node does not answer`,
      );
    for (const point of lender.points)
      for (const mount of lentMount(point, lender, readOnly)) lent.set(mount.target, mount);
    left = left.filter((one) => one === lender.nodeId);
    if (left.length === 0)
      throw new ConflictError(
        `HostConfig.VolumesFrom: container ${ref} is on another node than the image or the other containers ` +
          'that are asked for: pull the image on its node, or leave the others out',
      );
  }
  for (const mount of own)
    if (mount.kind !== 'volume' || mount.source !== '' || !lent.has(mount.target))
      lent.set(mount.target, mount);
  return { mounts: [...lent.values()], nodeIds: left };
}
