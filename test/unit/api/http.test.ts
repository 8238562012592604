import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { ApiClient } from '../../../deploy/cli/client.ts';
import { jsonErrorPosition } from '../../../manager/api/http/json-position.ts';
import { listenUnix } from '../../../manager/api/index.ts';
import { ApiFixture } from './fixture.ts';

test('ping tells what clients negotiate by, with GET and HEAD', async (t) => {
  await using api = await ApiFixture.up();
  for (const method of ['GET', 'HEAD']) {
    const { status, headers, body } = await api.send(method, '/_ping');
    t.is(status, 200);
    t.is(body.toString(), method === 'GET' ? 'OK' : '');
    t.like(headers, { 'api-version': '1.47', ostype: 'linux', swarm: 'active/manager' });
    t.is(headers['docker-experimental'], 'false');
  }
});

test('paths with a version, without one, and with one that is not spoken', async (t) => {
  await using api = await ApiFixture.up();
  for (const prefix of ['', '/v1.24', '/v1.47'])
    t.is((await api.send('GET', `${prefix}/version`)).status, 200, prefix);
  const newer = await api.send('GET', '/v1.48/version');
  t.is(newer.status, 400);
  t.is(newer.json.message, 'client version 1.48 is too new. Maximum supported API version is 1.47');
  t.regex((await api.send('GET', '/v1.23/info')).json.message, /1\.23 is too old/);
});

test('errors are application/json exactly, and unknown routes say so', async (t) => {
  await using api = await ApiFixture.up();
  const { status, headers, json } = await api.send('GET', '/v1.47/nothing/here');
  t.is(status, 404);
  t.is(headers['content-type'], 'application/json');
  t.deepEqual(json, { message: 'page not found' });
  t.is((await api.send('GET', '/services/%E0%A4%A')).status, 400);
});

test('malformed JSON names the place; a body that is too large is refused', async (t) => {
  await using api = await ApiFixture.up();
  const { status, json } = await api.send('POST', '/services/create', '{"Name": "a",\n "Labels": }');
  t.is(status, 400);
  t.is(json.message, 'malformed JSON in the request body: unexpected "}" at position 25 (line 2, column 12)');
  t.regex((await api.send('POST', '/services/create', '')).json.message, /body is empty/);
  t.regex((await api.send('GET', '/services?filters=%7B')).json.message, /filters parameter.*ends too early/);
  const large = await api
    .send('POST', '/services/create', ' '.repeat(5 * 1024 * 1024))
    .catch((error: Error) => error);
  // The connection is closed under a client that still writes; one that has written sees the 400.
  t.true(large instanceof Error || large.status === 400);
  t.is((await api.send('GET', '/_ping')).status, 200);
});

test('a refusal waits for a body that is still on its way, and the connection goes on', async (t) => {
  await using api = await ApiFixture.up();
  const socket = connect(api.socket);
  t.teardown(() => socket.destroy());
  let received = '';
  socket.setEncoding('utf8').on('data', (text: string) => (received += text));
  const line = 'HTTP/1.1\r\nHost: x\r\n';
  socket.write(`POST /swarm/init ${line}Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{"a"`);
  // long enough for an answer that does not wait
  await sleep(100);
  socket.write(`: "bcd"}GET /_ping ${line}\r\n`);
  for (const deadline = Date.now() + 20_000; !received.endsWith('OK'); await sleep(5))
    if (Date.now() > deadline) throw new Error(`received only: ${received}`);
  t.regex(received, /already part of a swarm[\s\S]*HTTP\/1\.1 200/);
  t.notRegex(received, /connection: close/i);
});

test('the place of an error agrees with JSON.parse about what is JSON', (t) => {
  fc.assert(
    fc.property(fc.json(), fc.nat(), fc.constantFrom('', '}', ',', 'x', '"'), (text, cut, extra) => {
      const at = cut % (text.length + 1);
      const broken = text.slice(0, at) + extra + text.slice(at + 1);
      const valid = ((): boolean => {
        try {
          JSON.parse(broken);
          return true;
        } catch {
          return false;
        }
      })();
      const position = jsonErrorPosition(broken);
      if (valid) t.is(position, broken.length);
      else t.true(position <= broken.length);
      t.is(jsonErrorPosition(text), text.length);
    }),
  );
});

test('what Docker has and Shoal has not is a list that is empty, a clean 404, or a 501 by name', async (t) => {
  await using api = await ApiFixture.up();
  for (const path of ['/secrets', '/configs', '/images/json']) t.deepEqual(await api.get(path), []);
  t.deepEqual(await api.get('/volumes'), { Volumes: [], Warnings: null });
  const missing = [
    'secrets/a',
    'configs/a',
    'volumes/a',
    'images/a/b:c/json',
    'plugins/a/json',
    'distribution/x/y:1/json',
  ];
  for (const path of [...missing, 'services/a', 'tasks/a', 'nodes/a', 'networks/a', 'containers/a/json']) {
    const { status, json } = await api.send('GET', `/${path}`);
    t.is(status, 404, path);
    t.is(typeof json.message, 'string', path);
  }
  const posts = ['commit', 'build'];
  for (const path of posts) {
    const { status, json } = await api.send('POST', `/v1.47/${path}`, {});
    t.is(status, 501, path);
    t.regex(json.message, new RegExp(`POST /${path}`));
  }
  t.is((await api.send('POST', '/swarm/init', {})).status, 503);
});

test('a server that is drained answers what was asked, closes what waits, and takes no more', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-drain-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, 's.sock');
  const held: (() => void)[] = [];
  const handler: RequestListener = (req, res) => {
    if (req.url === '/wait') held.push(() => res.end('done'));
    else res.end('x');
  };
  const server = await listenUnix(path, handler, { mode: 0o660 });
  const client = new ApiClient(path);
  const never = new AbortController().signal;
  const idle = connect(path, () => idle.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
  await once(idle, 'data');
  const asked = client.send('GET', '/wait', undefined, never);
  while (held.length === 0) await sleep(5);
  const drained = server.drain();
  await once(idle, 'close');
  await t.throwsAsync(client.send('GET', '/y', undefined, never));
  held[0]?.();
  t.is((await asked).body, 'done');
  await drained;
  await server.close();
});

test('a socket that a crash left is replaced; one that is served, and a file, are not', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-socket-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, 's.sock');
  const handler = (_: unknown, res: { end(text: string): void }): void => res.end('x');
  const first = await listenUnix(path, handler, { mode: 0o660, group: 'no-such-group-here' });
  t.is((await stat(path)).mode & 0o777, 0o660);
  await t.throwsAsync(listenUnix(path, handler, { mode: 0o660 }), { message: /another process answers/ });
  await first.close();
  // A process that is killed leaves its socket behind.
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.true((await stat(path)).isSocket());
  const second = await listenUnix(path, handler, { mode: 0o660 });
  await second.close();
  const file = join(directory, 'file');
  await writeFile(file, 'precious');
  await t.throwsAsync(listenUnix(file, handler, { mode: 0o660 }), { message: /no socket/ });
});
