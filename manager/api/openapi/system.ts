import { z } from 'zod';
import { zType } from '../resources/system-df.ts';
import { answers, operationsOf, zObject } from './operation.ts';

const operation = operationsOf('system');

const zVersion = z.looseObject({
  Version: z.string(),
  ApiVersion: z.string(),
  MinAPIVersion: z.string(),
  Os: z.string(),
  Arch: z.string(),
  KernelVersion: z.string(),
  Platform: z.object({ Name: z.string() }),
  Components: z.array(
    z.object({ Name: z.string(), Version: z.string(), Details: z.record(z.string(), z.string()) }),
  ),
});

const zInfo = z.looseObject({
  ID: z.string(),
  Name: z.string(),
  Containers: z.number(),
  ContainersRunning: z.number(),
  ContainersStopped: z.number(),
  NCPU: z.number(),
  MemTotal: z.number(),
  ServerVersion: z.string(),
  Swarm: z.looseObject({
    NodeID: z.string(),
    LocalNodeState: z.string(),
    ControlAvailable: z.boolean(),
    Nodes: z.number(),
    Managers: z.number(),
  }),
});

/** Those that were asked for. */
const zUsage = z.object({
  LayersSize: z.number().optional(),
  Images: z.array(zObject).optional(),
  Containers: z.array(zObject).optional(),
  Volumes: z.array(zObject).optional(),
  BuildCache: z.array(zObject).optional(),
  BuilderSize: z.number().optional(),
});

export const systemOperations = [
  operation('get', '/_ping', 'Is the manager there, and which API does it speak (also HEAD)', {
    answers: { 200: answers.raw('OK; the headers say the rest', 'text/plain; charset=utf-8') },
    errors: [],
  }),
  operation('get', '/version', 'Versions of Shoal and of the API', {
    answers: { 200: answers.json('Versions', 'SystemVersion', zVersion) },
    errors: [],
  }),
  operation('post', '/backup', 'The cluster in one file; it holds the keys of the cluster', {
    answers: { 200: answers.raw('The backup', 'application/octet-stream') },
    errors: [501, 503],
  }),
  operation('get', '/info', 'The cluster in numbers', {
    answers: { 200: answers.json('The cluster', 'SystemInfo', zInfo) },
    errors: [],
  }),
  operation('get', '/system/df', 'What images, containers and volumes of all nodes take up', {
    query: { type: zType.describe('Of these only; may be repeated') },
    answers: { 200: answers.json('Sizes; -1: not counted in time', 'SystemUsage', zUsage) },
    errors: [400],
  }),
  operation('get', '/openapi.json', 'This document', {
    answers: { 200: answers.object('An OpenAPI 3.1 document') },
    errors: [],
  }),
  operation('get', '/metrics', 'Metrics in the text format of Prometheus', {
    answers: { 200: answers.raw('Series', 'text/plain; version=0.0.4; charset=utf-8') },
    errors: [404],
  }),
];
