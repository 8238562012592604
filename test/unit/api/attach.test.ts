/** Attaching through the API: when the client is answered, what it gets, and how it leaves. Nodes are objects. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import { DetachScanner, parseDetachKeys } from '../../../manager/api/http/detach-keys.ts';
import { ConflictError } from '../../../shared/errors/index.ts';
import type { AttachParams, ContainerInfo, StreamChunk } from '../../../shared/model/node-methods/index.ts';
import { ApiFixture, type FakeNode } from './fixture.ts';

const ID = 'c'.repeat(64);
const DEADLINE_MS = 30_000;

const container: ContainerInfo = {
  id: ID,
  taskId: 't1',
  name: 'web.1.t1',
  image: 'x',
  imageId: 'sha256:0',
  serviceId: 's1',
  serviceName: 'web',
  slot: 1,
  labels: {},
  path: 'sh',
  args: [],
  env: [],
  createdAtMs: 1,
  state: 'running',
  pid: 1,
  logPath: '/log',
  networks: [],
};

/** A node whose container echoes its input, and that remembers what it was asked. */
class Echo {
  params: AttachParams | undefined;
  left = false;
  /** Says "attached" once this resolves. */
  ready: Promise<void> = Promise.resolve();
  failure: Error | undefined;

  node(api: ApiFixture, more: Partial<ContainerInfo> = {}): FakeNode {
    const node = api.nodes.get('nodea2');
    if (node === undefined) throw new Error('no node');
    node.containers = [{ ...container, ...more }];
    node.duplex = (_method, params: AttachParams, input, signal) => this.#attach(params, input, signal);
    return node;
  }

  async *#attach(
    params: AttachParams,
    input: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): AsyncGenerator<StreamChunk> {
    this.params = params;
    const gone = new Promise<never>((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
    );
    gone.catch(() => (this.left = true));
    await Promise.race([this.ready, gone]);
    if (this.failure !== undefined) throw this.failure;
    yield { stream: 1, data: Buffer.alloc(0) };
    yield { stream: 2, data: Buffer.from('hello\n') };
    const chunks = input[Symbol.asyncIterator]();
    for (;;) {
      const next = await Promise.race([chunks.next(), gone]);
      if (next.done === true) return;
      yield { stream: 1, data: next.value };
    }
  }
}

