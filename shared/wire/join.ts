/** What a new node posts to /join, and what it gets. */
import { z } from 'zod';

export const joinRequestSchema = z.strictObject({
  token: z.string().max(256),
  csr: z.string().max(16_384),
  /** Default: what the token grants. */
  role: z.enum(['worker', 'manager']).optional(),
  hostname: z.string().max(253),
  /** It was this node, whose key the request is of, and wants to be it again. */
  nodeId: z.string().max(64).exactOptional(),
});
export type JoinRequest = z.output<typeof joinRequestSchema>;

export const joinResponseSchema = z.strictObject({
  nodeId: z.string(),
  certificate: z.string(),
  ca: z.string(),
});
export type JoinResponse = z.output<typeof joinResponseSchema>;

export const joinErrorSchema = z.strictObject({ message: z.string() });
