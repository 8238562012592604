import { answers, operationsOf } from './operation.ts';

const operation = operationsOf('managers');

export const managersOperations = [
  operation('get', '/managers', 'List managers', {
    description: 'Shoal’s own: who is reachable, who leads, and the node that shares the machine.',
    answers: { 200: answers.list('Managers') },
    errors: [503],
  }),
  operation('delete', '/managers/:id', 'Remove a manager', {
    description: 'By id, host name, address or node. Refused when the rest would have no quorum.',
    answers: { 204: answers.empty('Removed') },
    errors: [404, 409, 503],
  }),
];
