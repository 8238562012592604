/** Query parameters and Docker's `filters`. Unknown parameters are ignored: dockerode repeats the whole body there. */
import type { Request } from 'express';
import { z } from 'zod';
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

/** Docker's rule: empty, 0, no, false and none are false; anything else is true (httputils/form.go). */
export const zFlagText = z.preprocess(
  (text) => !['', '0', 'no', 'false', 'none'].includes(String(text).trim().toLowerCase()),
  z.boolean(),
);

export function queryFlag(req: Request, name: string, absent = false): boolean {
  const value = queryText(req, name);
  return value === undefined ? absent : zFlagText.parse(value);
}

/** A whole number from 0, in decimal digits. */
export const zWholeText = z.string().regex(/^\d+$/).transform(Number).pipe(z.number().int().nonnegative());

/** Rows or columns of a terminal. */
export const zDimension = z
  .string()
  .regex(/^\d{1,5}$/)
  .transform(Number)
  .pipe(z.number().int().max(65_535));

/** Of a terminal, in characters. Throws InvalidError. */
export function queryDimension(req: Request, name: string): number {
  const text = queryText(req, name) ?? '';
  const size = zDimension.safeParse(text);
  if (!size.success) throw new InvalidError(`invalid ${name} '${text}': a number of characters is expected`);
  return size.data;
}

/** The object's version that an update names. Throws InvalidError when it is missing or no number. */
export function queryVersion(req: Request): number {
  const value = queryText(req, 'version') ?? '';
  const version = zWholeText.safeParse(value);
  if (!version.success) {
    throw new InvalidError(
      `invalid ${req.path.split('/')[1] ?? ''} version '${value}': a whole number is expected`,
    );
  }
  return version.data;
}

const zFilterValues = z.union([
  z.array(z.union([z.string(), z.number(), z.boolean()]).transform(String)),
  z
    .record(z.string(), z.unknown())
    .transform((values) => Object.entries(values).flatMap(([value, on]) => (on === false ? [] : [value]))),
]);

const filterSchemas = new WeakMap<readonly string[], ReturnType<typeof makeFilters>>();

function makeFilters(allowed: readonly string[]) {
  return z.strictObject(Object.fromEntries(allowed.map((name) => [name, zFilterValues.optional()])));
}

/** `{"label":{"k=v":true}}` and `{"label":["k=v"]}`, of these names. Made once for a list. */
export function zFilters(allowed: readonly string[]): ReturnType<typeof makeFilters> {
  const schema = filterSchemas.get(allowed) ?? makeFilters(allowed);
  filterSchemas.set(allowed, schema);
  return schema;
}

/** What `filters` holds. Throws InvalidError for a filter that is not in `allowed`. */
export function queryFilters(req: Request, allowed: readonly string[]): Filters {
  const text = queryText(req, 'filters');
  if (text === undefined || text === '') return new Map();
  const filters = zFilters(allowed).safeParse(parseJson(text, 'filters parameter'));
  if (!filters.success) throw new InvalidError(describeFilterIssue(filters.error.issues[0]));
  return new Map(Object.entries(filters.data).flatMap(([name, wanted]) => (wanted ? [[name, wanted]] : [])));
}

function describeFilterIssue(issue: z.core.$ZodIssue | undefined): string {
  if (issue?.code === 'unrecognized_keys') return `invalid filter '${issue.keys[0]}'`;
  const name = issue?.path[0];
  if (name === undefined) return 'invalid filters: a JSON object is expected';
  return `invalid filter '${String(name)}': a list of values is expected`;
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
