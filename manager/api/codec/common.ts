import { z } from 'zod';
import type { Labels } from '../../../shared/model/index.ts';

export const zText = z.string().nullish();
export const zFlag = z.boolean().nullish();
export const zTexts = z.array(z.string()).nullish();
export const zLabels = z.record(z.string(), z.string()).nullish();
/** Whole numbers: bytes, nanoseconds, nano-CPUs, counts. */
export const zWhole = z.number().int().nonnegative().nullish();

/** RFC 3339 with nanoseconds as Go prints it; Go's zero time for what never happened. */
export function timeText(ms: number | undefined): string {
  return ms === undefined ? '0001-01-01T00:00:00Z' : new Date(ms).toISOString();
}

/** A copy without the keys whose value is undefined: exactOptionalPropertyTypes wants them absent. */
export function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
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
