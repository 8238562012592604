/** Every line of a request's log has its id, the node's line too; and no line has what is secret. */
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { createApi, listenUnix } from '../../../manager/api/index.ts';
import { onBehalfOf } from '../../../manager/request-scope.ts';
import { InvalidError } from '../../../shared/errors/index.ts';
import type { Logger } from '../../../shared/model/options.ts';
import type { Node } from '../../../shared/model/index.ts';
import { eventually, rig, startAgent, type Rig } from '../session/rig.ts';
import { ApiFixture, type Json } from './fixture.ts';
import { containerInfo } from './samples.ts';

/** As the daemons log, into memory. */
function recorder(): { logger: Logger; lines: Json[]; text: () => string } {
  const texts: string[] = [];
  const sink = new Writable({
    write: (chunk, _encoding, done) => {
      texts.push(String(chunk));
      done();
    },
  });
  const logger = pino({ level: 'debug', base: {} }, sink);
  return {
    logger,
    get lines() {
      return texts.map((line) => JSON.parse(line));
    },
    text: () => texts.join(''),
  };
}

test('a well-formed id of the client is taken over, another is not', async (t) => {
  const log = recorder();
  await using api = await ApiFixture.up(1, { logger: log.logger });
  for (const id of ['ticket-4711', 'a', 'A.b_c:9', 'x'.repeat(64)]) {
    const { headers } = await api.send('GET', '/version', undefined, { 'X-Request-Id': id });
    t.is(headers['x-request-id'], id);
  }
  const made = new Set<unknown>();
  for (const id of ['', 'a b', 'x'.repeat(65), '{"a":1}', 'a;b', '\u00e9']) {
    const { headers } = await api.send('GET', '/version', undefined, id === '' ? {} : { 'X-Request-Id': id });
    t.regex(String(headers['x-request-id']), /^[0-9a-z]{12}$/);
    made.add(headers['x-request-id']);
  }
  t.is(made.size, 6, 'each has its own');
  await eventually('all are logged', () => log.lines.length === 10);
  t.is(log.lines.filter(({ requestId }) => requestId === 'ticket-4711').length, 1);
  t.true(log.lines.every(({ requestId, elapsedMs }) => typeof requestId === 'string' && elapsedMs >= 0));
});

test('errors have the id too, in the answer and in the log', async (t) => {
  const log = recorder();
  await using api = await ApiFixture.up(1, { logger: log.logger });
  const id = { 'X-Request-Id': 'mine' };
  const { status, headers } = await api.send('GET', '/services/none', undefined, id);
  t.is(status, 404);
  t.is(headers['x-request-id'], 'mine');
  t.is((await api.send('GET', '/none', undefined, id)).headers['x-request-id'], 'mine');
  t.is((await api.send('GET', '/v1.99/info', undefined, id)).headers['x-request-id'], 'mine');
  await eventually('all are logged', () => log.lines.length === 3);
  t.deepEqual(
    log.lines.map(({ requestId, status }) => [requestId, status]),
    [
      ['mine', 404],
      ['mine', 404],
      ['mine', 400],
    ],
  );
});

