import { EVENT_FILTERS } from '../events/filter.ts';
import { zTimeParameter } from './logs.ts';
import { answers, operationsOf, parameters } from './operation.ts';

const operation = operationsOf('system');

export const eventsOperations = [
  operation('get', '/events', 'What happens in the cluster, an object a line', {
    query: { filters: parameters.filters(EVENT_FILTERS), ...zTimeParameter },
    answers: { 200: answers.object('Events, one after the other') },
    errors: [400],
    endless: true,
  }),
];
