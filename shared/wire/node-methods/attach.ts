import { z } from 'zod';
import type { AttachMethods, AttachParams, AttachStreams } from '../../model/node-methods/index.ts';
import { conforms } from '../conforms.ts';
import { flag, text } from '../service-schema.ts';
import { nothing, ofContainer, size } from './common.ts';
import type { MethodSchemas, StreamSchemas } from './schema-table.ts';

const attachParams = conforms<AttachParams>()(
  z.strictObject({
    containerId: text,
    stdin: flag,
    stdout: flag,
    stderr: flag,
    logs: flag,
    stream: flag,
  }),
);

export const attachMethods: MethodSchemas<keyof AttachMethods> = {
  'container.resize': { params: ofContainer.extend(size.shape), result: nothing },
};

export const attachStreams: StreamSchemas<keyof AttachStreams> = { 'container.attach': attachParams };
