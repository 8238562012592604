/** What clients may send that is no request: every endpoint answers as documented, or closes, and serves the next. */
import test, { type ExecutionContext } from 'ava';
import type { Operation } from '../../../manager/api/openapi/operation.ts';
import { JSON_TYPE } from '../../../manager/api/openapi/operation.ts';
import { OPERATIONS } from '../../../manager/api/openapi/operations.ts';
import {
  filterNames,
  flaw,
  knownPath,
  ODD_FILTER_VALUES,
  pathFor,
  probe,
  raw,
  type Sent,
  target,
  type Target,
} from './hostile.ts';
import type { Answer } from './fixture.ts';
import {
  type AppError,
  ConflictError,
  HTTP_STATUS,
  InvalidError,
  NotFoundError,
  UnavailableError,
  UnsupportedError,
} from '../../../shared/errors/index.ts';

const WITH_BODY = OPERATIONS.filter(({ body }) => body?.type === JSON_TYPE);
const REFUSALS: readonly (() => AppError)[] = [
  () => new InvalidError('no sense'),
  () => new NotFoundError('not here'),
  () => new ConflictError('in use'),
  () => new UnsupportedError('not supported by this node'),
  () => new UnavailableError('too slow'),
];
/** Refused whatever they are asked. */
const there = ({ answers }: Operation): boolean => Object.keys(answers).length > 0;

async function checked(t: ExecutionContext, { api }: Target, sent: Sent): Promise<Answer> {
  const answer = await probe(api, sent);
  t.is(flaw(sent, answer), undefined, `${sent.method} ${sent.path} ${String(sent.body).slice(0, 100)}`);
  return answer;
}

/** Of parameters for which 1 would not do. */
const REQUIRED = {
  fromImage: 'busybox:latest',
  names: 'busybox',
  tag: 'latest',
  repo: 'other',
  name: 'other',
  path: '/etc',
};

function withVersion(operation: Operation, path: string, version = '1'): string {
  const values: Readonly<Record<string, string>> = { ...REQUIRED, version };
  const query = (operation.required ?? []).map((name) => `${name}=${values[name] ?? '1'}`);
  return query.length === 0 ? path : `${path}?${query.join('&')}`;
}

function exampleOf({ body }: Operation): Pick<Sent, 'body' | 'headers'> {
  if (body?.type !== JSON_TYPE) return {};
  return { body: JSON.stringify(body.example), headers: { 'content-type': JSON_TYPE } };
}

test('these tests notice an answer that is not as documented', (t) => {
  const sent = { method: 'GET', path: '/v1.47/nodes?x=1' };
  const headers = { 'content-type': JSON_TYPE, 'x-request-id': 'a' };
  const answer = (status: number, json: unknown, more: object = {}): Answer => ({
    status,
    headers: { ...headers, ...more },
    body: Buffer.from(JSON.stringify(json)),
    json,
  });
  t.is(flaw(sent, answer(200, [{}])), undefined);
  t.is(flaw(sent, answer(400, { message: 'why' })), undefined);
  t.regex(flaw(sent, answer(500, { message: 'x is undefined' })) ?? '', /500 is not documented/);
  t.regex(flaw(sent, answer(409, { message: 'why' })) ?? '', /409 is not documented/);
  t.regex(flaw(sent, answer(200, { not: 'a list' })) ?? '', /not as documented/);
  t.regex(flaw(sent, answer(400, 'why')) ?? '', /no message/);
  t.regex(
    flaw(sent, answer(400, { message: 'x' }, { 'content-type': 'text/html' })) ?? '',
    /an error as text/,
  );
  t.regex(flaw(sent, answer(200, [], { 'x-request-id': undefined })) ?? '', /no X-Request-Id/);
  const update = { method: 'POST', path: '/nodes/a/update?version=1' };
  t.regex(flaw(update, answer(500, { message: 'boom' })) ?? '', /500 without a cause/);
  t.regex(flaw({ method: 'GET', path: '/none' }, answer(200, {})) ?? '', /200 is not documented/);
});

