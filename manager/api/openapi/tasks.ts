import { FILTERS } from '../resources/tasks.ts';
import { LOG_QUERY, logAnswers } from './logs.ts';
import { answers, operationsOf, parameters } from './operation.ts';

const operation = operationsOf('tasks');

export const tasksOperations = [
  operation('get', '/tasks', 'List tasks', {
    query: { filters: parameters.filters(FILTERS) },
    answers: { 200: answers.list('Tasks') },
    errors: [400],
  }),
  operation('get', '/tasks/:id', 'Inspect a task', {
    answers: { 200: answers.object('The task') },
    errors: [400, 404],
  }),
  operation('get', '/tasks/:id/logs', 'Logs of a task', {
    query: LOG_QUERY,
    answers: logAnswers,
    errors: [400, 404],
    endless: true,
  }),
];
