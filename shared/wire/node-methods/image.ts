import { z } from 'zod';
import type {
  ImageConfig,
  ImageEvent,
  ImageInfo,
  ImageMethods,
  ImageStreams,
  ImageSummary,
} from '../../model/node-methods/index.ts';
import { conforms } from '../conforms.ts';
import { count, flag, healthCheck, labels, text, texts } from '../service-schema.ts';
import { nothing } from './common.ts';
import type { MethodSchemas, StreamSchemas } from './schema-table.ts';

const config = conforms<ImageConfig>()(
  z.strictObject({
    env: texts,
    entrypoint: texts,
    cmd: texts,
    user: text,
    workingDir: text,
    exposedPorts: texts,
    labels,
    stopSignal: text.exactOptional(),
    healthcheck: healthCheck.exactOptional(),
    volumes: texts,
  }),
);

const summaryShape = {
  id: text,
  repoTags: texts,
  repoDigests: texts,
  labels,
  sizeBytes: count,
  createdAt: text,
  layers: z.array(z.strictObject({ chainId: text, sizeBytes: count })),
};
const summary = conforms<ImageSummary>()(z.strictObject(summaryShape));

const info = conforms<ImageInfo>()(
  z.strictObject({
    ...summaryShape,
    config,
    os: text,
    architecture: text,
    variant: text,
    author: text,
    comment: text,
    diffIds: texts,
    history: z.array(z.strictObject({ createdAt: text, createdBy: text, comment: text, sizeBytes: count })),
  }),
);

const step = z.enum([
  'pulling',
  'downloading',
  'downloaded',
  'extracting',
  'pulled',
  'exists',
  'preparing',
  'pushing',
  'pushed',
  'pushed-before',
  'loading',
  'loaded',
]);

/** Of one chunk of a pull, a push or a load. */
export const imageEvent: z.ZodType<ImageEvent> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('begin'), repository: text, tag: text }),
  z.strictObject({
    kind: z.literal('layer'),
    id: text,
    step,
    current: count.exactOptional(),
    total: count.exactOptional(),
  }),
  z.strictObject({ kind: z.literal('pulled'), name: text, digest: text, isNew: flag }),
  z.strictObject({ kind: z.literal('pushed'), tag: text, digest: text, sizeBytes: count }),
  z.strictObject({ kind: z.literal('loaded'), id: text, name: text.exactOptional() }),
]);

const reference = z.strictObject({ reference: text });
const removedShape = { untagged: texts, deleted: texts };
const platform = z.strictObject({ os: text, architecture: text, variant: text.exactOptional() });

export const imageMethods: MethodSchemas<keyof ImageMethods> = {
  'image.list': { params: nothing, result: z.array(summary) },
  'image.inspect': { params: reference, result: info },
  'image.tag': { params: reference.extend({ target: text }), result: nothing },
  'image.remove': {
    params: reference.extend({ force: flag, check: flag }),
    result: z.strictObject(removedShape),
  },
  'image.prune': {
    params: z.strictObject({
      all: flag,
      createdBeforeMs: z.number().exactOptional(),
      labels: texts,
      withoutLabels: texts,
    }),
    result: z.strictObject({ ...removedShape, reclaimedBytes: count }),
  },
  'image.describe-remote': {
    params: reference.extend({ registryAuth: text.exactOptional() }),
    result: z.strictObject({
      mediaType: text,
      digest: text,
      sizeBytes: count,
      platforms: z.array(platform),
    }),
  },
  'image.login': {
    params: z.strictObject({ server: text, registryAuth: text }),
    result: z.strictObject({ identityToken: text.exactOptional() }),
  },
};

export const imageStreams: StreamSchemas<keyof ImageStreams> = {
  'image.pull': reference.extend({ registryAuth: text.exactOptional(), platform: text.exactOptional() }),
  'image.push': reference.extend({ registryAuth: text.exactOptional() }),
  'image.load': nothing,
  'image.save': z.strictObject({ references: texts }),
};
