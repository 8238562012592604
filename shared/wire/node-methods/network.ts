import { z } from 'zod';
import type { NetworkMethods } from '../../model/node-methods/index.ts';
import { text } from '../service-schema.ts';
import { nothing } from './common.ts';
import type { MethodSchemas } from './schema-table.ts';

const address = z.strictObject({ network: text, address: text });

export const networkMethods: MethodSchemas<keyof NetworkMethods> = {
  'network.settled': {
    params: z.strictObject({ taskId: text, addresses: z.array(address) }),
    result: nothing,
  },
};