async function upgraded(api: ApiFixture, path: string): Promise<Socket> {
  const socket = connect(api.socket);
  socket.on('error', () => undefined);
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n`,
  );
  return socket;
}

async function until(socket: Socket, wanted: string): Promise<string> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  let seen = '';
  while (!seen.includes(wanted)) {
    const chunk = socket.read() as Buffer | null;
    if (chunk !== null) seen += chunk.toString('latin1');
    else if (socket.readableEnded) throw new Error(`the end, after: ${seen}`);
    else await Promise.race([once(socket, 'readable', { signal }), once(socket, 'end', { signal })]);
  }
  return seen;
}

async function condition(met: () => boolean): Promise<void> {
  for (const signal = AbortSignal.timeout(DEADLINE_MS); !met(); ) {
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test('101 only when the node has said that the client is attached; then frames, and input', async (t) => {
  await using api = await ApiFixture.up();
  const echo = new Echo();
  let say = (): void => undefined;
  echo.ready = new Promise((resolve) => (say = resolve));
  echo.node(api);
  const socket = await upgraded(
    api,
    `/v1.47/containers/${ID}/attach?stream=1&stdin=1&stdout=1&stderr=1&logs=1`,
  );
  await condition(() => echo.params !== undefined);
  t.deepEqual(echo.params, {
    containerId: ID,
    stdin: true,
    stdout: true,
    stderr: true,
    logs: true,
    stream: true,
  });
  t.is(socket.read(), null);
  say();
  const head = await until(socket, 'hello\n');
  t.regex(head, /^HTTP\/1\.1 101 UPGRADED\r\nContent-Type: application\/vnd\.docker\.multiplexed-stream\r\n/);
  t.true(head.endsWith('\x02\0\0\0\0\0\0\x06hello\n'));
  socket.write('ping');
  t.true((await until(socket, 'ping')).startsWith('\x01\0\0\0\0\0\0\x04'));
  socket.end();
  await once(socket.resume(), 'end');
});

test('a client that leaves leaves the node; a node that does not answer is given up', async (t) => {
  await using api = await ApiFixture.up();
  const echo = new Echo();
  echo.node(api);
  const socket = await upgraded(api, `/containers/${ID}/attach?stream=1&stdin=1&stdout=1`);
  await until(socket, 'hello');
  socket.destroy();
  await condition(() => echo.left);
  const silent = new Echo();
  silent.ready = new Promise(() => undefined);
  silent.node(api);
  const answer = await api.send('POST', `/containers/${ID}/attach?stream=1&stdout=1`);
  t.is(answer.status, 503);
  t.regex(answer.json.message, /node nodea2 did not answer/);
  await condition(() => silent.left);
});

test('without an upgrade: 200 and the stream; standard input is refused', async (t) => {
  await using api = await ApiFixture.up();
  new Echo().node(api, { tty: true });
  const refused = await api.send('POST', `/containers/${ID}/attach?stream=1&stdin=1&stdout=1`);
  t.is(refused.status, 501);
  t.regex(refused.json.message, /Upgrade: tcp/);
  const answer = await api.send('POST', `/containers/${ID}/attach?stream=1&stderr=1`);
  t.is(answer.status, 200);
  t.is(answer.headers['content-type'], 'application/vnd.docker.raw-stream');
  t.is(answer.body.toString(), 'hello\n');
});

test('what can not be attached to has a status, also when the node says so', async (t) => {
  await using api = await ApiFixture.up();
  const echo = new Echo();
  echo.node(api, { state: 'paused' });
  const paused = await api.send('POST', `/containers/${ID}/attach?stream=1&stdout=1`);
  t.is(paused.status, 409);
  t.regex(paused.json.message, /is paused, unpause the container before attach/);
  echo.failure = new ConflictError('256 clients are attached already');
  echo.node(api);
  t.is((await api.send('POST', `/containers/${ID}/attach?stream=1&stdout=1`)).status, 409);
  t.is((await api.send('POST', '/containers/nosuch/attach?stream=1')).status, 404);
  const keys = await api.send('POST', `/containers/${ID}/attach?stream=1&detachKeys=ctrl-1`);
  t.is(keys.status, 400);
  t.regex(keys.json.message, /Invalid detach keys \(ctrl-1\)/);
  t.is((await api.send('GET', `/containers/${ID}/attach/ws`)).status, 400);
  t.is((await api.send('POST', `/containers/${ID}/resize?h=x&w=1`)).status, 400);
});

test('with a terminal the keys take the client away, and nothing after them is typed', async (t) => {
  await using api = await ApiFixture.up();
  const echo = new Echo();
  echo.node(api, { tty: true });
  const socket = await upgraded(api, `/containers/${ID}/attach?stream=1&stdin=1&stdout=1&detachKeys=a,b`);
  await until(socket, 'hello\n');
  socket.write('xab-lost');
  const seen: Buffer[] = [];
  for await (const chunk of socket) seen.push(chunk as Buffer);
  t.regex(Buffer.concat(seen).toString(), /^x?$/);
  await condition(() => echo.left);
});

test('detach keys by name', (t) => {
  t.deepEqual([...parseDetachKeys('')], [16, 17]);
  t.deepEqual([...parseDetachKeys('ctrl-@,ctrl-a,ctrl-z,ctrl-[,ctrl-_,x')], [0, 1, 26, 27, 31, 120]);
  for (const bad of ['ctrl-', 'ctrl-A', 'xy', ',', 'a,,b'])
    t.throws(() => parseDetachKeys(bad), { message: /Invalid detach keys/ });
});

test('the keys are found wherever the input is cut, and everything else goes through unchanged', (t) => {
  const keys = Buffer.from('aab');
  const letters = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 12 }).map((list) => list.join(''));
  fc.assert(
    fc.property(fc.array(letters), (pieces) => {
      const scanner = new DetachScanner(Buffer.from('cab'));
      let passed = '';
      let detached = false;
      for (const piece of pieces) {
        if (detached) break;
        const found = scanner.push(Buffer.from(piece));
        passed += found.passed.toString();
        detached = found.detached;
      }
      const all = pieces.join('');
      const at = all.indexOf('cab');
      t.is(detached, at >= 0);
      if (at >= 0) t.is(passed, all.slice(0, at));
      else t.true(all.startsWith(passed) && 'cab'.startsWith(all.slice(passed.length)));
    }),
  );
  t.deepEqual(new DetachScanner(keys).push(Buffer.from('aab')).detached, true);
});
