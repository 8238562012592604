import { z } from 'zod';
import type { ExecInfo, ExecMethods, ExecSpec, ExecStreams } from '../../model/node-methods/index.ts';
import { conforms } from '../conforms.ts';
import { count, flag, text } from '../service-schema.ts';
import { nothing, size } from './common.ts';
import type { MethodSchemas, StreamSchemas } from './schema-table.ts';

const execSpec = conforms<ExecSpec>()(
  z.strictObject({
    execId: text,
    containerId: text,
    args: z.array(text),
    env: z.array(text),
    user: text,
    workingDir: text,
    tty: flag,
    attachStdin: flag,
    attachStdout: flag,
    attachStderr: flag,
    privileged: z.literal(true).exactOptional(),
  }),
);

const execInfo = conforms<ExecInfo>()(
  z.strictObject({
    spec: execSpec,
    state: z.enum(['created', 'running', 'exited']),
    pid: count,
    exitCode: z.number().int().exactOptional(),
  }),
);

const ofExec = z.strictObject({ execId: text });
const execStart = ofExec.extend({ size: size.exactOptional() });

export const execMethods: MethodSchemas<keyof ExecMethods> = {
  'exec.create': { params: execSpec, result: nothing },
  'exec.inspect': { params: ofExec, result: execInfo },
  'exec.wait': { params: ofExec, result: z.strictObject({ exitCode: z.number().int() }) },
  'exec.resize': { params: ofExec.extend(size.shape), result: nothing },
  'exec.start': { params: execStart, result: nothing },
};

export const execStreams: StreamSchemas<keyof ExecStreams> = { 'exec.attach': execStart };
