/** What Docker has and Shoal has not: made from the same table as the refusals, so it shrinks with it. */
import { z } from 'zod';
import { EMPTY_LISTS, NO_SUCH, NOT_YET } from '../resources/absent.ts';
import { JSON_TYPE, type Operation, operationsOf } from './operation.ts';

const operation = operationsOf('not there');

function noSuch(method: 'get' | 'delete', path: string): Operation {
  return operation(method, path, 'There is none', { answers: {}, errors: [400, 404] });
}

export const absentOperations: Operation[] = [
  ...EMPTY_LISTS.map(([path]) =>
    operation('get', path, 'Empty', {
      answers: { 200: { description: 'Nothing', type: JSON_TYPE, schema: z.unknown() } },
      errors: [],
    }),
  ),
  ...NO_SUCH.flatMap(([path]) =>
    path.endsWith('/:id') ? [noSuch('get', path), noSuch('delete', path)] : [noSuch('get', path)],
  ),
  ...NOT_YET.map(([method, path, what]) =>
    operation(method, path, `Not there yet: ${what}`, { answers: {}, errors: [400, 501] }),
  ),
];
