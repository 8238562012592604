/** The OpenAPI document: it has the routes that the router has, no others, and is one by the specification (3.1.1). */
import test from 'ava';
import { Router } from 'express';
import { z } from 'zod';
import { createApi } from '../../../manager/api/index.ts';
import { openApiDocument, openApiPath } from '../../../manager/api/openapi/document.ts';
import {
  JSON_TYPE,
  operationsOf,
  answers,
  jsonBody,
  rawBody,
} from '../../../manager/api/openapi/operation.ts';
import { OPERATIONS } from '../../../manager/api/openapi/operations.ts';
import { parseStrict } from '../../../manager/api/http/unsupported.ts';
import { ApiFixture, type Json } from './fixture.ts';
import { routesOf, undocumentedParameters } from './routes.ts';

const described = (method: string, path: string): string => `${method.toUpperCase()} ${path}`;

/** OpenAPI 3.1.1, as far as this document uses it: unknown fields are mistakes. */
const zSchema = z.union([z.boolean(), z.record(z.string(), z.unknown())]);
const zReference = z.strictObject({ $ref: z.string() });
const zContent = z.record(
  z.string().regex(/^[\w.-]+\/[\w.+-]+(; .+)?$/),
  z.strictObject({ schema: zSchema, example: z.unknown().optional() }),
);
const zParameter = z
  .strictObject({
    name: z.string().min(1),
    in: z.enum(['path', 'query', 'header']),
    required: z.literal(true).optional(),
    description: z.string().optional(),
    schema: zSchema.optional(),
    content: zContent.optional(),
  })
  .refine((p) => (p.schema === undefined) !== (p.content === undefined), 'schema or content')
  .refine((p) => p.in !== 'path' || p.required === true, 'a path parameter is required');
const zResponse = z.strictObject({ description: z.string().min(1), content: zContent.optional() });
const zOperation = z.strictObject({
  operationId: z.string().regex(/^\w+$/),
  tags: z.array(z.string()),
  summary: z.string().min(1),
  description: z.string().optional(),
  parameters: z.array(zParameter),
  requestBody: z.strictObject({ required: z.boolean(), content: zContent }).optional(),
  responses: z
    .record(z.string().regex(/^[1-5]\d\d$/), z.union([zResponse, zReference]))
    .refine((r) => Object.keys(r).length > 0, 'a response'),
});
const zDocument = z.strictObject({
  openapi: z.literal('3.1.0'),
  jsonSchemaDialect: z.url(),
  info: z.strictObject({
    title: z.string(),
    version: z.string(),
    description: z.string(),
    license: z.strictObject({ name: z.string(), identifier: z.string() }),
  }),
  servers: z.array(z.strictObject({ url: z.string() })),
  tags: z.array(z.strictObject({ name: z.string() })),
  paths: z.record(
    z.string().startsWith('/'),
    z.partialRecord(z.enum(['get', 'head', 'post', 'put', 'delete']), zOperation),
  ),
  components: z.strictObject({
    schemas: z.record(z.string().regex(/^[\w.-]+$/), zSchema),
    responses: z.record(z.string().regex(/^[\w.-]+$/), zResponse),
  }),
});

test('it has exactly the routes that the router has', async (t) => {
  await using fixture = await ApiFixture.up(1);
  const app = createApi(fixture.options());
  const routes = routesOf(app).map(({ method, path }) => described(method, path));
  app.use(Router().get('/planted/:id', (_req, res) => void res.end()));
  t.true(
    routesOf(app).some(({ path }) => path === '/planted/:id'),
    'the walk sees what is added',
  );
  const documented = OPERATIONS.map(({ method, path }) => described(method, path));
  t.true(routes.length > 60);
  t.deepEqual(
    documented.filter((route, i) => documented.indexOf(route) !== i),
    [],
    'described twice',
  );
  t.deepEqual(
    [...new Set(routes)].filter((route) => !documented.includes(route)),
    [],
    'not described',
  );
  t.deepEqual(
    documented.filter((route) => !routes.includes(route)),
    [],
    'not there',
  );
});

test('it has every query parameter that is read', async (t) => {
  t.deepEqual(await undocumentedParameters(OPERATIONS), []);
});

