/** A service's label for what the Docker API has no field for: whose tasks may take the place of whose. */
import type { Labels } from '../../shared/model/index.ts';

export const PRIORITY_LABEL = 'shoal.priority';
const HIGHEST = 1000;

/** Undefined: not said; a text: what is wrong with it. */
export function readPriority(labels: Labels): number | string | undefined {
  const text = labels[PRIORITY_LABEL];
  if (text === undefined) return undefined;
  const priority = /^[+-]?\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
  return Math.abs(priority) <= HIGHEST
    ? priority + 0
    : `a whole number from -${HIGHEST} to ${HIGHEST} is expected, not '${text}'`;
}
