import { zNodeSpec } from '../codec/node-codec.ts';
import { FILTERS } from '../resources/nodes.ts';
import { answers, jsonBody, operationsOf, parameters } from './operation.ts';

const operation = operationsOf('nodes');
const example = { Role: 'worker', Availability: 'drain', Labels: { disk: 'ssd' } };

export const nodesOperations = [
  operation('get', '/nodes', 'List nodes', {
    query: { filters: parameters.filters(FILTERS) },
    answers: { 200: answers.list('Nodes') },
    errors: [400],
  }),
  operation('get', '/nodes/:id', 'Inspect a node', {
    description: 'By id, host name, a prefix of the id that fits one node only, or `self`.',
    answers: { 200: answers.object('The node') },
    errors: [400, 404],
  }),
  operation('post', '/nodes/:id/update', 'Change availability and labels', {
    query: { version: parameters.version },
    required: ['version'],
    body: jsonBody('NodeSpec', zNodeSpec, example),
    answers: { 200: answers.empty('Changed') },
    errors: [400, 404, 500, 501, 503],
  }),
  operation('post', '/nodes/:id/await', 'Its agent is about to be restarted', {
    description:
      'For so long the node is not called down for having no session, so its tasks stay. Its containers go on without an agent.',
    query: { seconds: parameters.whole('At most 3600; 0 takes it back') },
    required: ['seconds'],
    answers: { 200: answers.empty('Known') },
    errors: [400, 404, 409, 503],
  }),
  operation('delete', '/nodes/:id', 'Remove a node that is down', {
    query: { force: parameters.flag('Also when it is not down') },
    answers: { 200: answers.empty('Removed') },
    errors: [400, 404, 409, 503],
  }),
];
