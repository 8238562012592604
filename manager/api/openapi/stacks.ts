import { z } from 'zod';
import { zBody, zRevision } from '../resources/stacks.ts';
import { type Answer, answers, type Body, jsonBody, operationsOf, parameters } from './operation.ts';
import { REGISTRY_AUTH } from './operation.ts';

const operation = operationsOf('stacks');

const zFinding = z.object({
  message: z.string(),
  file: z.string().optional(),
  line: z.number().optional(),
  column: z.number().optional(),
  key: z.string().optional(),
});
const zTouched = z.array(
  z.object({
    id: z.string(),
    name: z.string(),
    action: z.enum(['created', 'updated', 'unchanged', 'removed']),
  }),
);
const zDeployment = z.object({
  warnings: z.array(zFinding),
  services: zTouched,
  networks: zTouched,
  secrets: zTouched,
  configs: zTouched,
  revision: z.number().optional(),
});
const zMember = z.object({ id: z.string(), name: z.string() });
const zStack = z.object({
  name: z.string(),
  services: z.array(zMember),
  networks: z.array(zMember),
  secrets: z.array(zMember),
  configs: z.array(zMember),
  revision: z.number().optional(),
  createdAt: z.string().optional(),
  updatedAt: z.string().optional(),
});
const zStackDetails = zStack.extend({ compose: zBody.shape.compose.optional() });
const zRevisionSummary = z.object({
  revision: z.number(),
  createdAt: z.string(),
  composeFiles: z.array(z.string()),
  otherFiles: z.array(z.string()),
  variables: z.array(z.string()),
  profiles: z.array(z.string()),
});
const zRevisionDetails = zRevisionSummary.extend({
  compose: zBody.shape.compose,
  files: z.record(z.string(), z.string().nullable()),
});
const zDiffEntries = z.array(z.looseObject({ name: z.string(), action: z.string() }));
const zDiff = z.looseObject({
  services: zDiffEntries,
  networks: zDiffEntries,
  warnings: z.array(zFinding),
});

const body: Body = {
  ...jsonBody('StackSource', zBody, {
    compose: 'services:\n  web:\n    image: nginx:${TAG}\n',
    variables: { TAG: '1.27' },
  }),
  otherTypes: { 'application/yaml': z.string().describe('One compose file') },
};
const deployment: Answer = answers.json('What was done', 'StackDeployment', zDeployment);

export const stacksOperations = [
  operation('get', '/stacks', 'List stacks', {
    answers: { 200: answers.json('Stacks', 'StackList', z.array(zStack)) },
    errors: [],
  }),
  operation('get', '/stacks/:name', 'Inspect a stack', {
    answers: { 200: answers.json('The stack', 'Stack', zStackDetails) },
    errors: [400, 404],
  }),
  operation('put', '/stacks/:name', 'Deploy a compose file', {
    query: { prune: parameters.flag('Remove what the stack has and the file has not') },
    headers: REGISTRY_AUTH,
    body,
    answers: { 200: deployment },
    errors: [400, 403, 404, 409, 500, 501, 503],
  }),
  operation('delete', '/stacks/:name', 'Remove a stack', {
    description: 'Waits until its services are gone, for two minutes at most.',
    answers: { 200: deployment },
    errors: [400, 403, 404, 409, 503],
  }),
  operation('post', '/stacks/:name/diff', 'What a deployment would change', {
    body,
    answers: { 200: answers.json('The differences', 'StackDiff', zDiff) },
    errors: [400, 501],
  }),
  operation('get', '/stacks/:name/revisions', 'What was deployed, the newest first', {
    answers: { 200: answers.json('Revisions', 'StackRevisions', z.array(zRevisionSummary)) },
    errors: [400, 404],
  }),
  operation('get', '/stacks/:name/revisions/:revision', 'One revision, with its files', {
    answers: { 200: answers.json('The revision', 'StackRevision', zRevisionDetails) },
    errors: [400, 404],
  }),
  operation('post', '/stacks/:name/rollback', 'Deploy a former revision again', {
    query: { revision: zRevision.describe('The default is the one before the last') },
    answers: { 200: deployment },
    errors: [400, 403, 404, 409, 500, 501, 503],
  }),
];
