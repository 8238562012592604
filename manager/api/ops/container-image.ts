/** Where the image of a new container is: it is made on a node that has it already. */
import { ConflictError, NotFoundError } from '../../../shared/errors/index.ts';
import type { MountSpec } from '../../../shared/model/index.ts';
import { askNodes } from '../ask-nodes.ts';
import type { ApiContext } from '../context.ts';
import { asInvalid } from './container-peers.ts';
import { untilNodesReport } from '../returning-nodes.ts';

export interface ImageOnNodes {
  readonly nodeIds: readonly string[];
  /** `80/tcp` */
  readonly exposedPorts: readonly string[];
}

/** Asks all nodes that take containers. Throws NotFoundError in Docker's words when none has it: clients then pull it. */
export async function nodesWithImage(
  ctx: ApiContext,
  reference: string,
  signal: AbortSignal,
): Promise<ImageOnNodes> {
  await untilNodesReport(ctx, signal);
  const nodes = [...ctx.store.all('nodes').values()].filter(
    ({ id, status, spec }) =>
      status === 'ready' && spec.availability === 'active' && ctx.gateway.connected(id),
  );
  const asked = { nodes: nodes.map(({ id }) => id) };
  const { answers, refusals, missing } = await askNodes(ctx, 'image.inspect', { reference }, signal, asked);
  const unsaid = refusals.filter(({ error }) => !(error instanceof NotFoundError));
  for (const { nodeId, error: err } of [
    ...missing.map((nodeId) => ({ nodeId, error: undefined })),
    ...unsaid,
  ])
    ctx.logger.warn({ nodeId, err }, 'a node did not say whether it has an image');
  const [first] = answers;
  if (first === undefined) throw new NotFoundError(`No such image: ${reference}`);
  const nodeIds = answers.map(({ nodeId }) => nodeId);
  return { nodeIds, exposedPorts: first.result.config.exposedPorts };
}

/** Those of the nodes that have all images that are mounted, too. One that no node has is no 404: clients would pull another. */
export async function withMountedImages(
  ctx: ApiContext,
  mounts: readonly MountSpec[],
  nodeIds: readonly string[],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const names = new Set(mounts.flatMap((mount) => (mount.kind === 'image' ? [mount.source] : [])));
  let left = nodeIds;
  for (const name of names) {
    const { nodeIds: here } = await nodesWithImage(ctx, name, signal).catch(asInvalid);
    left = left.filter((id) => here.includes(id));
    if (left.length === 0)
      throw new ConflictError(
        `HostConfig.Mounts: no node has the image ${name} and what else is asked for: pull it where that is`,
      );
  }
  return left;
}
