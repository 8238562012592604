/** An archive of images onto several nodes, as it comes: it is kept nowhere in between. */
import type { Node } from '../../../shared/model/index.ts';
import { encodeLayerEvent } from '../codec/image-codec.ts';
import type { ApiContext } from '../context.ts';
import { imageEvent } from '../events/event.ts';
import type { JsonStream } from '../http/json-stream.ts';
import { nodeName } from '../resources/nodes.ts';
import { fanOut } from './fan-out.ts';
import { imageEvents } from './image-events.ts';
import { failureOf, type NodeFailure } from './node-failures.ts';

interface Report {
  readonly lines: JsonStream;
  /** Without the layers' progress. */
  readonly quiet: boolean;
}

/** The first node's layers are shown, and each image once. Throws when any node failed, naming it. */
export async function loadOnNodes(
  ctx: ApiContext,
  nodes: readonly Node[],
  archive: AsyncIterable<Buffer>,
  { lines, quiet }: Report,
  signal: AbortSignal,
): Promise<void> {
  const { outlets, done } = fanOut(archive, nodes.length);
  const failures: NodeFailure[] = [];
  const told = new Set<string>();
  const load = async (node: Node, i: number): Promise<void> => {
    const outlet = outlets[i];
    if (outlet === undefined) return;
    try {
      const chunks = ctx.gateway.duplex(node.id, 'image.load', {}, outlet.input, signal);
      for await (const event of imageEvents(chunks)) {
        if (event.kind === 'layer' && i === 0 && !quiet) await lines.write(encodeLayerEvent(event));
        if (event.kind !== 'loaded') continue;
        const text =
          event.name === undefined ? `Loaded image ID: ${event.id}\n` : `Loaded image: ${event.name}\n`;
        if (told.has(text)) continue;
        told.add(text);
        ctx.events.emit(imageEvent('load', event.id, event.name ?? event.id));
        await lines.write({ stream: text });
      }
    } catch (error) {
      failures.push({ node: nodeName(node), error });
    } finally {
      outlet.close();
    }
  };
  await Promise.all(nodes.map(load));
  await done;
  signal.throwIfAborted();
  const failure = failureOf(failures, nodes.length);
  if (failure !== undefined) throw failure;
}
