/** Streams with input: from a client through a manager to a node, and back. */
import test from 'ava';
import type { LinkHandlers } from '../../../agent/session/link.ts';
import { NotFoundError, UnavailableError } from '../../../shared/errors/index.ts';
import type { StreamChunk } from '../../../shared/model/node-methods/index.ts';
import { encodeStreamData, STREAM_WINDOW_BYTES } from '../../../shared/wire/frames.ts';
import { RequestServer } from '../../../agent/session/request-server.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { eventually, rig, type Rig } from './rig.ts';

const EXEC = { execId: 'e1' };
const MIB = 1024 * 1024;

async function withStream(r: Rig, stream: LinkHandlers['stream']): Promise<string> {
  const agent = await r.agent('a', { stream });
  await eventually('it is connected', () => r.dispatcher.gateway.connected(agent.nodeId));
  return agent.nodeId;
}

const echo: LinkHandlers['stream'] = async function* (_method, _params, input) {
  for await (const data of input) yield { stream: 1, data } satisfies StreamChunk;
};

async function* silence(): AsyncGenerator<Buffer> {
  yield await new Promise<never>(() => undefined);
}

test('ten megabytes go there and back in order, and the end of the input arrives', async (t) => {
  const r = await rig(t);
  const nodeId = await withStream(r, echo);
  const whole = Buffer.from(Array.from({ length: 10 * MIB }, (_, i) => (i * 7) % 251));
  async function* input() {
    for (let at = 0; at < whole.length; at += 100_000) yield whole.subarray(at, at + 100_000);
  }
  const back: Buffer[] = [];
  for await (const chunk of r.dispatcher.gateway.duplex(nodeId, 'exec.attach', EXEC, input(), r.signal)) {
    back.push(chunk.data);
  }
  t.true(Buffer.concat(back).equals(whole));
});

test('a node that does not take its input holds up its source, and only that', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 1000 });
  let go: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (go = resolve));
  let taken = 0;
  const nodeId = await withStream(r, async function* (_method, _params, input) {
    yield { stream: 1, data: Buffer.from('ready') };
    await gate;
    for await (const data of input) taken += data.length;
    yield { stream: 1, data: Buffer.from('done') };
  });
  let given = 0;
  async function* input() {
    for (; given < 4 * MIB; given += 16_384) yield Buffer.alloc(16_384);
  }
  const { gateway } = r.dispatcher;
  const said: string[] = [];
  for await (const chunk of gateway.duplex(nodeId, 'exec.attach', EXEC, input(), r.signal)) {
    said.push(chunk.data.toString());
    if (said.length > 1) continue;
    await new Promise((resolve) => setTimeout(resolve, 1500));
    t.true(given <= STREAM_WINDOW_BYTES * 2, `${given} bytes were taken of the source`);
    t.true(gateway.connected(nodeId), 'heartbeats go on');
    go();
  }
  t.deepEqual(said, ['ready', 'done']);
  t.is(taken, 4 * MIB);
});

test('leaving the loop, and an input that fails, abort the work on the node', async (t) => {
  const r = await rig(t);
  let aborted = 0;
  const nodeId = await withStream(r, async function* (_method, _params, input, signal) {
    signal.addEventListener('abort', () => (aborted += 1));
    yield { stream: 1, data: Buffer.from('ready') };
    yield* echo('exec.attach', EXEC, input, signal);
  });
  const { gateway } = r.dispatcher;
  for await (const _ of gateway.duplex(nodeId, 'exec.attach', EXEC, silence(), r.signal)) break;
  await eventually('the node was told', () => aborted === 1);

  // oxlint-disable-next-line require-yield
  async function* broken(): AsyncGenerator<Buffer> {
    throw new NotFoundError('the source is gone');
  }
  const read = async (): Promise<void> => {
    for await (const _ of gateway.duplex(nodeId, 'exec.attach', EXEC, broken(), r.signal)) void _;
  };
  await t.throwsAsync(read(), { instanceOf: NotFoundError, message: 'the source is gone' });
  await eventually('the node was told', () => aborted === 2);
});

test('a stream that ends before its input does leaves the input alone', async (t) => {
  const r = await rig(t);
  const nodeId = await withStream(r, async function* () {
    yield { stream: 1, data: Buffer.from('bye') };
  });
  const said: string[] = [];
  for await (const chunk of r.dispatcher.gateway.duplex(nodeId, 'exec.attach', EXEC, silence(), r.signal)) {
    said.push(chunk.data.toString());
  }
  t.deepEqual(said, ['bye']);
});

test('a node that goes away ends the stream with a message', async (t) => {
  const r = await rig(t);
  const agent = await r.agent('a', { stream: echo });
  const { gateway } = r.dispatcher;
  await eventually('it is connected', () => gateway.connected(agent.nodeId));
  async function* input() {
    yield Buffer.from('hello');
    yield await new Promise<never>(() => undefined);
  }
  const read = async (): Promise<void> => {
    for await (const _ of gateway.duplex(agent.nodeId, 'exec.attach', EXEC, input(), r.signal)) {
      void agent.stop();
    }
  };
  await t.throwsAsync(read(), { instanceOf: UnavailableError, message: /session with the node ended/ });
});

test('a manager that sends more than was granted is refused; what comes after the end is dropped', async (t) => {
  const sent: unknown[] = [];
  const server = new RequestServer(
    {
      onAssignments: () => undefined,
      call: () => Promise.reject(new NotFoundError('no')),
      stream: async function* (_method, _params, _input, signal) {
        yield await new Promise<never>((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason)),
        );
      },
    },
    (frame) => sent.push(frame),
    silentLogger,
  );
  server.onRequest({ type: 'request', id: 1, method: 'exec.attach', params: EXEC });
  const frame = encodeStreamData(1, 0, Buffer.alloc(64 * 1024));
  t.throws(
    () => {
      for (let i = 0; i < 10; i += 1) server.onData(frame);
    },
    { message: /more was sent on a stream than was granted/ },
  );
  server.onCancel(1);
  await eventually('it has ended', () => sent.length === 1);
  t.notThrows(() => server.onData(frame));
});
