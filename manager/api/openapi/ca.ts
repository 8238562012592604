import { z } from 'zod';
import { zRotateRequest } from '../resources/ca.ts';
import { answers, jsonBody, operationsOf } from './operation.ts';

const operation = operationsOf('swarm');

const zRoot = z.object({
  Certificate: z.string().describe('PEM'),
  Digest: z.string(),
  Subject: z.string(),
  EndsAt: z.string(),
});
const zNode = z.object({ ID: z.string(), Hostname: z.string(), State: z.string() });
const zAuthority = zRoot.extend({
  NodeCertExpirySeconds: z.number(),
  Rotation: zRoot
    .extend({
      StartedAt: z.string(),
      SkipDead: z.boolean(),
      Moved: z.number().describe('Nodes that have a certificate of the next root'),
      Waiting: z.array(zNode),
      Skipped: z.array(zNode),
    })
    .optional(),
  Etcd: z
    .object({
      Digest: z.string(),
      RotatedAt: z.string().optional(),
      Rotation: z
        .object({
          Digest: z.string(),
          StartedAt: z.string(),
          Waiting: z.array(zNode).describe('Managers that have not done all, and what they have done'),
        })
        .optional(),
    })
    .optional()
    .describe("The authority between the managers' etcds; absent where etcd is not their own"),
});

export const caOperations = [
  operation('get', '/ca', 'The certificate authority of the cluster, and how far its rotation is', {
    answers: { 200: answers.json('The authority', 'CertificateAuthority', zAuthority) },
    errors: [503],
  }),
  operation(
    'post',
    '/ca/rotate',
    'Begin the rotation of the CA, or let the one that goes on skip nodes that are down',
    {
      body: jsonBody('RotateCA', zRotateRequest, { SkipDead: false }),
      answers: { 202: answers.empty('Begun; it ends when all nodes have moved') },
      errors: [400, 409, 501, 503],
    },
  ),
  operation('post', '/ca/rotate-etcd', "Begin the rotation of etcd's own authority", {
    answers: { 202: answers.empty('Begun; it ends when all managers have done their steps') },
    errors: [409, 501, 503],
  }),
];
