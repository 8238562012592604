/** One endpoint as data: the OpenAPI document is made from a table of these, and tests walk it. */
import { z } from 'zod';
import { zFilters, zFlagText, zWholeText } from '../http/query.ts';

export type Method = 'get' | 'head' | 'post' | 'put' | 'delete';

/** 500: only where the Docker Engine API gives it a meaning of its own. */
export type ErrorStatus = 304 | 400 | 401 | 403 | 404 | 409 | 413 | 500 | 501 | 503;

export interface Body {
  readonly type: string;
  /** Absent: bytes, such as an archive. */
  readonly schema?: z.ZodType;
  /** Of the schema in the document's components. */
  readonly name?: string;
  /** A body that the endpoint takes. */
  readonly example?: unknown;
  /** The request may come without. */
  readonly optional?: true;
  /** Other types that it takes, with what is in them. */
  readonly otherTypes?: Readonly<Record<string, z.ZodType>>;
}

export interface Answer {
  readonly description: string;
  /** Absent: no body. */
  readonly type?: string;
  readonly name?: string;
  readonly schema?: z.ZodType;
}

export interface Operation {
  readonly method: Method;
  /** As the router has it: /nodes/:id/update, /images/*ref. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  /** By name; `.describe()` gives their texts. `filters` is JSON. Unknown parameters are ignored. */
  readonly query?: Readonly<Record<string, z.ZodType>>;
  /** Of `query`: those that must be there. */
  readonly required?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Body;
  readonly answers: Readonly<Record<number, Answer>>;
  readonly errors: readonly ErrorStatus[];
  /** The answer goes on until the client leaves or there is nothing more to come. */
  readonly endless?: true;
}

type Details = Omit<Operation, 'method' | 'path' | 'tag' | 'summary'>;

/** For the table of one resource. */
export function operationsOf(tag: string) {
  return (method: Method, path: string, summary: string, details: Details): Operation => ({
    method,
    path,
    tag,
    summary,
    ...details,
  });
}

export const JSON_TYPE = 'application/json';

/** What has no schema of its own yet. */
export const zObject = z.record(z.string(), z.unknown());

export const answers = {
  object: (description: string): Answer => ({ description, type: JSON_TYPE, schema: zObject }),
  list: (description: string): Answer => ({ description, type: JSON_TYPE, schema: z.array(zObject) }),
  empty: (description: string): Answer => ({ description }),
  json: (description: string, name: string, schema: z.ZodType): Answer => ({
    description,
    type: JSON_TYPE,
    name,
    schema,
  }),
  raw: (description: string, type: string): Answer => ({ description, type }),
} as const;

export function jsonBody(name: string, schema: z.ZodType, example: unknown): Body {
  return { type: JSON_TYPE, name, schema, example };
}

/** Bytes of a type, such as application/x-tar. */
export function rawBody(type: string): Body {
  return { type };
}

export const parameters = {
  flag: (text: string) => zFlagText.describe(text),
  text: (text: string) => z.string().describe(text),
  whole: (text: string) => zWholeText.describe(text),
  filters: (names: readonly string[]) =>
    zFilters(names).describe('{"name": ["value"]}, or {"name": {"value": true}}'),
  node: z.string().describe('Of this node only: its id, its host name, or `self`'),
  version: zWholeText.describe('The Version.Index that was read; the update fails when it is not the newest'),
} as const;

/** Of whatever goes to a node. */
export const NODE_ERRORS: readonly ErrorStatus[] = [400, 404, 409, 500, 501, 503];
/** Of whatever a node asks a registry. */
export const REGISTRY_ERRORS: readonly ErrorStatus[] = [401, 403, ...NODE_ERRORS];

export const REGISTRY_AUTH = {
  'X-Registry-Auth': 'Credentials of the registry, JSON in base64url; {} for none',
} as const;
