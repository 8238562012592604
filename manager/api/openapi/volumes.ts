/** A volume is its node's: NAME, or NODE/NAME where several nodes have one of the name. */
import { z } from 'zod';
import { zVolume } from '../codec/volume-codec.ts';
import { FILTERS, PRUNE_FILTERS } from '../resources/volumes.ts';
import { answers, jsonBody, NODE_ERRORS, operationsOf, parameters, zObject } from './operation.ts';

const operation = operationsOf('volumes');
const example = { Name: 'data', Driver: 'local', DriverOpts: {}, Labels: { team: 'web' } };
const zList = z.object({ Volumes: z.array(zObject), Warnings: z.array(z.string()).nullable() });
const zPruned = z.object({ VolumesDeleted: z.array(z.string()), SpaceReclaimed: z.number() });

export const volumesOperations = [
  operation('get', '/volumes', 'List volumes of all nodes', {
    query: { filters: parameters.filters(FILTERS) },
    answers: { 200: answers.json('Volumes', 'VolumeListResponse', zList) },
    errors: [400],
  }),
  operation('post', '/volumes/create', 'Create a volume', {
    description: 'On the node that its name says (NODE/NAME), else where most room is.',
    body: jsonBody('VolumeCreateRequest', zVolume, example),
    answers: { 201: answers.object('The volume; one that exists is given back as it is') },
    errors: NODE_ERRORS,
  }),
  operation('post', '/volumes/prune', 'Remove volumes that nothing uses', {
    query: { filters: parameters.filters(PRUNE_FILTERS) },
    answers: { 200: answers.json('What went', 'VolumePruneResponse', zPruned) },
    errors: NODE_ERRORS,
  }),
  operation('get', '/volumes/*name', 'Inspect a volume', {
    answers: { 200: answers.object('The volume') },
    errors: NODE_ERRORS,
  }),
  operation('put', '/volumes/*name', 'Refused: only cluster volumes can be changed', {
    answers: {},
    errors: NODE_ERRORS,
  }),
  operation('delete', '/volumes/*name', 'Remove a volume', {
    query: { force: parameters.flag('One that there is not is no error') },
    answers: { 204: answers.empty('Removed') },
    errors: NODE_ERRORS,
  }),
];
