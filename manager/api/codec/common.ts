import { z } from 'zod';
import type { Labels } from '../../../shared/model/index.ts';

export const zText = z.string().nullish();
export const zFlag = z.boolean().nullish();
export const zTexts = z.array(z.string()).nullish();
export const zLabels = z.record(z.string(), z.string()).nullish();
/** Of users and groups: a container's own, or the node's. */
export const zUsers = z.enum(['', 'host', 'private'], { error: "'host' or 'private' is expected" }).nullish();
/** Whole numbers: bytes, nanoseconds, nano-CPUs, counts. */
export const zWhole = z.number().int().nonnegative().nullish();

/** RFC 3339 with nanoseconds as Go prints it; Go's zero time for what never happened. */
export function timeText(ms: number | undefined): string {
  if (ms === undefined) return '0001-01-01T00:00:00Z';
  // An object that was not changed since it was made has the same time twice, and neighbours often have it too.
  if (ms !== lastMs) {
    lastText = new Date(ms).toISOString();
    lastMs = ms;
  }
  return lastText;
}

let lastMs = 0;
let lastText = '1970-01-01T00:00:00.000Z';

/** A copy without the keys whose value is undefined: exactOptionalPropertyTypes wants them absent. */
export function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const copy: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(value)) if (field !== undefined) copy[key] = field;
  return copy as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** Undefined for what Go would not have sent: '', [], {}, 0, false, null. */
export function given<T>(value: T | null | undefined): T | undefined {
  if (value === null || value === undefined || value === false || value === 0 || value === '')
    return undefined;
  if (typeof value === 'object' && Object.keys(value).length === 0) return undefined;
  return value;
}

export function labelsOf(labels: Labels | null | undefined): Labels {
  return labels ?? {};
}