test('a body that is no JSON is 400, and its place is named', async (t) => {
  const at = await target();
  await using _ = at.api;
  for (const operation of WITH_BODY) {
    const path = withVersion(operation, knownPath(operation, at.known));
    for (const body of [
      '{"Name": ',
      '{"a":1}}',
      "{'a': 1}",
      '{"a": NaN}',
      '\u0000',
      '[1,]',
      '{"a":"\ud800',
    ]) {
      const sent = {
        method: operation.method.toUpperCase(),
        path,
        body,
        headers: { 'content-type': JSON_TYPE },
      };
      const { status, json } = await checked(t, at, sent);
      t.is(status, 400, `${operation.path} ${body}`);
      t.regex(json.message, /malformed JSON in the request body: .* at position \d+/, operation.path);
    }
  }
});

test('a body of another type than is described is 400, and the field is named', async (t) => {
  const at = await target();
  await using _ = at.api;
  for (const operation of WITH_BODY) {
    const path = withVersion(operation, knownPath(operation, at.known));
    const headers = { 'content-type': JSON_TYPE };
    const method = operation.method.toUpperCase();
    for (const body of ['[]', '"text"', '7', 'true', ...(operation.body?.optional ? [] : ['null', ''])]) {
      const { status } = await checked(t, at, { method, path, body, headers });
      t.is(status, 400, `${operation.path} ${body}`);
    }
    const [field = ''] = Object.keys(operation.body?.example as object);
    const body = JSON.stringify({ ...(operation.body?.example as object), [field]: [[1]] });
    const { status, json } = await checked(t, at, { method, path, body, headers });
    t.is(status, 400, operation.path);
    t.true(json.message.includes(field), `${operation.path}: ${json.message}`);
  }
});

test('a body that is too large is 400, announced or not', async (t) => {
  const at = await target();
  await using _ = at.api;
  const large = Buffer.alloc(33 * 1024 * 1024, ' ');
  for (const operation of WITH_BODY) {
    const path = withVersion(operation, knownPath(operation, at.known));
    const head = `${operation.method.toUpperCase()} ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: ${JSON_TYPE}\r\n`;
    const announced = await raw(at.api, `${head}Content-Length: 99999999999\r\n\r\n{`);
    t.regex(
      announced,
      /^HTTP\/1\.1 400 [\s\S]*connection: close[\s\S]*is larger than \d+ bytes/i,
      operation.path,
    );
  }
  const { method, path } = { method: 'PUT', path: '/stacks/big' };
  const unannounced = Buffer.concat([
    Buffer.from(`${method} ${path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`),
    Buffer.from(`${large.length.toString(16)}\r\n`),
    large,
  ]);
  const answer = await raw(at.api, unannounced);
  // A client that still writes when it is cut off may not see why.
  t.true(answer === '' || answer.startsWith('HTTP/1.1 400'), answer.slice(0, 200));
  t.is((await probe(at.api, { method: 'GET', path: '/_ping' })).status, 200);
});

test('ids that there are not are 404', async (t) => {
  const at = await target();
  await using _ = at.api;
  for (const operation of OPERATIONS.filter(
    (one) => there(one) && one.errors.includes(404) && /[:*]/.test(one.path),
  )) {
    const found = pathFor(operation, (name) => (name === 'revision' ? '7' : 'nosuchthing'));
    const path = withVersion(operation, found);
    // What a diff is about need not be there, nor a stack that is deployed.
    if (['put', 'post'].includes(operation.method) && /^\/stacks\/:name(\/diff)?$/.test(operation.path))
      continue;
    const sent = { method: operation.method.toUpperCase(), path, ...exampleOf(operation) };
    const logs = operation.path.endsWith('/logs') ? { ...sent, path: `${path}?stdout=1` } : sent;
    t.is((await checked(t, at, logs)).status, 404, `${operation.method} ${path}`);
  }
});

