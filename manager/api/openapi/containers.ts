import { z } from 'zod';
import { PS_FORMATS, zCondition, zStopSeconds } from '../resources/container-actions.ts';
import { FILTERS } from '../resources/containers.ts';
import { LOG_QUERY, logAnswers } from './logs.ts';
import { answers, type ErrorStatus, operationsOf, parameters } from './operation.ts';

const operation = operationsOf('containers');
/** Of whatever goes to the node that holds the container. */
const NODE_ERRORS: readonly ErrorStatus[] = [400, 404, 409, 500, 501, 503];
const signal = parameters.text('Name or number of a signal');

export const containersOperations = [
  operation('get', '/containers/json', 'List containers of all nodes', {
    description: 'Nodes that do not answer in time are named in the header X-Shoal-Nodes-Missing.',
    query: {
      filters: parameters.filters(FILTERS),
      all: parameters.flag('Also those that do not run'),
      limit: parameters.whole('So many, the newest first'),
    },
    answers: { 200: answers.list('Containers') },
    errors: [400],
  }),
  operation('get', '/containers/:id/json', 'Inspect a container', {
    answers: { 200: answers.object('The container') },
    errors: [400, 404, 503],
  }),
  operation('get', '/containers/:id/logs', 'Logs of a container', {
    query: LOG_QUERY,
    answers: logAnswers,
    errors: [400, 404, 503],
    endless: true,
  }),
  operation('get', '/containers/:id/top', 'Processes of a container', {
    query: { ps_args: z.enum(Object.keys(PS_FORMATS)).describe('As ps(1) has them') },
    answers: {
      200: answers.json(
        'Processes',
        'ContainerTopResponse',
        z.object({ Titles: z.array(z.string()), Processes: z.array(z.array(z.string())) }),
      ),
    },
    errors: NODE_ERRORS,
  }),
  operation('get', '/containers/:id/stats', 'What a container uses', {
    query: {
      stream: parameters.flag('Every second, until the container ends; the default'),
      'one-shot': parameters.flag('Without a second look for the share of the processors'),
    },
    answers: { 200: answers.object('An object a line') },
    errors: NODE_ERRORS,
    endless: true,
  }),
  operation('post', '/containers/:id/kill', 'Send a signal to a container', {
    query: { signal },
    answers: { 204: answers.empty('Sent') },
    errors: NODE_ERRORS,
  }),
  operation('post', '/containers/:id/stop', 'Stop a container; its service replaces it', {
    query: { t: zStopSeconds.describe('Seconds before it is killed; -1: never'), signal },
    answers: { 204: answers.empty('Stopped') },
    errors: [304, ...NODE_ERRORS],
  }),
  ...(['pause', 'unpause'] as const).map((verb) =>
    operation('post', `/containers/:id/${verb}`, verb === 'pause' ? 'Hold a container' : 'Let it go on', {
      answers: { 204: answers.empty('Done') },
      errors: NODE_ERRORS,
    }),
  ),
  operation('post', '/containers/:id/wait', 'Wait for the end of a container', {
    query: { condition: zCondition.describe('The default is not-running; removed is refused') },
    answers: {
      200: answers.json(
        'How it ended',
        'ContainerWaitResponse',
        z.object({ StatusCode: z.number(), Error: z.object({ Message: z.string() }).optional() }),
      ),
    },
    errors: NODE_ERRORS,
    endless: true,
  }),
];