/** An API over a real dispatcher, with one agent that logs. */
async function cluster(t: ExecutionContext): Promise<{
  log: ReturnType<typeof recorder>;
  nodeLog: ReturnType<typeof recorder>;
  r: Rig;
  get: (path: string, requestId: string, method?: string, body?: object) => Promise<number>;
}> {
  const [log, nodeLog] = [recorder(), recorder()];
  const r = await rig(t);
  const agent = startAgent({
    address: r.address,
    identity: await r.joined('a1'),
    hostname: 'a1',
    logger: nodeLog.logger,
    signal: r.signal,
    handlers: {
      stream: async function* () {
        yield { stream: 1, data: Buffer.from('a line\n') };
      },
      call: (method, params): Promise<Json> => {
        if (method === 'container.list') return Promise.resolve([CONTAINER]);
        if (method === 'exec.create' && JSON.stringify(params).includes('fail'))
          return Promise.reject(new TypeError('the node is at fault'));
        if (method === 'exec.create') return Promise.resolve({});
        return Promise.reject(new InvalidError(`no ${method}`));
      },
    },
  });
  t.teardown(() => agent.stop());
  await eventually('the node is ready', () => r.store.get('nodes', agent.nodeId)?.status === 'ready');
  const api = createApi({
    ...new ApiFixture().options(),
    store: r.store,
    gateway: r.dispatcher.gateway,
    logger: log.logger,
  });
  const directory = await mkdtemp(join(tmpdir(), 'shoal-id-'));
  const socketPath = join(directory, 's');
  const server = await listenUnix(socketPath, api, { mode: 0o600 });
  t.teardown(async () => {
    await server.close();
    await rm(directory, { recursive: true });
  });
  const get = (path: string, requestId: string, method = 'GET', body?: object): Promise<number> =>
    new Promise((resolve, reject) => {
      const headers = { 'X-Request-Id': requestId };
      const req = request({ socketPath, path, method, headers, agent: false }, (res) => {
        res.resume().once('end', () => resolve(res.statusCode ?? 0));
      });
      req.once('error', reject).end(body === undefined ? undefined : JSON.stringify(body));
    });
  return { log, nodeLog, r, get };
}

const CONTAINER = containerInfo({ id: 'c'.repeat(64), taskId: 't1', name: 'web.1' });

test('the node’s line of a call has the id of the request that it was made for, among many at once', async (t) => {
  const { log, nodeLog, get } = await cluster(t);
  const ids = Array.from({ length: 50 }, (_, i) => `r${i}`);
  const statuses = await Promise.all(ids.map((id) => get('/containers/json', id)));
  t.deepEqual([...new Set(statuses)], [200]);
  const calls = nodeLog.lines.filter(({ method }) => method === 'container.list');
  t.deepEqual(calls.map(({ requestId }) => requestId).toSorted(), ids.toSorted());
  t.true(calls.every(({ elapsedMs }) => elapsedMs >= 0));
  t.is(log.lines.filter(({ requestId }) => requestId === 'r7').length, 1);
});

test('what the manager notes on the way, and what the node refuses or fails at, has the id', async (t) => {
  const { log, nodeLog, r, get } = await cluster(t);
  const [here] = [...r.store.all('nodes').values()];
  const description = { ...here?.description, address: '192.0.2.9' };
  const node = { ...here, id: 'gone', description } as Node;
  await r.store.commit([{ table: 'nodes', key: 'gone', value: node }], { signal: r.signal });
  t.is(await get('/containers/web.1/top', 'refused'), 400);
  const refused = nodeLog.lines.filter(({ requestId }) => requestId === 'refused');
  t.deepEqual(
    refused.map(({ method, level, error }) => [method, level, error ?? null]),
    [
      ['container.list', 20, null],
      ['container.top', 20, 'no container.top'],
    ],
  );
  t.is(await get('/containers/web.1/exec', 'failed', 'POST', { Cmd: ['fail'] }), 500);
  const failed = nodeLog.lines.find(({ requestId, level }) => requestId === 'failed' && level === 50);
  t.like(failed, { method: 'exec.create', error: 'the node is at fault' });
  t.true(log.lines.some(({ requestId, status }) => requestId === 'failed' && status === 500));
});

test('so has its line of a stream', async (t) => {
  const { r, nodeLog } = await cluster(t);
  const [nodeId = ''] = r.store.all('nodes').keys();
  const params = { containerId: CONTAINER.id, follow: false, stdout: true, stderr: true };
  const read = async (): Promise<string> => {
    let text = '';
    for await (const { data } of r.dispatcher.gateway.stream(nodeId, 'container.logs', params, r.signal))
      text += data.toString();
    return text;
  };
  t.is(await onBehalfOf('mine', read), 'a line\n');
  await eventually('it is logged', () => nodeLog.lines.some(({ method }) => method === 'container.logs'));
  t.like(
    nodeLog.lines.find(({ method }) => method === 'container.logs'),
    { requestId: 'mine', level: 20 },
  );
});