test('a stale version is what Docker answers; one that is missing or no number is 400', async (t) => {
  const at = await target();
  await using _ = at.api;
  const versioned = OPERATIONS.filter(({ required = [] }) => required.includes('version'));
  t.true(versioned.length >= 4);
  for (const operation of versioned) {
    const path = knownPath(operation, at.known);
    const sent = { method: 'POST', ...exampleOf(operation) };
    const role = operation.path.startsWith('/nodes')
      ? { body: '{"Role":"manager","Availability":"active"}' }
      : {};
    const kept = /^\/(secret|config)s/.test(operation.path)
      ? { body: JSON.stringify({ Name: at.known[operation.tag], Labels: { a: 'b' } }) }
      : {};
    const stale = await checked(t, at, { ...sent, ...role, ...kept, path: `${path}?version=1` });
    t.regex(stale.json.message, /update out of sequence/, operation.path);
    t.is(stale.status, /^\/(secret|config)s/.test(operation.path) ? 400 : 500, operation.path);
    for (const version of ['', '-1', '1.5', 'x', '0x1', '9'.repeat(30), '%20', '%00'])
      t.is((await checked(t, at, { ...sent, path: `${path}?version=${version}` })).status, 400, version);
    t.is((await checked(t, at, { ...sent, path })).status, 400, operation.path);
  }
});

test('a method that a path has not is Docker’s 404', async (t) => {
  const at = await target();
  await using _ = at.api;
  const paths = new Set(OPERATIONS.map(({ path }) => path));
  for (const path of paths) {
    const has = new Set(
      OPERATIONS.filter((one) => one.path === path).map(({ method }) => method.toUpperCase()),
    );
    const asked = knownPath({ path } as Operation, at.known);
    for (const method of ['PATCH', 'OPTIONS', 'PROPFIND', 'PUT', 'DELETE']) {
      if (has.has(method)) continue;
      const answer = await probe(at.api, { method, path: asked, body: method === 'PUT' ? '{}' : undefined });
      // Another route may fit: /images/prune is a name of an image for DELETE.
      const allowed = answer.status === 404 || answer.status === 501;
      t.true(allowed, `${method} ${asked}: ${answer.status}`);
      t.is(answer.headers['content-type'], JSON_TYPE, `${method} ${asked}`);
      t.is(typeof answer.json.message, 'string');
    }
  }
});

test('paths that can not be decoded, and odd ones, are refused', async (t) => {
  const at = await target();
  await using _ = at.api;
  for (const path of [
    '/services/%',
    '/services/%zz',
    '/services/%E0%A4%A',
    '/containers/%C0%80/json',
    '/images/%ff/json',
    '//services',
    '/services//logs',
    '/v1.47',
    '/v1.47?x=1',
    '/v1.999/info',
    '/v999999999999999999999.1/info',
    '/v1.24/../info',
    '/services/..%2f..%2fetc%2fpasswd',
    '/services/%00',
    '/%2e%2e/%2e%2e',
    `/services/${'a'.repeat(8000)}`,
    '/stacks/__proto__',
    '/services/constructor',
    '/networks/toString',
    '/exec/__proto__/json',
  ]) {
    const { status } = await checked(t, at, { method: 'GET', path });
    t.true(status === 400 || status === 404, `${path}: ${status}`);
  }
});

test('filters and other parameters that make no sense are refused or ignored, and never a failure', async (t) => {
  const at = await target();
  await using _ = at.api;
  const values = ['{', '[]', '7', 'null', '{"label":7}', '{"label":{"a":1}}', '{"label":[{}]}', '{"":["x"]}'];
  const odd = ['{"__proto__":["x"]}', '{"constructor":{"x":true}}', '['.repeat(3000), '{"id":['.repeat(800)];
  for (const operation of OPERATIONS) {
    for (const name of Object.keys(operation.query ?? {})) {
      for (const value of [
        ...values,
        ...odd,
        '-1',
        '1e999',
        '%',
        '\u0000',
        'é'.repeat(50),
        '9'.repeat(400),
      ]) {
        const path = `${knownPath(operation, at.known)}?${name}=${encodeURIComponent(value)}&${name}=2`;
        if (path.length > 15_000) continue;
        const sent = { method: operation.method.toUpperCase(), path, ...exampleOf(operation) };
        if (operation.method === 'delete') sent.path = sent.path.replace(/[^/]+\?/, 'none?');
        await checked(t, at, sent);
      }
    }
  }
});

