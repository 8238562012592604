import { z } from 'zod';
import type { ArchiveMethods, ArchiveStreams, PathStat } from '../../model/node-methods/index.ts';
import { conforms } from '../conforms.ts';
import { count, flag, text } from '../service-schema.ts';
import { ofContainer } from './common.ts';
import type { MethodSchemas, StreamSchemas } from './schema-table.ts';

const ofPath = ofContainer.extend({ path: text });

export const pathStatSchema = conforms<PathStat>()(
  z.strictObject({
    name: text,
    sizeBytes: count,
    mode: count,
    mtimeSeconds: z.number(),
    mtimeNanos: count,
    linkTarget: text,
  }),
);

export const archiveMethods: MethodSchemas<keyof ArchiveMethods> = {
  'container.archive.stat': { params: ofPath, result: pathStatSchema },
};

export const archiveStreams: StreamSchemas<keyof ArchiveStreams> = {
  'container.archive.get': ofPath,
  'container.archive.put': ofPath.extend({ keepKinds: flag, own: flag }),
  'container.export': ofContainer,
  'container.changes': ofContainer,
};
