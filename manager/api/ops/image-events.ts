import type { ImageEvent, StreamChunk } from '../../../shared/model/node-methods/index.ts';
import { imageEvent } from '../../../shared/wire/node-methods/image.ts';

/** What a node tells of a pull, a push or a load, one event a chunk. */
export async function* imageEvents(chunks: AsyncIterable<StreamChunk>): AsyncGenerator<ImageEvent> {
  for await (const { data } of chunks) yield imageEvent.parse(JSON.parse(data.toString('utf8')));
}
