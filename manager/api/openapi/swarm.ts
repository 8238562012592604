import { z } from 'zod';
import { zSwarmSpec } from '../codec/swarm-codec.ts';
import { answers, jsonBody, operationsOf, parameters } from './operation.ts';

const operation = operationsOf('swarm');
const example = {
  Name: 'default',
  Labels: { team: 'web' },
  Orchestration: { TaskHistoryRetentionLimit: 5 },
  Dispatcher: { HeartbeatPeriod: 5_000_000_000 },
};

export const swarmOperations = [
  operation('get', '/swarm', 'The cluster, with the tokens that nodes join by', {
    answers: { 200: answers.object('The cluster') },
    errors: [503],
  }),
  operation('post', '/swarm/update', 'Change settings of the cluster, rotate the tokens that nodes join by', {
    query: {
      version: parameters.version,
      rotateWorkerToken: parameters.flag('A new token for workers'),
      rotateManagerToken: parameters.flag('A new token for managers'),
      rotateManagerUnlockKey: parameters.flag('A new key to unlock managers with, where they are locked'),
    },
    required: ['version'],
    body: jsonBody('SwarmSpec', zSwarmSpec, example),
    answers: { 200: answers.empty('Changed') },
    errors: [400, 500, 501, 503],
  }),
  ...(['init', 'join'] as const).map((verb) =>
    operation('post', `/swarm/${verb}`, `Refused: says what to do instead of docker swarm ${verb}`, {
      answers: {},
      errors: [503],
    }),
  ),
  operation('post', '/swarm/leave', 'Refused: says what to do instead of docker swarm leave', {
    query: { force: parameters.flag('Refused with other words') },
    answers: {},
    errors: [501, 503],
  }),
  operation(
    'get',
    '/swarm/unlockkey',
    'The key that managers are unlocked with; empty when they are not locked',
    {
      answers: {
        200: answers.json('The key', 'UnlockKeyResponse', z.object({ UnlockKey: z.string() })),
      },
      errors: [503],
    },
  ),
  operation('post', '/swarm/unlock', 'Refused: this manager is not locked', { answers: {}, errors: [409] }),
];
