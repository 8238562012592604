/** Single containers, from docker create to docker rm. Of a service's container its service decides: 409. */
import { z } from 'zod';
import { zCreate } from '../codec/container-create-schema.ts';
import { zUpdate } from '../resources/container-update.ts';
import { PRUNE_FILTERS } from '../resources/container-removal.ts';
import { STOP_QUERY } from './containers.ts';
import { answers, jsonBody, NODE_ERRORS, operationsOf, parameters } from './operation.ts';

const operation = operationsOf('containers');
const example = {
  Image: 'busybox',
  Cmd: ['sleep', '60'],
  Env: ['A=b'],
  Labels: { team: 'web' },
  HostConfig: { Memory: 67108864, RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 } },
};
const zCreated = z.object({ Id: z.string(), Warnings: z.array(z.string()) });
const zPruned = z.object({ ContainersDeleted: z.array(z.string()).nullable(), SpaceReclaimed: z.number() });

export const containerLifecycleOperations = [
  operation('post', '/containers/create', 'Create a container on a node that has its image', {
    query: {
      name: parameters.text('Its name; without one it gets a random one'),
      platform: parameters.text('linux/amd64: only nodes of that kind'),
    },
    body: jsonBody('ContainerCreateRequest', zCreate, example),
    answers: { 201: answers.json('Created', 'ContainerCreateResponse', zCreated) },
    errors: [400, 403, 404, 409, 501, 503],
  }),
  operation('post', '/containers/prune', 'Remove containers that do not run', {
    query: { filters: parameters.filters(PRUNE_FILTERS) },
    answers: { 200: answers.json('What went', 'ContainerPruneResponse', zPruned) },
    errors: [400, 503],
  }),
  operation('post', '/containers/:id/start', 'Start a container', {
    answers: { 204: answers.empty('It runs') },
    errors: [304, ...NODE_ERRORS],
  }),
  operation('post', '/containers/:id/restart', 'Stop a container and start it', {
    query: STOP_QUERY,
    answers: { 204: answers.empty('It runs') },
    errors: NODE_ERRORS,
  }),
  operation('post', '/containers/:id/rename', 'Give a container another name', {
    query: { name: parameters.text('The new name') },
    required: ['name'],
    answers: { 204: answers.empty('Renamed') },
    errors: NODE_ERRORS,
  }),
  operation('post', '/containers/:id/update', 'Change a container’s restart policy', {
    description: 'Limits of resources can not be changed: 501.',
    body: jsonBody('ContainerUpdateRequest', zUpdate, { RestartPolicy: { Name: 'always' } }),
    answers: {
      200: answers.json(
        'Changed',
        'ContainerUpdateResponse',
        z.object({ Warnings: z.array(z.string()).nullable() }),
      ),
    },
    errors: NODE_ERRORS,
  }),
  operation('delete', '/containers/:id', 'Remove a container', {
    query: {
      force: parameters.flag('Also when it runs'),
      v: parameters.flag('With its anonymous volumes'),
      link: parameters.flag('Refused: there are no links'),
    },
    answers: { 204: answers.empty('Removed') },
    errors: NODE_ERRORS,
  }),
];
