/** Query parameters and Docker's `filters`. Unknown parameters are ignored: dockerode repeats the whole body there. */
import type { Request } from 'express';
import { InvalidError } from '../../../shared/errors/index.ts';
import { parseJson } from './body.ts';

export type Filters = ReadonlyMap<string, readonly string[]>;

export function queryText(req: Request, name: string): string | undefined {
  const value: unknown = req.query[name];
  if (typeof value === 'string') return value;
  return Array.isArray(value) && typeof value[0] === 'string' ? value[0] : undefined;
}

/** All values of a parameter that may be repeated. */
export function queryTexts(req: Request, name: string): string[] {
  const value: unknown = req.query[name];
  const values = Array.isArray(value) ? value : [value];
  return values.filter((one): one is string => typeof one === 'string' && one !== '');
}

/** Docker's rule: absent, empty, 0, no, false and none are false; anything else is true (httputils/form.go). */
export function queryFlag(req: Request, name: string, absent = false): boolean {
  const value = queryText(req, name)?.trim().toLowerCase();
  if (value === undefined) return absent;
  return !['', '0', 'no', 'false', 'none'].includes(value);
}

/** Of a terminal, in characters. Throws InvalidError. */
export function queryDimension(req: Request, name: string): number {
  const text = queryText(req, name) ?? '';
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535)
    throw new InvalidError(`invalid ${name} '${text}': a number of characters is expected`);
  return Number(text);
}

/** The object's version that an update names. Throws InvalidError when it is missing or no number. */
export function queryVersion(req: Request): number {
  const value = queryText(req, 'version') ?? '';
  if (!/^\d+$/.test(value)) {
    throw new InvalidError(
      `invalid ${req.path.split('/')[1] ?? ''} version '${value}': a whole number is expected`,
    );
  }
  return Number(value);
}

/** `{"label":{"k=v":true}}` and `{"label":["k=v"]}`. Throws InvalidError for a filter that is not in `allowed`. */
export function queryFilters(req: Request, allowed: readonly string[]): Filters {
  const text = queryText(req, 'filters');
  const filters = new Map<string, readonly string[]>();
  if (text === undefined || text === '') return filters;
  const value = parseJson(text, 'filters parameter');
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InvalidError('invalid filters: a JSON object is expected');
  }
  for (const [name, wanted] of Object.entries(value)) {
    if (!allowed.includes(name)) throw new InvalidError(`invalid filter '${name}'`);
    filters.set(name, filterValues(name, wanted));
  }
  return filters;
}

function filterValues(name: string, wanted: unknown): string[] {
  if (Array.isArray(wanted)) return wanted.map(String);
  if (typeof wanted === 'object' && wanted !== null) {
    return Object.entries(wanted).flatMap(([value, on]) => (on === false ? [] : [value]));
  }
  throw new InvalidError(`invalid filter '${name}': a list of values is expected`);
}

/** True when the filter is absent or one of its values passes. */
export function passes(filters: Filters, name: string, test: (value: string) => boolean): boolean {
  const values = filters.get(name);
  return values === undefined || values.length === 0 || values.some(test);
}

/** Label filters `key` and `key=value`; all of them must hold, as in Docker. */
export function passesLabels(
  filters: Filters,
  name: string,
  labels: Readonly<Record<string, string>>,
): boolean {
  return (filters.get(name) ?? []).every((wanted) => {
    const at = wanted.indexOf('=');
    const key = at < 0 ? wanted : wanted.slice(0, at);
    if (!Object.hasOwn(labels, key)) return false;
    return at < 0 || labels[key] === wanted.slice(at + 1);
  });
}
