import { answers, operationsOf, parameters } from './operation.ts';

const operation = operationsOf('users');

export const auditOperations = [
  operation('get', '/audit', 'Who did what: the audit log of the manager that is asked, oldest first', {
    query: {
      since: parameters.text('From then on: seconds since 1970, or a time by RFC 3339'),
      user: parameters.text('Of this user only'),
      limit: parameters.whole('So many, the newest; 1000 without'),
    },
    answers: { 200: answers.list('Entries') },
    errors: [400, 503],
  }),
];
