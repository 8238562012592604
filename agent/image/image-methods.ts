/** What managers ask of this node's images, method by method. */
import { Readable } from 'node:stream';
import { InvalidError, NotFoundError } from '../../shared/errors/index.ts';
import { Channel } from '../../shared/lib/channel.ts';
import type {
  ImageEvent,
  ImageMethods,
  ImageStreams,
  MethodHandlers,
  NodeStreams,
  StreamChunk,
  StreamHandlers,
} from '../../shared/model/node-methods/index.ts';
import type { ImageService } from './image-service.ts';
import { pruneImages, removeImage, type UserOf } from './image-removal.ts';
import { saveImages } from './image-save.ts';
import { pushImage } from './image-push.ts';
import { parseRegistryAuth } from './registry-auth.ts';
import { canonicalName, parseReference } from './reference.ts';

/** Events that may wait for their reader. */
const BACKLOG = 1_000;

export interface ImageAnswers {
  readonly methods: MethodHandlers<keyof ImageMethods>;
  readonly streams: StreamHandlers<keyof ImageStreams>;
}

/** `userOf` says what on this node needs an image. */
export function imageAnswers(images: ImageService, userOf: UserOf): ImageAnswers {
  const { catalog, registries } = images;
  return {
    methods: {
      'image.list': () => catalog.list(),
      'image.inspect': ({ reference }) => catalog.inspect(reference),
      'image.tag': async ({ reference, target }) => {
        await tagImage(images, reference, target);
        return {};
      },
      'image.remove': (params) => removeImage(catalog, userOf, params),
      'image.prune': (params) => pruneImages(catalog, userOf, params),
      'image.describe-remote': async ({ reference, registryAuth }, signal) => {
        if (images.isLocal(reference))
          throw new NotFoundError(`manifest unknown: ${reference} was loaded here and is in no registry`);
        return registries.describe(parseReference(reference), parseRegistryAuth(registryAuth), signal);
      },
      'image.login': async ({ server, registryAuth }, signal) =>
        registries.login(server, parseRegistryAuth(registryAuth) ?? {}, signal),
    },
    streams: {
      'image.pull': ({ reference, registryAuth, platform }, _input, signal) => {
        const auth = parseRegistryAuth(registryAuth);
        const options = { ...(auth && { auth }), ...(platform && { platform }) };
        return events((observe) => images.pull(reference, options, observe, signal));
      },
      'image.push': (params, _input, signal) =>
        events((observe) => pushImage(images, params, observe, signal)),
      'image.load': (_params, input, signal) =>
        events((observe) => images.importTar(Readable.from(input, { objectMode: false }), signal, observe)),
      'image.save': ({ references }, _input, signal) => archive(images, references, signal),
    },
  };
}

async function tagImage({ catalog }: ImageService, reference: string, target: string): Promise<void> {
  const { id } = catalog.get(reference);
  const ref = parseReference(target);
  if (ref.digest !== undefined) throw new InvalidError('refusing to create a tag with a digest reference');
  await catalog.index.addTag(id, canonicalName(ref));
}

/** What `work` tells of, as it does; ends, or fails, as `work` does. */
async function* events(
  work: (observe: (event: ImageEvent) => void) => Promise<unknown>,
): AsyncGenerator<StreamChunk> {
  const channel = new Channel<ImageEvent>();
  const tell = (event: ImageEvent): void => {
    // A reader that takes nothing costs no memory: how far a layer is will be said again.
    if (channel.size < BACKLOG || event.kind !== 'layer' || event.current === undefined) channel.push(event);
  };
  const done = work(tell).then(
    () => channel.end(),
    (error: unknown) => channel.end(error),
  );
  try {
    for await (const event of channel) yield { stream: 1, data: Buffer.from(JSON.stringify(event)) };
  } finally {
    await done;
  }
}

async function* archive(
  images: ImageService,
  references: NodeStreams['image.save']['references'],
  signal: AbortSignal,
): AsyncGenerator<StreamChunk> {
  for await (const data of saveImages(images.catalog, references, signal)) yield { stream: 1, data };
}
