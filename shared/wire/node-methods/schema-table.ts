import type { z } from 'zod';
import type { NodeMethods, NodeStreams } from '../../model/node-methods/index.ts';

/** Params and result of each method of a subject; a method without an entry does not compile. */
export type MethodSchemas<M extends keyof NodeMethods> = {
  readonly [K in M]: {
    readonly params: z.ZodType<NodeMethods[K]['params']>;
    readonly result: z.ZodType<NodeMethods[K]['result']>;
  };
};

/** Params of each stream of a subject. */
export type StreamSchemas<M extends keyof NodeStreams> = { readonly [K in M]: z.ZodType<NodeStreams[K]> };
