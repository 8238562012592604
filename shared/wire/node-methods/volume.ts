import { z } from 'zod';
import type { NewVolume, VolumeInfo, VolumeMethods } from '../../model/node-methods/index.ts';
import { conforms } from '../conforms.ts';
import { count, flag, labels, text } from '../service-schema.ts';
import { nothing } from './common.ts';
import type { MethodSchemas } from './schema-table.ts';

const volume = conforms<VolumeInfo>()(
  z.strictObject({
    name: text,
    options: labels,
    labels,
    createdAtMs: z.number(),
    mountpoint: text,
    usedBy: z.array(text),
  }),
);

const newVolume = conforms<NewVolume>()(z.strictObject({ name: text, options: labels, labels }));
const bytes = z.number().min(-1);

export const volumeMethods: MethodSchemas<keyof VolumeMethods> = {
  'volume.list': { params: nothing, result: z.strictObject({ volumes: z.array(volume), freeBytes: bytes }) },
  'volume.inspect': { params: z.strictObject({ name: text }), result: volume },
  'volume.create': { params: newVolume, result: z.strictObject({ volume, created: flag }) },
  'volume.remove': { params: z.strictObject({ name: text, force: flag }), result: nothing },
  'volume.prune': {
    params: z.strictObject({ names: z.array(text) }),
    result: z.strictObject({ removed: z.array(text), bytes }),
  },
  'storage.usage': {
    params: z.strictObject({ volumes: flag, containers: flag, limitMs: count }),
    result: z.strictObject({
      volumes: z.array(z.strictObject({ volume, bytes })),
      containers: z.array(z.strictObject({ containerId: text, ownBytes: bytes, totalBytes: bytes })),
    }),
  },
};
