import { z } from 'zod';
import { zDimension } from '../http/query.ts';
import { createSchema, startSchema } from '../resources/exec.ts';
import { answers, jsonBody, NODE_ERRORS, operationsOf } from './operation.ts';

const operation = operationsOf('exec');
const size = zDimension.describe('Characters');

export const execOperations = [
  operation('post', '/containers/:id/exec', 'Prepare a command in a container', {
    body: jsonBody('ExecCreateRequest', createSchema, { Cmd: ['ls', '-l'], AttachStdout: true }),
    answers: { 201: answers.json('Created', 'ExecCreateResponse', z.object({ Id: z.string() })) },
    errors: NODE_ERRORS,
  }),
  operation('post', '/exec/:id/start', 'Run a prepared command', {
    description:
      'With the headers `Connection: Upgrade` and `Upgrade: tcp` the connection becomes the command’s (101).',
    body: jsonBody('ExecStartRequest', startSchema, { Detach: false, Tty: false }),
    answers: {
      101: answers.empty('The connection is the command’s'),
      200: answers.raw('Its output, in frames without a terminal', 'application/vnd.docker.raw-stream'),
    },
    errors: NODE_ERRORS,
    endless: true,
  }),
  operation('post', '/exec/:id/resize', 'Give a command’s terminal another size', {
    query: { h: size, w: size },
    required: ['h', 'w'],
    answers: { 200: answers.empty('Done') },
    errors: NODE_ERRORS,
  }),
  operation('get', '/exec/:id/json', 'Inspect a command', {
    answers: { 200: answers.object('The command') },
    errors: NODE_ERRORS,
  }),
];
