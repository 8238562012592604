/** Where the image of a new container is: it is made on a node that has it already. */
import { NotFoundError } from '../../../shared/errors/index.ts';
import type { ApiContext } from '../context.ts';
import { callNode } from '../node-call.ts';

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
  const nodes = [...ctx.store.all('nodes').values()].filter(
    ({ id, status, spec }) =>
      status === 'ready' && spec.availability === 'active' && ctx.gateway.connected(id),
  );
  const answers = await Promise.all(
    nodes.map(async ({ id }) => {
      try {
        const image = await callNode(ctx, id, 'image.inspect', { reference }, signal);
        return { id, exposedPorts: image.config.exposedPorts };
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof NotFoundError))
          ctx.logger.warn({ nodeId: id, err: error }, 'a node did not say whether it has an image');
        return undefined;
      }
    }),
  );
  const found = answers.filter((answer) => answer !== undefined);
  if (found[0] === undefined) throw new NotFoundError(`No such image: ${reference}`);
  return { nodeIds: found.map(({ id }) => id), exposedPorts: found[0].exposedPorts };
}
