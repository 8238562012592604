/** A service's label for what the Docker API's UpdateConfig has no field for. */
import type { Labels } from '../../shared/model/index.ts';
import { parseDuration } from './units.ts';

export const DEADLINE_LABEL = 'shoal.update.deadline';

/** How long a task of an update may take to serve, in ms. Undefined: not said; a text: what is wrong with it. */
export function readUpdateDeadline(labels: Labels): number | string | undefined {
  const text = labels[DEADLINE_LABEL];
  if (text === undefined) return undefined;
  const ns = parseDuration(text);
  return ns === undefined || ns < 1e9 ? 'a duration such as 90s or 15m is expected, at least 1s' : ns / 1e6;
}
