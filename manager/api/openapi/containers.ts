import { z } from 'zod';
import { zDimension } from '../http/query.ts';
import { zCondition, zStopSeconds } from '../resources/container-actions.ts';
import { CONTAINER_FILTERS } from '../resources/container-filters.ts';
import { LOG_QUERY, logAnswers } from './logs.ts';
import { answers, NODE_ERRORS, operationsOf, parameters } from './operation.ts';

const operation = operationsOf('containers');
const signal = parameters.text('Name or number of a signal');
const size = parameters.flag('With the bytes that it wrote, and those of its whole root');
const dimension = zDimension.describe('Characters');
export const STOP_QUERY = {
  t: zStopSeconds.describe('Seconds before it is killed; -1: never'),
  signal,
} as const;
const ATTACH_QUERY = {
  logs: parameters.flag('What was written so far'),
  stream: parameters.flag('What is written from now on'),
  stdin: parameters.flag('The client’s input goes to the container'),
  stdout: parameters.flag('Standard output'),
  stderr: parameters.flag('Standard error'),
  detachKeys: parameters.text('Keys that end it: ctrl-p,ctrl-q. Of terminals only'),
} as const;

export const containersOperations = [
  operation('get', '/containers/json', 'List containers of all nodes', {
    description: 'Nodes that do not answer in time are named in the header X-Shoal-Nodes-Missing.',
    query: {
      filters: parameters.filters(CONTAINER_FILTERS),
      all: parameters.flag('Also those that do not run'),
      limit: parameters.whole('So many, the newest first'),
      size,
    },
    answers: { 200: answers.list('Containers') },
    errors: [400, 404],
  }),
  operation('get', '/containers/:id/json', 'Inspect a container', {
    query: { size },
    answers: { 200: answers.object('The container') },
    errors: [400, 404, 503],
  }),
  operation('get', '/containers/:id/logs', 'Logs of a container', {
    query: LOG_QUERY,
    answers: logAnswers,
    errors: [400, 404, 503],
    endless: true,
  }),
  operation('post', '/containers/:id/attach', 'The standard streams of a container', {
    description:
      'With the headers `Connection: Upgrade` and `Upgrade: tcp` the connection becomes the container’s (101).',
    query: ATTACH_QUERY,
    answers: {
      101: answers.empty('The connection is the container’s'),
      200: answers.raw('Its output, in frames without a terminal', 'application/vnd.docker.raw-stream'),
    },
    errors: NODE_ERRORS,
    endless: true,
  }),
  operation('get', '/containers/:id/attach/ws', 'The standard streams of a container, over a WebSocket', {
    query: ATTACH_QUERY,
    answers: { 101: answers.empty('The connection is a WebSocket') },
    errors: NODE_ERRORS,
    endless: true,
  }),
  operation('post', '/containers/:id/resize', 'Give a container’s terminal another size', {
    query: { h: dimension, w: dimension },
    required: ['h', 'w'],
    answers: { 200: answers.empty('Done') },
    errors: NODE_ERRORS,
  }),
  operation('get', '/containers/:id/top', 'Processes of a container', {
    query: { ps_args: z.string().describe('As ps(1) has them: -ef, aux, or -o with names of columns') },
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
  operation('post', '/containers/:id/stop', 'Stop a container; a service replaces its own', {
    query: STOP_QUERY,
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
    query: { condition: zCondition.describe('The default is not-running; removed is for single ones') },
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
