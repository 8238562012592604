import { z } from 'zod';
import { zSpec } from '../codec/file-codec.ts';
import { FILTERS } from '../resources/files.ts';
import { answers, jsonBody, type Operation, operationsOf, parameters } from './operation.ts';

const example = { Name: 'motd', Data: 'aGVsbG8K', Labels: { team: 'web' } };
const zCreated = z.object({ ID: z.string() });

/** /secrets and /configs. */
export const filesOperations: Operation[] = (['secret', 'config'] as const).flatMap((kind) => {
  const operation = operationsOf(`${kind}s`);
  const body = jsonBody('FileSpec', zSpec, example);
  return [
    operation('get', `/${kind}s`, `List ${kind}s`, {
      query: { filters: parameters.filters(FILTERS) },
      answers: { 200: answers.list(`The ${kind}s`) },
      errors: [400],
    }),
    operation('post', `/${kind}s/create`, `Create a ${kind}`, {
      body,
      answers: { 201: answers.json('Created', 'FileCreateResponse', zCreated) },
      errors: [400, 409, 501, 503],
    }),
    operation('get', `/${kind}s/:id`, `Inspect a ${kind}`, {
      ...(kind === 'secret' ? { description: 'Its data is never shown.' } : {}),
      answers: { 200: answers.object(`The ${kind}`) },
      errors: [400, 404],
    }),
    operation('post', `/${kind}s/:id/update`, `Change the labels of a ${kind}`, {
      query: { version: parameters.version },
      required: ['version'],
      body,
      answers: { 200: answers.empty('Changed') },
      errors: [400, 404, 501, 503],
    }),
    operation('delete', `/${kind}s/:id`, `Remove a ${kind}`, {
      answers: { 204: answers.empty('Removed') },
      errors: [400, 404, 503],
    }),
  ];
});