test('what these tests begin with is taken: the path of what there is, and the example of the body', async (t) => {
  // What is left: names that are taken, versions that are not the newest, logs without a stream, and the like.
  const refused: string[] = [];
  for (const operation of OPERATIONS.filter(there)) {
    const at = await target();
    await using _ = at.api;
    const path = withVersion(operation, knownPath(operation, at.known, true));
    const sent = { method: operation.method.toUpperCase(), path, ...exampleOf(operation) };
    const { status } = await checked(t, at, sent);
    if (status >= 400) refused.push(`${status} ${operation.method} ${operation.path}`);
  }
  t.deepEqual(refused, [
    '501 post /backup',
    '404 get /metrics',
    '500 post /swarm/update',
    '404 delete /join-tokens/:id',
    '503 post /ca/rotate-etcd',
    '503 post /data-key/rotate',
    '501 post /nodes/:id/update',
    '400 delete /nodes/:id',
    '404 delete /managers/:id',
    '409 post /services/create',
    '500 post /services/:id/update',
    '400 get /services/:id/logs',
    '400 get /services/:id/revisions/diff',
    '500 post /services/:id/rollback',
    '400 get /tasks/:id/logs',
    '409 post /networks/create',
    '404 post /networks/:id/connect',
    '404 post /networks/:id/disconnect',
    '400 get /containers/:id/logs',
    '400 get /containers/:id/attach/ws',
    '409 post /containers/:id/kill',
    '404 post /stacks/:name/rollback',
    '400 post /secrets/:id/update',
    '409 post /configs/create',
    '400 post /configs/:id/update',
    '400 post /users/:name/certificate',
    '404 delete /users/:name/credentials/:id',
    '503 get /audit',
  ]);
});

test('what a node refuses has a documented status, and no type of the answer that did not come', async (t) => {
  for (const refusal of REFUSALS) {
    const at = await target();
    await using _ = at.api;
    for (const node of at.api.nodes.values()) {
      for (const method of node.answers.keys())
        node.answers.set(method, () => {
          throw refusal();
        });
    }
    let refused = 0;
    for (const operation of OPERATIONS) {
      const path = withVersion(operation, knownPath(operation, at.known, true));
      const sent = { method: operation.method.toUpperCase(), path, ...exampleOf(operation) };
      const { status, json } = await checked(t, at, sent);
      if (status === HTTP_STATUS[refusal().code] && json?.message?.includes(refusal().message)) refused += 1;
    }
    t.true(refused >= 10, `${refusal().name}: ${refused}`);
  }
});

test('what a filter may hold is understood or refused', async (t) => {
  const at = await target();
  await using _ = at.api;
  const filtered = OPERATIONS.filter((operation) => filterNames(operation).length > 0);
  t.true(filtered.length >= 10);
  for (const operation of filtered) {
    for (const name of filterNames(operation)) {
      for (const value of ODD_FILTER_VALUES) {
        const filters = encodeURIComponent(JSON.stringify({ [name]: [value] }));
        const path = `${knownPath(operation, at.known)}?filters=${filters}`;
        await checked(t, at, { method: operation.method.toUpperCase(), path });
      }
    }
  }
});

test('a JSON text as deep as it is long is refused, and quickly', async (t) => {
  const at = await target();
  await using _ = at.api;
  const depth = 200_000;
  for (const operation of WITH_BODY) {
    const path = withVersion(operation, knownPath(operation, at.known));
    const example = JSON.stringify(operation.body?.example);
    for (const deep of [
      '['.repeat(depth),
      `${'['.repeat(depth)}${']'.repeat(depth)}`,
      `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`,
      `${example.slice(0, -1)},"Unknown":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}}`,
      `${example.slice(0, -1)},"Unknown":${'['.repeat(depth)}1${']'.repeat(depth)}}`,
    ]) {
      const headers = { 'content-type': JSON_TYPE };
      const sent = { method: operation.method.toUpperCase(), path, body: deep, headers };
      const { status } = await checked(t, at, sent);
      t.true(status === 400 || status === 501, `${operation.path} ${deep.slice(0, 50)}: ${status}`);
    }
  }
});
