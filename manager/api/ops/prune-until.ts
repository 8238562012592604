/** The filter `until` of prunes: what was made before that time goes. Pure. */
import { InvalidError } from '../../../shared/errors/index.ts';
import type { Filters } from '../http/query.ts';

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** In milliseconds; Infinity without the filter. A Unix time, an RFC 3339 time, or a Go duration before `nowMs`. */
export function pruneUntil(filters: Filters, nowMs: number): number {
  const texts = filters.get('until') ?? [];
  const [text] = texts;
  if (text === undefined) return Number.POSITIVE_INFINITY;
  if (texts.length > 1) throw new InvalidError('more than one until filter specified');
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  if (/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return nowMs - durationMs(text);
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time))
    throw new InvalidError(`invalid until '${text}': a time, or a duration such as 24h, is expected`);
  return time;
}

function durationMs(text: string): number {
  let sum = 0;
  for (const [, number = '', unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) {
    sum += Number(number) * (UNITS_MS[unit] ?? 0);
  }
  return sum;
}