test('what the manager does by itself has no id', async (t) => {
  const { r, nodeLog } = await cluster(t);
  const [nodeId = ''] = r.store.all('nodes').keys();
  await r.dispatcher.gateway.call(nodeId, 'container.list', {}, r.signal);
  const [line] = nodeLog.lines.filter(({ method }) => method === 'container.list');
  t.is(line.method, 'container.list');
  t.false('requestId' in line);
});

test('no log has the data of secrets and configs, environments, or credentials: not in bodies, queries or headers', async (t) => {
  const log = recorder();
  await using api = await ApiFixture.up(1, { logger: log.logger });
  const hidden = 'hunter2';
  const data = Buffer.from(hidden).toString('base64');
  const auth = Buffer.from(JSON.stringify({ username: 'u', password: hidden })).toString('base64url');
  const headers = { 'X-Registry-Auth': auth };
  const query = `?Data=${data}&Env=P%3D${hidden}&buildargs=${encodeURIComponent(`{"P":"${hidden}"}`)}`;
  const service = (more: object): object => ({
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'busybox', Env: [`P=${hidden}`], ...more } },
  });
  for (const kind of ['secrets', 'configs']) {
    await api.send('POST', `/${kind}/create${query}`, { Name: 'token', Data: data });
    await api.send('POST', `/${kind}/create${query}`, { Name: 'token', Data: data });
    await api.send('POST', `/${kind}/create${query}`, { Name: '///', Data: `${data}!` });
    await api.send('POST', `/${kind}/create${query}`, `{"Data":"${data}",`);
    await api.send('POST', `/${kind}/token/update?version=1`, { Name: 'token', Data: data });
  }
  await api.send('POST', `/services/create${query}`, service({}), headers);
  await api.send('POST', `/services/create${query}`, service({ Nonsense: hidden }), headers);
  await api.send('POST', `/services/create`, service({ Env: { P: hidden } }), headers);
  await api.send('POST', `/services/web/update${query}&version=1`, service({}), headers);
  await api.send('POST', `/build${query}`, {}, headers);
  await api.send('POST', '/auth', { username: 'u', password: hidden });
  await api.send('GET', `/none${query}`, undefined, headers);
  await api.send('PUT', `/stacks/shop${query}`, `services: {a: {image: b, environment: {P: ${hidden}}}}`);
  await api.send('PUT', '/stacks/shop', `services: {a: {imag: b, environment: {P: ${hidden}}}}`);
  await eventually('all are logged', () => log.lines.length >= 19);
  t.true(log.lines.every(({ path }) => typeof path === 'string' && !path.includes('?')));
  for (const secret of [hidden, data, auth]) t.false(log.text().includes(secret), secret);
});

test('a failure of the API itself is logged with its stack, and without the request’s query and body', async (t) => {
  const log = recorder();
  await using api = await ApiFixture.up(1, {
    logger: log.logger,
    managerNodeId: () => {
      throw new TypeError('a fault');
    },
  });
  const { status, json } = await api.send('GET', '/info?Data=hunter2', undefined, { 'X-Request-Id': 'mine' });
  t.is(status, 500);
  t.deepEqual(json, { message: 'a fault' });
  const failure = log.lines.find(({ level }) => level === 50);
  t.like(failure, { requestId: 'mine', method: 'GET', path: '/info', msg: 'request failed' });
  t.regex(failure.err.stack, /TypeError: a fault/);
  t.false(log.text().includes('hunter2'));
});

test('the log of an exec has neither its command’s environment nor its arguments', async (t) => {
  const { log, nodeLog, get } = await cluster(t);
  t.is(
    await get('/containers/web.1/exec', 'e1', 'POST', { Cmd: ['echo', 'hunter2'], Env: ['P=hunter3'] }),
    201,
  );
  t.is(
    await get('/containers/web.1/exec', 'e2', 'POST', { Cmd: ['fail', 'hunter2'], Env: ['P=hunter3'] }),
    500,
  );
  await eventually('both are logged', () => log.lines.length >= 2);
  t.is(nodeLog.lines.filter(({ method }) => method === 'exec.create').length, 2);
  t.notRegex(log.text() + nodeLog.text(), /hunter/);
});
