import { z } from 'zod';
import { zServiceSpec } from '../codec/service-spec-codec.ts';
import { FILTERS, zRegistryAuthFrom, zRollback } from '../resources/services.ts';
import { answers, jsonBody, operationsOf, parameters, REGISTRY_AUTH } from './operation.ts';
import { LOG_QUERY, logAnswers } from './logs.ts';

const operation = operationsOf('services');
const body = jsonBody('ServiceSpec', zServiceSpec, {
  Name: 'web',
  TaskTemplate: { ContainerSpec: { Image: 'nginx:1.27' }, RestartPolicy: { Condition: 'any' } },
  Mode: { Replicated: { Replicas: 3 } },
  EndpointSpec: { Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort: 8080 }] },
});

const zCreated = z.object({ ID: z.string(), Warnings: z.array(z.string()).optional() });
const zUpdated = z.object({ Warnings: z.array(z.string()).nullable() });

export const servicesOperations = [
  operation('get', '/services', 'List services', {
    query: {
      filters: parameters.filters(FILTERS),
      status: parameters.flag('With ServiceStatus: how many tasks run and are desired'),
    },
    answers: { 200: answers.list('Services') },
    errors: [400],
  }),
  operation('post', '/services/create', 'Create a service', {
    headers: REGISTRY_AUTH,
    body,
    answers: { 201: answers.json('Created', 'ServiceCreateResponse', zCreated) },
    errors: [400, 403, 404, 409, 501, 503],
  }),
  operation('get', '/services/:id', 'Inspect a service', {
    query: { insertDefaults: parameters.flag('Has no effect: defaults are always filled in') },
    answers: { 200: answers.object('The service') },
    errors: [400, 404],
  }),
  operation('post', '/services/:id/update', 'Update a service, or roll it back', {
    query: {
      version: parameters.version,
      rollback: zRollback.describe('previous: to the spec before; the body is not looked at'),
      registryAuthFrom: zRegistryAuthFrom.describe('Where credentials come from without X-Registry-Auth'),
    },
    required: ['version'],
    headers: REGISTRY_AUTH,
    body,
    answers: { 200: answers.json('Updated', 'ServiceUpdateResponse', zUpdated) },
    errors: [400, 403, 404, 409, 500, 501, 503],
  }),
  operation('delete', '/services/:id', 'Remove a service', {
    answers: { 200: answers.empty('Removed') },
    errors: [400, 404, 503],
  }),
  operation('get', '/services/:id/logs', 'Logs of all tasks of a service', {
    query: LOG_QUERY,
    answers: logAnswers,
    errors: [400, 404],
    endless: true,
  }),
];