test('it is an OpenAPI 3.1 document', async (t) => {
  await using api = await ApiFixture.up(1);
  for (const prefix of ['', '/v1.47', '/v1.24']) {
    const { status, headers } = await api.send('GET', `${prefix}/openapi.json`);
    t.is(status, 200);
    t.is(headers['content-type'], 'application/json');
  }
  const document: Json = await api.get('/openapi.json');
  const parsed = zDocument.safeParse(document);
  t.true(parsed.success, parsed.error === undefined ? '' : z.prettifyError(parsed.error));
  const ids = new Set<string>();
  for (const [path, item] of Object.entries<Json>(document.paths)) {
    for (const [method, operation] of Object.entries<Json>(item)) {
      const where = described(method, path);
      t.false(ids.has(operation.operationId), `${where}: operationId`);
      ids.add(operation.operationId);
      const inPath = operation.parameters.filter((p: Json) => p.in === 'path').map((p: Json) => p.name);
      t.deepEqual(
        inPath,
        [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]),
        where,
      );
      const names = operation.parameters.map((p: Json) => `${p.in} ${p.name}`);
      t.is(new Set(names).size, names.length, where);
    }
  }
  // "Templated paths with the same hierarchy but different templated names MUST NOT exist as they are identical."
  const shapes = Object.keys(document.paths).map((path) => path.replaceAll(/\{\w+\}/g, '{}'));
  t.is(new Set(shapes).size, shapes.length);
});

test('every reference in it leads somewhere, and nothing is described for nobody', async (t) => {
  const document: Json = openApiDocument(OPERATIONS, '0');
  const targets = new Set(
    [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map((m) => m[1] ?? ''),
  );
  for (const target of targets) {
    const found = target
      .replace(/^#\//, '')
      .split('/')
      .reduce<Json>((at, key) => at?.[key], document);
    t.truthy(found, target);
  }
  for (const kind of ['schemas', 'responses']) {
    for (const name of Object.keys(document.components[kind]))
      t.true(targets.has(`#/components/${kind}/${name}`), name);
  }
});

test('the schema of a body is the one that checks it: its example passes, and what it says is required is', (t) => {
  const bodies = OPERATIONS.filter(({ body }) => body?.type === JSON_TYPE);
  t.true(bodies.length >= 10);
  for (const { method, path, body } of bodies) {
    const schema = body?.schema ?? z.never();
    t.notThrows(() => parseStrict(schema, body?.example, 'example'), described(method, path));
    t.throws(() => parseStrict(schema, 'text', 'text'), undefined, described(method, path));
  }
  const document: Json = openApiDocument(OPERATIONS, '0');
  const { schemas } = document.components;
  t.deepEqual(schemas.NodeSpec.required, ['Role', 'Availability']);
  t.deepEqual(schemas.NodeSpec.properties.Availability.enum, ['active', 'pause', 'drain']);
  t.is(schemas.ServiceSpec.properties.TaskTemplate.type, 'object');
  t.deepEqual(document.paths['/nodes/{id}/update'].post.requestBody.content['application/json'].schema, {
    $ref: '#/components/schemas/NodeSpec',
  });
});

test('parameters say what they mean, and errors have Docker’s body', (t) => {
  const document: Json = openApiDocument(OPERATIONS, '0');
  const parameter = (path: string, method: string, name: string): Json =>
    document.paths[path][method].parameters.find((p: Json) => p.name === name);
  t.is(parameter('/nodes/{id}', 'delete', 'force').schema.type, 'boolean');
  t.like(parameter('/nodes/{id}/update', 'post', 'version'), { required: true, schema: { type: 'integer' } });
  const filters = parameter('/nodes', 'get', 'filters').content['application/json'].schema;
  t.deepEqual(Object.keys(filters.properties), ['id', 'name', 'label', 'node.label', 'role', 'membership']);
  t.deepEqual(parameter('/containers/{id}/wait', 'post', 'condition').schema.enum, [
    'not-running',
    'next-exit',
    'removed',
  ]);
  const error = document.paths['/nodes/{id}'].get.responses['404'].$ref;
  t.is(error, '#/components/responses/Error404');
  t.deepEqual(document.components.responses.Error404.content['application/json'].schema, {
    $ref: '#/components/schemas/ErrorResponse',
  });
  t.deepEqual(document.components.schemas.ErrorResponse.required, ['message']);
});

test('a body of bytes, and one that need not be there', (t) => {
  const operation = operationsOf('x');
  const done = { answers: { 200: answers.empty('Done') }, errors: [] };
  const document: Json = openApiDocument(
    [
      operation('put', '/a', 'A', { body: rawBody('application/x-tar'), ...done }),
      operation('post', '/b', 'B', { body: { ...jsonBody('B', z.object({}), {}), optional: true }, ...done }),
    ],
    '0',
  );
  const tar = { required: true, content: { 'application/x-tar': { schema: {} } } };
  t.deepEqual(document.paths['/a'].put.requestBody, tar);
  t.false(document.paths['/b'].post.requestBody.required);
});

test('two schemas with one name are refused', (t) => {
  const operation = operationsOf('x');
  const done = { answers: { 200: answers.empty('Done') }, errors: [] };
  const twice = [
    operation('post', '/a', 'A', { body: jsonBody('Body', z.string(), ''), ...done }),
    operation('post', '/b', 'B', { body: jsonBody('Body', z.number(), 1), ...done }),
  ];
  t.throws(() => openApiDocument(twice, '0'), { message: 'two schemas have the name Body' });
  t.is(openApiPath('/images/*ref/x/:y'), '/images/{ref}/x/{y}');
});
