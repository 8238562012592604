import { answers, operationsOf } from './operation.ts';

const operation = operationsOf('swarm');

export const swarmOperations = [
  operation('get', '/swarm', 'The cluster, with the tokens that nodes join by', {
    answers: { 200: answers.object('The cluster') },
    errors: [503],
  }),
  ...(['init', 'join', 'leave'] as const).map((verb) =>
    operation('post', `/swarm/${verb}`, `Refused: says what to do instead of docker swarm ${verb}`, {
      answers: {},
      errors: [503],
    }),
  ),
  operation('post', '/swarm/update', 'Not there yet: settings, autolock, rotation of join tokens', {
    answers: {},
    errors: [501],
  }),
  operation('get', '/swarm/unlockkey', 'Not there yet: autolock', { answers: {}, errors: [501] }),
  operation('post', '/swarm/unlock', 'Not there yet: autolock', { answers: {}, errors: [501] }),
];
