import { z } from 'zod';
import { answers, operationsOf } from './operation.ts';

const operation = operationsOf('swarm');

const zDataKey = z.object({
  KeyID: z.string().describe('The start of its digest'),
  RotatedAt: z.string().optional(),
  Rotation: z
    .object({
      KeyID: z.string(),
      StartedAt: z.string(),
      Waiting: z
        .array(z.object({ ID: z.string(), Hostname: z.string() }))
        .describe('Managers that have not the next key yet'),
      Left: z.number().describe('Secrets and configs that are not sealed with it yet'),
    })
    .optional(),
});

export const dataKeyOperations = [
  operation(
    'get',
    '/data-key',
    'The key that secrets and configs are sealed with, and how far its rotation is',
    {
      answers: { 200: answers.json('The key', 'DataKey', zDataKey) },
      errors: [503],
    },
  ),
  operation('post', '/data-key/rotate', 'Begin the rotation of the data key', {
    answers: { 202: answers.empty('Begun; it ends when all is sealed anew') },
    errors: [409, 503],
  }),
];
