/** Bytes that are hardly HTTP: the manager answers in Docker's way or closes, and goes on for others. */
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { readText } from '../../../manager/api/http/body.ts';
import type { StreamChunk } from '../../../shared/model/node-methods/index.ts';
import { type ApiFixture } from './fixture.ts';
import { probe, raw, target } from './hostile.ts';

const LINE = 'HTTP/1.1\r\nHost: x\r\n';

async function goesOn(t: ExecutionContext, api: ApiFixture): Promise<void> {
  t.is((await probe(api, { method: 'GET', path: '/_ping' })).status, 200);
}

/** Status and message of the first answer. */
function parsed(received: string): { status: number; message: unknown; type: string | undefined } {
  const [head = '', body = ''] = received.split('\r\n\r\n');
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]),
    type: /^content-type: (.*)$/im.exec(head)?.[1],
    message: body === '' ? undefined : (JSON.parse(body) as { message: unknown }).message,
  };
}

test('what is no HTTP is 400 with a message', async (t) => {
  const { api } = await target();
  await using _ = api;
  for (const bytes of [
    'hello\r\n\r\n',
    '\u0016\u0003\u0001\u0002\u0000',
    `GET /info\u0000 ${LINE}\r\n`,
    `GET /info ${LINE}Bad Header: x\r\n\r\n`,
    `POST /services/create ${LINE}Content-Length: -1\r\n\r\n`,
    `POST /services/create ${LINE}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n`,
    `POST /services/create ${LINE}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
    `GET /info HTTP/9.9\r\n\r\n`,
  ]) {
    const answer = parsed(await raw(api, bytes));
    t.is(answer.status, 400, bytes);
    t.is(answer.type, 'application/json', bytes);
    t.is(typeof answer.message, 'string', bytes);
  }
  await goesOn(t, api);
});

test('headers that are too long are 431 with a message', async (t) => {
  const { api } = await target();
  await using _ = api;
  const one = await raw(api, `GET /info ${LINE}X-Registry-Auth: ${'a'.repeat(20_000)}\r\n\r\n`);
  t.like(parsed(one), { status: 431, type: 'application/json' });
  const many = Array.from({ length: 3000 }, (_, i) => `X-${i}: ${i}`).join('\r\n');
  t.is(parsed(await raw(api, `GET /info ${LINE}${many}\r\n\r\n`)).status, 431);
  t.is(parsed(await raw(api, `GET /${'a'.repeat(20_000)} ${LINE}\r\n`)).status, 431);
  await goesOn(t, api);
});

test('a body that ends before its Content-Length, or within a chunk, is 400', async (t) => {
  const { api } = await target();
  await using _ = api;
  const path = '/services/create';
  for (const bytes of [
    `POST ${path} ${LINE}Content-Length: 100\r\n\r\n{"Name"`,
    `POST ${path} ${LINE}Content-Length: 100\r\n\r\n`,
    `POST ${path} ${LINE}Transfer-Encoding: chunked\r\n\r\n5\r\n{"Nam`,
    `PUT /stacks/x ${LINE}Content-Length: 100\r\n\r\nservices:`,
    `POST ${path} ${LINE}Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 100\r\n\r\n{"Name"`,
  ]) {
    const received = await raw(api, bytes, { end: true });
    t.true(received === '' || parsed(received).status === 400, `${bytes}: ${received}`);
  }
  t.deepEqual([...api.store.all('services').values()].map(({ name }) => name).toSorted(), [
    'box',
    'shop_shop',
    'web',
  ]);
  await goesOn(t, api);
});

test('a body shorter than its Content-Length is waited for, but not for ever', async (t) => {
  const problems: unknown[] = [];
  const server = createServer((req, res) => {
    readText(req, 1000, 100).then(
      (text) => res.end(text),
      (error: unknown) => {
        problems.push(error);
        res.end('late');
      },
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.closeAllConnections());
  t.teardown(() => server.close());
  const socket = connect((server.address() as { port: number }).port, '127.0.0.1');
  socket.write(`POST / ${LINE}Content-Length: 10\r\n\r\nabc`);
  await once(socket, 'data');
  socket.destroy();
  t.regex(String(problems[0]), /the rest of the request body did not come/);
});

test('more than the Content-Length is the next request, and refused as one', async (t) => {
  const { api } = await target();
  await using _ = api;
  const received = await raw(api, `POST /swarm/init ${LINE}Content-Length: 2\r\n\r\n{}garbage\r\n\r\n`);
  t.regex(received, /^HTTP\/1\.1 503[\s\S]*HTTP\/1\.1 400/);
  await goesOn(t, api);
});

test('pipelined requests are answered in their order, the bad ones among them too', async (t) => {
  const { api } = await target();
  await using _ = api;
  const received = await raw(
    api,
    `GET /_ping ${LINE}\r\n` +
      `POST /networks/create ${LINE}Content-Length: 5\r\n\r\n{"a":` +
      `GET /services/none ${LINE}\r\n` +
      `POST /networks/create ${LINE}Content-Length: 17\r\n\r\n{"Name":"second"}` +
      `GET /networks/front ${LINE}Connection: close\r\n\r\n`,
  );
  const statuses = [...received.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]);
  t.deepEqual(statuses, ['200', '400', '404', '201', '200']);
  await goesOn(t, api);
});

test('a client that has closed its side still gets its answer', async (t) => {
  const { api } = await target();
  await using _ = api;
  t.is(parsed(await raw(api, `GET /nodes/none ${LINE}\r\n`, { end: true })).status, 404);
  const created = await raw(api, `POST /networks/create ${LINE}Content-Length: 15\r\n\r\n{"Name":"half"}`, {
    end: true,
  });
  t.is(parsed(created).status, 201);
  await goesOn(t, api);
});

test('clients that leave in the middle of a request or an answer leave nothing behind', async (t) => {
  const { api } = await target();
  await using _ = api;
  for (let i = 0; i < 50; i += 1) {
    const socket = connect(api.socket);
    socket.on('error', () => undefined);
    const kinds = [
      `GET /events ${LINE}\r\n`,
      `POST /services/create ${LINE}Content-Length: 100\r\n\r\n{`,
      `GET /services ${LINE}\r\n`.repeat(5),
      `GET /services/web/logs?stdout=1&follow=1 ${LINE}\r\n`,
      'GET /inf',
    ];
    socket.write(kinds[i % kinds.length] ?? '');
    if (i % 2 === 0) await sleep(5);
    socket.destroy();
  }
  await goesOn(t, api);
  for (const end = Date.now() + 20_000; (await api.connections()) > 0; await sleep(10))
    if (Date.now() > end) throw new Error(`${await api.connections()} connections are still there`);
});

test('an archive that is cut off is refused or dropped, and its node is told', async (t) => {
  const { api, known } = await target();
  await using _ = api;
  const kinds = [
    `PUT /containers/${known['single']}/archive?path=/ ${LINE}`,
    `POST /images/load ${LINE}`,
  ].flatMap((head) => [
    `${head}Content-Length: 100\r\n\r\nsome`,
    `${head}Transfer-Encoding: chunked\r\n\r\n5\r\nso`,
    `${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
  ]);
  for (const bytes of kinds) {
    const received = await raw(api, bytes, { end: true });
    t.true(received === '' || parsed(received).status === 400, `${bytes}: ${received}`);
  }
  for (const bytes of kinds) {
    const socket = connect(api.socket);
    socket.on('error', () => undefined);
    socket.write(bytes);
    await sleep(5);
    socket.destroy();
  }
  await goesOn(t, api);
  for (const end = Date.now() + 20_000; (await api.connections()) > 0; await sleep(10))
    if (Date.now() > end) throw new Error(`${await api.connections()} connections are still there`);
});

test('a WebSocket’s handshake that is none is refused, and its node let go', async (t) => {
  const { api, known } = await target();
  await using _ = api;
  let [attached, left] = [0, 0];
  for (const node of api.nodes.values()) {
    node.answers.delete('container.attach');
    node.duplex = async function* (_method, _params, _input, signal): AsyncGenerator<StreamChunk> {
      attached += 1;
      signal.addEventListener('abort', () => (left += 1), { once: true });
      yield { stream: 1, data: Buffer.alloc(0) };
      await once(signal, 'abort');
    };
  }
  const start = `GET /containers/${known['single']}/attach/ws?stream=1&stdout=1 ${LINE}Connection: Upgrade\r\n`;
  const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
  const handshake = `${start}Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n`;
  for (const bytes of [
    `${start}Upgrade: h2c\r\n\r\n`,
    `${start}Upgrade: websocket\r\n\r\n`,
    `${handshake}\r\n`,
    `${handshake}Sec-WebSocket-Key: short\r\n\r\n`,
    `${handshake}${key}Sec-WebSocket-Protocol: ,,\r\n\r\n`,
    `${start}Upgrade: websocket\r\n${key}Sec-WebSocket-Version: 99\r\n\r\n`,
  ]) {
    const answer = parsed(await raw(api, bytes));
    t.like(answer, { status: 400, type: 'application/json' }, bytes);
    t.regex(String(answer.message), /a WebSocket handshake is expected/);
  }
  const garbled = `${handshake}${key}\r\n\u00ff\u00ff\u00ffgarbage`;
  t.regex(await raw(api, garbled), /^HTTP\/1\.1 101/);
  await goesOn(t, api);
  t.deepEqual([attached, left], [7, 7]);
  for (const end = Date.now() + 20_000; (await api.connections()) > 0; await sleep(10))
    if (Date.now() > end) throw new Error(`${await api.connections()} connections are still there`);
});

test('an upgrade that nobody offers, and expectations, are answered', async (t) => {
  const { api } = await target();
  await using _ = api;
  const upgrade = 'Connection: Upgrade\r\nUpgrade: h2c\r\n';
  t.regex(await raw(api, `GET /nodes/none ${LINE}${upgrade}\r\n`), /^HTTP\/1\.1 404/);
  const chunked = await raw(
    api,
    `POST /exec/${'0'.repeat(64)}/start ${LINE}${upgrade}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
  );
  t.is(parsed(chunked).status, 400);
  const expect = await raw(
    api,
    `POST /networks/create ${LINE}Connection: close\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n{"Name":"exp"}`,
  );
  t.regex(expect, /^HTTP\/1\.1 100[\s\S]*HTTP\/1\.1 201/);
  const odd = await raw(api, `GET /info ${LINE}Connection: close\r\nExpect: a-miracle\r\n\r\n`);
  t.like(parsed(odd), { status: 417, type: 'application/json' });
  await goesOn(t, api);
});
