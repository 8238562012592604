import { z } from 'zod';
import { zNewJoinToken } from '../resources/join-tokens.ts';
import { answers, jsonBody, operationsOf } from './operation.ts';

const operation = operationsOf('swarm');

const zJoinToken = z.object({
  ID: z.string(),
  Role: z.enum(['worker', 'manager']),
  CreatedAt: z.string(),
  ExpiresAt: z.string().optional(),
  RevokedAt: z.string().optional(),
  State: z.enum(['active', 'expired', 'revoked']),
});

export const joinTokensOperations = [
  operation(
    'get',
    '/join-tokens',
    'Join tokens: the standing ones, those that were made, and for 30 days those that ended',
    {
      answers: { 200: answers.json('Without the tokens themselves', 'JoinTokens', z.array(zJoinToken)) },
      errors: [503],
    },
  ),
  operation(
    'post',
    '/join-tokens',
    'Make a token by which machines join, with an end or until it is revoked',
    {
      body: jsonBody('NewJoinToken', zNewJoinToken, { Role: 'worker', ExpiresInSeconds: 3600 }),
      answers: {
        201: answers.json(
          'The only time that it is shown',
          'JoinToken',
          zJoinToken.extend({ Token: z.string() }),
        ),
      },
      errors: [400, 409, 501, 503],
    },
  ),
  operation('delete', '/join-tokens/:id', 'Revoke a token: it lets nobody in from then on', {
    answers: { 200: answers.empty('Revoked') },
    errors: [400, 404, 503],
  }),
];
