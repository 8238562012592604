import { z } from 'zod';
import { zRevisionText } from '../resources/service-revisions.ts';
import { answers, operationsOf, parameters, zObject } from './operation.ts';

const operation = operationsOf('services');

const zChange = z.object({
  Path: z.string().describe('In the ServiceSpec: TaskTemplate.ContainerSpec.Image'),
  From: z.unknown().optional(),
  To: z.unknown().optional(),
});
const zRevision = z.object({
  Revision: z.number(),
  CreatedAt: z.string(),
  Current: z.boolean(),
  Previous: z.boolean(),
  RollbackOf: z.number().optional(),
  Automatic: z.boolean().optional(),
});
const zListed = zRevision.extend({ Changes: z.array(zChange).optional() });
const zRevisionSpec = zRevision.extend({ Spec: zObject, DependsOn: z.array(zObject).optional() });
const zDiff = z.object({ From: z.number(), To: z.number(), Changes: z.array(zChange) });

export const serviceRevisionsOperations = [
  operation('get', '/services/:id/revisions', 'Revisions of a service, the newest first', {
    answers: { 200: answers.json('Revisions', 'ServiceRevisions', z.array(zListed)) },
    errors: [400, 404],
  }),
  operation('get', '/services/:id/revisions/diff', 'What is different between two revisions', {
    query: {
      from: zRevisionText.describe('The default is the one before `to`'),
      to: zRevisionText.describe('The default is the current one'),
    },
    answers: { 200: answers.json('The differences', 'ServiceRevisionDiff', zDiff) },
    errors: [400, 404],
  }),
  operation('get', '/services/:id/revisions/:revision', 'One revision, with its spec', {
    answers: { 200: answers.json('The revision', 'ServiceRevision', zRevisionSpec) },
    errors: [400, 404],
  }),
  operation('post', '/services/:id/rollback', 'Make a former revision current, as a new one', {
    query: {
      version: parameters.version,
      revision: zRevisionText.describe('The default is the one before'),
    },
    required: ['version'],
    answers: {
      200: answers.json('Rolled back', 'ServiceRollback', z.object({ Revision: z.number() })),
    },
    errors: [400, 404, 500, 503],
  }),
  operation('get', '/services/:id/explain', 'Why a service is as it is', {
    description: 'What its pending tasks wait for and what would help, what failed, and its last update.',
    answers: { 200: answers.object('The explanation') },
    errors: [400, 404, 503],
  }),
];
