/**
 * Makes the OpenAPI 3.1 document from the tables of operations. Bodies and parameters are described by the very zod schemas
 * that check them.
 */
import { z } from 'zod';
import { API_VERSION } from '../context.ts';
import { type Answer, type Body, JSON_TYPE, type Operation } from './operation.ts';

const ERROR_TEXTS: Readonly<Record<number, string>> = {
  304: 'Nothing to do',
  400: 'The request is wrong; the message names what, and what is allowed',
  401: 'Not allowed without credentials',
  403: 'Not possible for this object',
  404: 'There is no such object',
  409: 'It exists already, or is in use',
  413: 'The body is too large',
  500: 'The version is not the newest (update out of sequence), or the node failed; the message says which',
  501: 'Shoal does not have this; the message names it',
  503: 'The store or the node can not be reached, or this manager does not do it',
};

/** Of every error. `errors` lists what is wrong with a compose file, each with its place. */
export const zErrorBody = z.object({
  message: z.string(),
  errors: z
    .array(
      z.object({
        message: z.string(),
        file: z.string().optional(),
        line: z.number().optional(),
        column: z.number().optional(),
        key: z.string().optional(),
      }),
    )
    .optional(),
});

const DESCRIPTION = `The Docker Engine API ${API_VERSION}, for a whole cluster, and Shoal's own endpoints.

Paths take /v1.24 to /v${API_VERSION} before them; without one the newest is meant. Unknown query parameters are ignored.
Fields of a body that are not described here and that ask for something are refused with 501, which names them.
Every answer has the header X-Request-Id; a request may bring its own (letters, digits, . _ : -, at most 64).`;

/** `version`: Shoal's own. */
export function openApiDocument(operations: readonly Operation[], version: string): object {
  const inputs = new Components('input');
  const outputs = new Components('output');
  outputs.reference(zErrorBody, 'ErrorResponse');
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) {
    const path = openApiPath(operation.path);
    (paths[path] ??= {})[operation.method] = describeOperation(operation, inputs, outputs);
  }
  const statuses = [...new Set(operations.flatMap(({ errors }) => errors))].toSorted((a, b) => a - b);
  return {
    openapi: '3.1.0',
    jsonSchemaDialect: 'https://json-schema.org/draft/2020-12/schema',
    info: {
      title: 'Shoal',
      version,
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: `/v${API_VERSION}` }, { url: '/' }],
    tags: [...new Set(operations.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: { ...inputs.schemas(), ...outputs.schemas() },
      responses: Object.fromEntries(
        statuses.filter((status) => status >= 400).map((status) => [`Error${status}`, errorAnswer(status)]),
      ),
    },
  };
}

/** /images/*ref/get -> /images/{ref}/get. */
export function openApiPath(path: string): string {
  return path.replace(/[:*](\w+)/g, '{$1}');
}

function describeOperation(operation: Operation, inputs: Components, outputs: Components): object {
  const { method, path, tag, summary, description, body } = operation;
  return {
    operationId: operationId(method, path),
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    parameters: [...pathParameters(path), ...queryParameters(operation), ...headerParameters(operation)],
    ...(body === undefined ? {} : { requestBody: describeBody(body, inputs) }),
    responses: {
      ...Object.fromEntries(
        Object.entries(operation.answers).map(([status, answer]) => [
          status,
          describeAnswer(answer, `${operationId(method, path)}${status}`, outputs),
        ]),
      ),
      ...Object.fromEntries(
        operation.errors.map((status) => [
          String(status),
          status === 304
            ? { description: ERROR_TEXTS[status] }
            : { $ref: `#/components/responses/Error${status}` },
        ]),
      ),
    },
  };
}

function operationId(method: string, path: string): string {
  const words = path.match(/[A-Za-z0-9]+/g) ?? [];
  return method + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

function pathParameters(path: string): object[] {
  return [...path.matchAll(/([:*])(\w+)/g)].map(([, kind, name]) => ({
    name,
    in: 'path',
    required: true,
    ...(kind === '*' ? { description: 'May have slashes in it, as names of images have' } : {}),
    schema: { type: 'string', minLength: 1 },
  }));
}

function queryParameters({ query = {}, required = [] }: Operation): object[] {
  return Object.entries(query).map(([name, schema]) => {
    const { description, ...described } = parameterSchema(schema);
    return {
      name,
      in: 'query',
      ...(required.includes(name) ? { required: true } : {}),
      ...(description === undefined ? {} : { description }),
      ...(described['type'] === 'object'
        ? { content: { [JSON_TYPE]: { schema: described } } }
        : { schema: described }),
    };
  });
}

function headerParameters({ headers = {} }: Operation): object[] {
  return Object.entries(headers).map(([name, description]) => ({
    name,
    in: 'header',
    description,
    schema: { type: 'string' },
  }));
}

/** A text is read as what it means: a number, a boolean. Where that can not be said, as what is sent. */
function parameterSchema(schema: z.ZodType): Record<string, unknown> {
  const read = inline(schema, schema instanceof z.ZodObject ? 'input' : 'output');
  return read['type'] === undefined && read['anyOf'] === undefined ? inline(schema, 'input') : read;
}

function inline(schema: z.ZodType, io: 'input' | 'output'): Record<string, unknown> {
  const { $schema: _dialect, ...described } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return described;
}

function describeBody(body: Body, inputs: Components): object {
  const others = Object.entries(body.otherTypes ?? {}).map(([type, schema]) => [
    type,
    { schema: inline(schema, 'input') },
  ]);
  return {
    required: body.optional !== true,
    content: {
      [body.type]: describeContent(body, inputs),
      ...Object.fromEntries(others),
    },
  };
}

function describeContent({ schema, name, example }: Body, inputs: Components): object {
  // Of bytes the type says all (OpenAPI 3.1.1, 4.14.3).
  if (schema === undefined) return { schema: {} };
  return { schema: name === undefined ? inline(schema, 'input') : inputs.reference(schema, name), example };
}

function describeAnswer(answer: Answer, fallbackName: string, outputs: Components): object {
  const { description, type, name, schema } = answer;
  if (type === undefined) return { description };
  if (schema === undefined) return { description, content: { [type]: { schema: { type: 'string' } } } };
  const described =
    name === undefined ? inline(schema, 'output') : outputs.reference(schema, name ?? fallbackName);
  return { description, content: { [type]: { schema: described } } };
}

function errorAnswer(status: number): object {
  return {
    description: ERROR_TEXTS[status] ?? '',
    content: { [JSON_TYPE]: { schema: { $ref: '#/components/schemas/ErrorResponse' } } },
  };
}

/** Schemas with names, each described once. */
class Components {
  readonly #io: 'input' | 'output';
  readonly #named = new Map<string, z.ZodType>();

  constructor(io: 'input' | 'output') {
    this.#io = io;
  }

  /** Throws when the name is another schema's. */
  reference(schema: z.ZodType, name: string): object {
    const known = this.#named.get(name);
    if (known !== undefined && known !== schema) throw new TypeError(`two schemas have the name ${name}`);
    this.#named.set(name, schema);
    return { $ref: `#/components/schemas/${name}` };
  }

  schemas(): Record<string, object> {
    return Object.fromEntries(
      [...this.#named]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, schema]) => [name, inline(schema, this.#io)]),
    );
  }
}
