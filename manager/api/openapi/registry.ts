/** Asked by a node. */
import { z } from 'zod';
import { zAuth } from '../resources/registry.ts';
import { answers, jsonBody, operationsOf, parameters } from './operation.ts';
import { REGISTRY_AUTH, REGISTRY_ERRORS } from './operation.ts';

const operation = operationsOf('registries');
const example = { username: 'ann', password: 'secret', serveraddress: 'registry.example.com' };

export const registryOperations = [
  operation('get', '/distribution/*ref/json', 'What a registry has under a name', {
    query: { node: parameters.node },
    headers: REGISTRY_AUTH,
    answers: { 200: answers.object('Descriptor and platforms') },
    errors: REGISTRY_ERRORS,
  }),
  operation('post', '/auth', 'Check credentials of a registry', {
    query: { node: parameters.node },
    body: jsonBody('AuthConfig', zAuth, example),
    answers: {
      200: answers.json(
        'The registry takes them',
        'AuthResponse',
        z.object({ Status: z.string(), IdentityToken: z.string() }),
      ),
    },
    errors: REGISTRY_ERRORS,
  }),
];
