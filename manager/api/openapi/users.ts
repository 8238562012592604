import { z } from 'zod';
import { zCertificateRequest, zNewToken, zNewUser, zRights } from '../resources/users.ts';
import { answers, jsonBody, operationsOf } from './operation.ts';

const operation = operationsOf('users');

const zCredential = z.object({
  ID: z.string(),
  CreatedAt: z.string(),
  ExpiresAt: z.string().optional(),
  State: z.enum(['active', 'expired']),
});
const zUser = z.object({
  Name: z.string(),
  Role: z.string(),
  Stacks: z.array(z.string()).nullable().describe('Those that alone it sees; null: everything'),
  CreatedAt: z.string(),
  UpdatedAt: z.string(),
  Certificates: z.array(zCredential),
  Tokens: z.array(zCredential),
});
const zIssued = zUser.extend({ Certificate: z.string(), CA: z.string() });
const zToken = zCredential.extend({ Token: z.string(), CA: z.string() });
const request = '-----BEGIN CERTIFICATE REQUEST-----\n...\n-----END CERTIFICATE REQUEST-----\n';

export const usersOperations = [
  operation('get', '/users', 'Who may use the API over TCP', {
    answers: { 200: answers.json('The users', 'Users', z.array(zUser)) },
    errors: [],
  }),
  operation('post', '/users', 'Make a user, who can do nothing until it has a certificate or a token', {
    body: jsonBody('NewUser', zNewUser, { Name: 'ann', Role: 'operator', Stacks: ['shop'] }),
    answers: { 201: answers.json('Made', 'User', zUser) },
    errors: [400, 409, 501, 503],
  }),
  operation('get', '/users/:name', 'A user', {
    answers: { 200: answers.json('The user', 'User', zUser) },
    errors: [404],
  }),
  operation('delete', '/users/:name', 'Remove a user, and end what it is doing', {
    answers: { 204: answers.empty('Removed') },
    errors: [404, 503],
  }),
  operation('post', '/users/:name/update', 'Change what a user may do', {
    body: jsonBody('UserRights', zRights, { Role: 'viewer' }),
    answers: { 200: answers.json('Changed', 'User', zUser) },
    errors: [400, 404, 501, 503],
  }),
  operation(
    'post',
    '/users/:name/certificate',
    'Sign a key of a user; what it had before ends, unless Keep',
    {
      body: jsonBody('UserCertificate', zCertificateRequest, { Request: request, ExpiresInSeconds: 86_400 }),
      answers: { 201: answers.json('The certificate, and whom to trust', 'IssuedCertificate', zIssued) },
      errors: [400, 404, 409, 501, 503],
    },
  ),
  operation('post', '/users/:name/tokens', 'Make a token, for Authorization: Bearer', {
    body: jsonBody('NewUserToken', zNewToken, { ExpiresInSeconds: 86_400 }),
    answers: { 201: answers.json('The token, which is not shown again', 'UserToken', zToken) },
    errors: [400, 404, 409, 501, 503],
  }),
  operation('delete', '/users/:name/credentials/:id', 'End one certificate or token', {
    answers: { 204: answers.empty('Ended') },
    errors: [404, 503],
  }),
];
