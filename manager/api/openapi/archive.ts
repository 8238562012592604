import { z } from 'zod';
import { answers, NODE_ERRORS, operationsOf, parameters, rawBody } from './operation.ts';

const operation = operationsOf('containers');
const TAR = 'application/x-tar';
const path = parameters.text('In the container, from its root');
const stat = 'The header X-Docker-Container-Path-Stat describes the path: JSON in base64.';
const zChanges = z.array(z.object({ Path: z.string(), Kind: z.number().int().min(0).max(2) }));

export const archiveOperations = [
  operation('head', '/containers/:id/archive', 'Describe a path in a container', {
    description: stat,
    query: { path },
    required: ['path'],
    answers: { 200: answers.empty('It is there') },
    errors: NODE_ERRORS,
  }),
  operation('get', '/containers/:id/archive', 'Copy from a container', {
    description: stat,
    query: { path },
    required: ['path'],
    answers: { 200: answers.raw('A tar archive', TAR) },
    errors: NODE_ERRORS,
    endless: true,
  }),
  operation('put', '/containers/:id/archive', 'Copy into a container', {
    description: 'The archive is plain or compressed by gzip, bzip2, xz or zstd.',
    query: {
      path: parameters.text('A directory in the container, from its root'),
      noOverwriteDirNonDir: parameters.flag('No directory is replaced by something else, nor the other way'),
      copyUIDGID: parameters.flag('All belongs to the container’s user, unless that is root'),
    },
    required: ['path'],
    body: rawBody(TAR),
    answers: { 200: answers.empty('All is there') },
    errors: [403, ...NODE_ERRORS],
  }),
  operation('get', '/containers/:id/export', 'A container’s root, without what is mounted in it', {
    answers: { 200: answers.raw('A tar archive', 'application/octet-stream') },
    errors: NODE_ERRORS,
    endless: true,
  }),
  operation('get', '/containers/:id/changes', 'What a container changed of its image', {
    description: 'Kind 0: changed, 1: added, 2: deleted.',
    answers: { 200: answers.json('Changes, by path', 'ContainerChanges', zChanges) },
    errors: NODE_ERRORS,
  }),
];
