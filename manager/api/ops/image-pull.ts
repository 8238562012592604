/** One image onto several nodes. */
import type { Node } from '../../../shared/model/index.ts';
import type { ImageEvent, NodeStreams } from '../../../shared/model/node-methods/index.ts';
import { encodeLayerEvent } from '../codec/image-codec.ts';
import type { ApiContext } from '../context.ts';
import { imageEvent } from '../events/event.ts';
import type { JsonStream } from '../http/json-stream.ts';
import { nodeName } from '../resources/nodes.ts';
import { imageEvents } from './image-events.ts';
import { failureOf, type NodeFailure } from './node-failures.ts';

type Params = NodeStreams['image.pull'];
type Pulled = Extract<ImageEvent, { kind: 'pulled' }>;

/** Registries and disks of a large cluster are not asked all at once. */
const PARALLEL_NODES = 8;

/**
 * The first node's pull is shown layer by layer, and the others begin once it has found the image: what no registry has is
 * refused at once. Each of the others is one line, with its name for an id. Throws when any of them failed, naming it.
 */
export async function pullOnNodes(
  ctx: ApiContext,
  nodes: readonly Node[],
  params: Params,
  lines: JsonStream,
  signal: AbortSignal,
): Promise<void> {
  const [first, ...others] = nodes;
  if (first === undefined) return;
  const failures: NodeFailure[] = [];
  const rest = { started: false, done: Promise.resolve() };
  const startRest = (): void => {
    if (rest.started) return;
    rest.started = true;
    rest.done = pullOnOthers(ctx, others, params, { lines, failures }, signal);
  };
  let pulled: Pulled | undefined;
  try {
    for await (const event of imageEvents(ctx.gateway.stream(first.id, 'image.pull', params, signal))) {
      if (event.kind === 'begin')
        await lines.write({ status: `Pulling from ${event.repository}`, id: event.tag });
      else if (event.kind === 'layer') await lines.write(encodeLayerEvent(event));
      else if (event.kind === 'pulled') pulled = event;
      startRest();
    }
  } catch (error) {
    failures.unshift({ node: nodeName(first), error });
  }
  await rest.done;
  signal.throwIfAborted();
  const attempted = rest.started ? nodes.length : 1;
  const failure = failureOf(failures, attempted);
  if (failure !== undefined) throw failure;
  if (pulled === undefined) return;
  ctx.events.emit(imageEvent('pull', pulled.name, pulled.name));
  await summarize(pulled, lines);
}

async function summarize({ name, digest, isNew }: Pulled, lines: JsonStream): Promise<void> {
  await lines.write({ status: `Digest: ${digest}` });
  const what = isNew ? 'Downloaded newer image for' : 'Image is up to date for';
  await lines.write({ status: `Status: ${what} ${name}` });
}

async function pullOnOthers(
  ctx: ApiContext,
  nodes: readonly Node[],
  params: Params,
  { lines, failures }: { readonly lines: JsonStream; readonly failures: NodeFailure[] },
  signal: AbortSignal,
): Promise<void> {
  const left = [...nodes];
  const work = async (): Promise<void> => {
    for (let node = left.shift(); node !== undefined; node = left.shift()) {
      try {
        await pullOnOne(ctx, node, params, lines, signal);
      } catch (error) {
        failures.push({ node: nodeName(node), error });
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_NODES }, work));
}

async function pullOnOne(
  ctx: ApiContext,
  node: Node,
  params: Params,
  lines: JsonStream,
  signal: AbortSignal,
): Promise<void> {
  const id = nodeName(node);
  await lines.write({ status: 'Pulling', progressDetail: {}, id });
  for await (const event of imageEvents(ctx.gateway.stream(node.id, 'image.pull', params, signal))) {
    if (event.kind !== 'pulled') continue;
    const status = event.isNew ? 'Pull complete' : 'Image is up to date';
    await lines.write({ status, progressDetail: {}, id });
  }
}
