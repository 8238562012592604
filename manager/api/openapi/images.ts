/** A name or an id means the image on every node that has it. */
import { z } from 'zod';
import { LIST_FILTERS, PRUNE_FILTERS } from '../resources/images.ts';
import { JSON_TYPE, REGISTRY_AUTH } from './operation.ts';
import { answers, NODE_ERRORS, operationsOf, parameters, rawBody, REGISTRY_ERRORS } from './operation.ts';

const operation = operationsOf('images');
const TAR = 'application/x-tar';
const node = parameters.node;
const PROGRESS = {
  200: answers.raw(
    'What is done, an object a line; a failure after the first line is the last one',
    JSON_TYPE,
  ),
} as const;
const archive = { 200: answers.raw('A tar archive, as docker load takes it', TAR) } as const;
const zRemoved = z.array(z.object({ Untagged: z.string().optional(), Deleted: z.string().optional() }));

export const imagesOperations = [
  operation('get', '/images/json', 'List images of all nodes', {
    description: 'Nodes that do not answer in time are named in the header X-Shoal-Nodes-Missing.',
    query: {
      filters: parameters.filters(LIST_FILTERS),
      'shared-size': parameters.flag('With the size of what each shares with others'),
      node,
    },
    answers: { 200: answers.list('Images') },
    errors: NODE_ERRORS,
  }),
  operation('post', '/images/create', 'Pull an image onto all nodes', {
    query: {
      fromImage: parameters.text('Its name'),
      tag: parameters.text('Its tag or digest, where the name has none'),
      platform: parameters.text('linux/amd64'),
      fromSrc: parameters.text('Refused: importing a root file system'),
      node,
    },
    required: ['fromImage'],
    headers: REGISTRY_AUTH,
    answers: PROGRESS,
    errors: REGISTRY_ERRORS,
  }),
  operation('post', '/images/load', 'Load images onto all nodes', {
    query: { quiet: parameters.flag('Without progress'), node },
    body: rawBody(TAR),
    answers: PROGRESS,
    errors: NODE_ERRORS,
  }),
  operation('post', '/images/prune', 'Remove images that nothing uses', {
    query: { filters: parameters.filters(PRUNE_FILTERS), node },
    answers: {
      200: answers.json(
        'What went',
        'ImagePruneResponse',
        z.object({ ImagesDeleted: zRemoved, SpaceReclaimed: z.number() }),
      ),
    },
    errors: NODE_ERRORS,
  }),
  operation('get', '/images/search', 'Refused: searching registries', { answers: {}, errors: [501] }),
  operation('get', '/images/get', 'Save images', {
    query: { names: parameters.text('The name of an image; may be repeated'), node },
    required: ['names'],
    answers: archive,
    errors: NODE_ERRORS,
    endless: true,
  }),
  operation('get', '/images/*ref/get', 'Save an image', {
    query: { node },
    answers: archive,
    errors: NODE_ERRORS,
    endless: true,
  }),
  operation('get', '/images/*ref/json', 'Inspect an image', {
    query: { node },
    answers: { 200: answers.object('The image') },
    errors: NODE_ERRORS,
  }),
  operation('get', '/images/*ref/history', 'How an image was made', {
    query: { node },
    answers: { 200: answers.list('Its layers, the newest first') },
    errors: NODE_ERRORS,
  }),
  operation('post', '/images/*ref/tag', 'Give an image another name', {
    query: {
      repo: parameters.text('The new name'),
      tag: parameters.text('Its tag; the default is latest'),
      node,
    },
    required: ['repo'],
    answers: { 201: answers.empty('Done') },
    errors: NODE_ERRORS,
  }),
  operation('post', '/images/*ref/push', 'Push an image to its registry', {
    query: { tag: parameters.text('Which one: pushing all tags is refused'), node },
    required: ['tag'],
    headers: REGISTRY_AUTH,
    answers: PROGRESS,
    errors: REGISTRY_ERRORS,
  }),
  operation('delete', '/images/*ref', 'Remove an image, or a name of it', {
    query: { force: parameters.flag('Also when it has other names, or ended containers use it'), node },
    answers: { 200: answers.json('What went', 'ImageDeleteResponse', zRemoved) },
    errors: NODE_ERRORS,
  }),
];
