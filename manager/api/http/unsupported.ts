/** Names what a request says and our schema does not know: nothing is dropped in silence (invariant 8). */
import { z } from 'zod';
import { InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';

/** Why a field is refused, by its name. */
export type Reasons = Readonly<Record<string, string>>;

/** Parses and refuses, by name, each field beyond the schema that carries a value other than Go's zero. */
export function parseStrict<T extends z.ZodType>(
  schema: T,
  value: unknown,
  what: string,
  reasons: Reasons = {},
): z.output<T> {
  const result = schema.safeParse(value);
  if (!result.success) throw new InvalidError(`invalid ${what}: ${describeIssues(result.error)}`);
  const unknown = unsupportedFields(schema, value, '');
  if (unknown.length > 0) {
    const named = unknown.map((path) => withReason(path, reasons));
    throw new UnsupportedError(`${what}: not supported by Shoal: ${named.join(', ')}`);
  }
  return result.data;
}

function withReason(path: string, reasons: Reasons): string {
  const name = path.slice(path.lastIndexOf('.') + 1);
  const reason = Object.hasOwn(reasons, name) ? reasons[name] : undefined;
  return reason === undefined ? path : `${path} (${reason})`;
}

function describeIssues(error: z.ZodError): string {
  return error.issues
    .map((issue) =>
      issue.path.length === 0 ? issue.message : `${issue.path.map(String).join('.')}: ${issue.message}`,
    )
    .join('; ');
}

/** Paths of the fields that the schema does not name and that are not blank. */
export function unsupportedFields(schema: z.ZodType, value: unknown, path: string): string[] {
  if (value === null || value === undefined) return [];
  const inner = unwrap(schema);
  if (inner instanceof z.ZodArray && Array.isArray(value)) {
    return value.flatMap((item, i) => unsupportedFields(inner.element as z.ZodType, item, `${path}[${i}]`));
  }
  if (inner instanceof z.ZodRecord && typeof value === 'object') {
    const of = inner.valueType as z.ZodType;
    return Object.entries(value).flatMap(([key, field]) => unsupportedFields(of, field, `${path}.${key}`));
  }
  if (!(inner instanceof z.ZodObject) || typeof value !== 'object') return [];
  const shape = inner.shape as Record<string, z.ZodType>;
  return Object.entries(value).flatMap(([key, field]) => {
    const at = path === '' ? key : `${path}.${key}`;
    const known = Object.hasOwn(shape, key) ? shape[key] : undefined;
    if (known !== undefined) return unsupportedFields(known, field, at);
    return isBlank(field) ? [] : [at];
  });
}

function unwrap(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault) {
    return unwrap(schema.unwrap() as z.ZodType);
  }
  return schema;
}

const MAX_BLANK_DEPTH = 50;

/** What a Go client sends for a field that nobody set. */
function isBlank(value: unknown, depth = 0): boolean {
  // Nobody leaves something unset as deep as that.
  if (depth > MAX_BLANK_DEPTH) return false;
  if (value === null || value === undefined || value === false || value === 0 || value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && Object.values(value).every((field) => isBlank(field, depth + 1));
}
