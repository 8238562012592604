/** The containers whose namespaces a new one is to share: they are found, and it is made on their node. */
import { ConflictError, InvalidError, NotFoundError } from '../../../shared/errors/index.ts';
import type { ContainerRequest, ServiceSpec } from '../../../shared/model/index.ts';

const KINDS = [
  { option: 'networkOf', field: 'NetworkMode' },
  { option: 'pidOf', field: 'PidMode' },
  { option: 'ipcOf', field: 'IpcMode' },
] as const;

type Spec = Omit<ServiceSpec, 'name' | 'mode'>;

export interface Peer {
  readonly id: string;
  readonly nodeId: string;
}

interface Shared {
  /** With the ids of the others in place of their names. */
  readonly spec: Spec;
  readonly asked: ContainerRequest;
  /** Those of `nodeIds` where the others are. */
  readonly nodeIds: readonly string[];
}

/** No 404: clients would pull the image. */
export function asInvalid(error: unknown): never {
  if (error instanceof NotFoundError) throw new InvalidError(error.message);
  throw error;
}

/**
 * `find` rejects for a container that there is not. Throws ConflictError when the others are not all on one node of
 * `nodeIds`, which have the image and the volumes.
 */
export async function placeWithPeers(
  wanted: Pick<Shared, 'spec' | 'asked'>,
  nodeIds: readonly string[],
  find: (ref: string) => Promise<Peer>,
): Promise<Shared> {
  const { container } = wanted.spec;
  const ids: Record<string, string> = {};
  const modes: Record<string, string> = {};
  let left = nodeIds;
  for (const { option, field } of KINDS) {
    const ref = container.runtime?.[option];
    if (ref === undefined) continue;
    const { id, nodeId } = await find(ref).catch(asInvalid);
    left = left.filter((one) => one === nodeId);
    ids[option] = id;
    modes[field] = `container:${id}`;
    if (left.length === 0)
      throw new ConflictError(
        `HostConfig.${field}: container ${ref} is on another node than the image, the volumes or the other ` +
          'containers that are asked for: pull the image on its node, or leave the others out',
      );
  }
  if (Object.keys(ids).length === 0) return { ...wanted, nodeIds };
  return {
    spec: { ...wanted.spec, container: { ...container, runtime: { ...container.runtime, ...ids } } },
    asked: { ...wanted.asked, hostConfig: { ...wanted.asked.hostConfig, ...modes } },
    nodeIds: left,
  };
}
