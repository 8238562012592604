/** What a new node or manager posts to /join, and what it gets. */
import { z } from 'zod';

export const joinRequestSchema = z.strictObject({
  token: z.string().max(256),
  csr: z.string().max(16_384),
  /** Default: what the token grants. */
  role: z.enum(['worker', 'manager']).optional(),
  hostname: z.string().max(253),
  /** It was this node, whose key the request is of, and wants to be it again. */
  nodeId: z.string().max(64).exactOptional(),
  /** It becomes a manager, not a node: where others will reach it. */
  manager: z
    .strictObject({
      /** host:port */
      address: z.string().max(300),
      /** Of its etcd, for the etcds of the others. */
      peerUrl: z.string().max(300),
    })
    .optional(),
});
export type JoinRequest = z.output<typeof joinRequestSchema>;

export const joinResponseSchema = z.strictObject({
  nodeId: z.string(),
  certificate: z.string(),
  ca: z.string(),
});
export type JoinResponse = z.output<typeof joinResponseSchema>;

const etcdRoot = z.strictObject({ caCertificatePem: z.string(), caKeyPem: z.string() });

/** What a new manager gets from /managers/enter, where its certificate says who it is. */
export const handoverSchema = z.strictObject({
  /** Base64, as in the managers' state directories. */
  dataKey: z.string(),
  etcdRoot,
  /** All members of etcd with this one, as etcd's --initial-cluster has them. */
  initialCluster: z.string(),
});
export type Handover = z.output<typeof handoverSchema>;

/** What a manager gets from another one's /managers/data-keys: as in their file. */
export const dataKeysSchema = z.strictObject({ dataKeys: z.string() });

/** What a manager gets from another one's /managers/etcd-roots. */
export const etcdRootsSchema = z.strictObject({ roots: z.array(etcdRoot) });

export const joinErrorSchema = z.strictObject({ message: z.string() });
