import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import type { LinkHandlers } from '../../../agent/session/link.ts';
import { InvalidError, NotFoundError, UnavailableError } from '../../../shared/errors/index.ts';
import { isAbort } from '../../../shared/lib/abort.ts';
import type { LogsParams, StreamChunk } from '../../../shared/model/node-methods/index.ts';
import { STREAM_CHUNK_BYTES, STREAM_WINDOW_BYTES } from '../../../shared/wire/frames.ts';
import { eventually, rig } from './rig.ts';

const LOGS: LogsParams = { containerId: 'c1', follow: true, stdout: true, stderr: true };
const MIB = 1024 * 1024;

/** A source of so many chunks that counts what was taken of it. */
function source(chunks: number, bytes: number) {
  const taken = { chunks: 0, left: false };
  const stream: LinkHandlers['stream'] = async function* (_method, _params, _input, signal) {
    try {
      for (; taken.chunks < chunks; taken.chunks += 1) {
        if (taken.chunks % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
        yield { stream: 1, data: Buffer.alloc(bytes, taken.chunks) } satisfies StreamChunk;
      }
    } finally {
      taken.left = true;
    }
  };
  return { taken, stream };
}

test('a call’s answer and its errors come back', async (t) => {
  const r = await rig(t);
  const agent = await r.agent('a', {
    call: (method) =>
      method === 'container.list'
        ? Promise.resolve([])
        : Promise.reject(new NotFoundError('no such container: c1')),
  });
  const { gateway } = r.dispatcher;
  await eventually('it is connected', () => gateway.connected(agent.nodeId));
  t.deepEqual(await gateway.call(agent.nodeId, 'container.list', {}, r.signal), []);
  const inspect = gateway.call(agent.nodeId, 'container.inspect', { containerId: 'c1' }, r.signal);
  await t.throwsAsync(inspect, { instanceOf: NotFoundError, message: /c1/ });
  await t.throwsAsync(gateway.call('nobody', 'container.list', {}, r.signal), {
    instanceOf: UnavailableError,
  });
});

test('a nonsensical answer is an error, not a value', async (t) => {
  const r = await rig(t);
  const agent = await r.agent('a', { call: () => Promise.resolve([{ id: 7 }] as never) });
  const { gateway } = r.dispatcher;
  await eventually('it is connected', () => gateway.connected(agent.nodeId));
  await t.throwsAsync(gateway.call(agent.nodeId, 'container.list', {}, r.signal), {
    instanceOf: InvalidError,
  });
});

test('a call ends when its caller gives up, and when the session does', async (t) => {
  const r = await rig(t);
  let aborted = false;
  const agent = await r.agent('a', {
    call: (_method, _params, signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted = true;
          reject(signal.reason);
        });
      }),
  });
  const { gateway } = r.dispatcher;
  await eventually('it is connected', () => gateway.connected(agent.nodeId));
  const caller = new AbortController();
  const call = gateway.call(agent.nodeId, 'container.list', {}, caller.signal);
  setTimeout(() => caller.abort(), 20);
  t.true(isAbort(await call.catch((error: unknown) => error)));
  await eventually('the node stopped its work', () => aborted);
  const second = gateway.call(agent.nodeId, 'container.list', {}, r.signal);
  void agent.stop();
  await t.throwsAsync(second, { instanceOf: UnavailableError });
});

/** What is held is measured, not what a lazy collector (they differ between versions of Node) has left lying. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

test('100 MB of logs to a slow reader: little memory, heartbeats go on, nothing is lost', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 1000 });
  const total = 100 * MIB;
  const { taken, stream } = source(total / 16_384, 16_384);
  const agent = await r.agent('a', { stream });
  const { gateway } = r.dispatcher;
  await eventually('it is ready', () => r.store.get('nodes', agent.nodeId)?.status === 'ready');
  collectGarbage();
  const before = process.memoryUsage();
  let peak = 0;
  let bytes = 0;
  const seen = new Set<string | undefined>();
  r.store.onChange(() => seen.add(r.store.get('nodes', agent.nodeId)?.status));
  for await (const chunk of gateway.stream(agent.nodeId, 'container.logs', LOGS, r.signal)) {
    bytes += chunk.data.length;
    if (bytes === 16_384) {
      // Twice the time after which silence would make the node down.
      await new Promise((resolve) => setTimeout(resolve, 2000));
      const ahead = taken.chunks * 16_384;
      t.true(ahead <= STREAM_WINDOW_BYTES * 2, `the node ran ${ahead} bytes ahead of its reader`);
      t.true(gateway.connected(agent.nodeId), 'heartbeats go on');
    }
    if (bytes % (4 * MIB) === 0) {
      collectGarbage();
      peak = Math.max(peak, process.memoryUsage().arrayBuffers - before.arrayBuffers);
    }
  }
  t.is(bytes, total);
  t.true(
    peak < 32 * MIB,
    `${Math.round(peak / MIB)} MiB of buffers are held at the most, in one process for both sides`,
  );
  t.false(seen.has('down'));
});

test('a reader may ask for a smaller window: so much the node sends ahead, and no more', async (t) => {
  const r = await rig(t);
  const { taken, stream } = source(2000, 1024);
  const agent = await r.agent('a', { stream });
  const { gateway } = r.dispatcher;
  await eventually('it is connected', () => gateway.connected(agent.nodeId));
  const windowBytes = 16_384;
  let bytes = 0;
  for await (const chunk of gateway.stream(agent.nodeId, 'container.logs', LOGS, r.signal, windowBytes)) {
    bytes += chunk.data.length;
    if (bytes % (200 * 1024) === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    const ahead = taken.chunks * 1024 - bytes;
    t.true(ahead <= windowBytes + 2 * 1024, `${ahead} bytes ahead`);
  }
  t.is(bytes, 2000 * 1024);
});

test('a chunk larger than a frame arrives in pieces, in order', async (t) => {
  const r = await rig(t);
  const whole = Buffer.from(Array.from({ length: STREAM_CHUNK_BYTES * 5 + 7 }, (_, i) => i % 251));
  const agent = await r.agent('a', {
    stream: async function* () {
      yield { stream: 2, data: whole };
      yield { stream: 1, data: Buffer.alloc(0) };
    },
  });
  const { gateway } = r.dispatcher;
  await eventually('it is connected', () => gateway.connected(agent.nodeId));
  const got: StreamChunk[] = [];
  for await (const chunk of gateway.stream(agent.nodeId, 'container.logs', LOGS, r.signal)) got.push(chunk);
  t.true(Buffer.concat(got.filter((chunk) => chunk.stream === 2).map((chunk) => chunk.data)).equals(whole));
});

test('leaving the loop stops the source on the node', async (t) => {
  const r = await rig(t);
  const { taken, stream } = source(1e9, 1000);
  const agent = await r.agent('a', { stream });
  const { gateway } = r.dispatcher;
  await eventually('it is connected', () => gateway.connected(agent.nodeId));
  let chunks = 0;
  for await (const _ of gateway.stream(agent.nodeId, 'container.logs', LOGS, r.signal)) {
    chunks += 1;
    if (chunks === 1000) break;
  }
  await eventually('the source was left', () => taken.left);
  t.is(chunks, 1000);
});

test('an error of the source, and the end of the session, reach the reader after what came before', async (t) => {
  const r = await rig(t);
  const agent = await r.agent('a', {
    stream: async function* (_method, params) {
      yield { stream: 1, data: Buffer.from('line\n') };
      if ('containerId' in params && params.containerId === 'c1') throw new NotFoundError('it was removed');
      await new Promise(() => undefined);
    },
  });
  const { gateway } = r.dispatcher;
  await eventually('it is connected', () => gateway.connected(agent.nodeId));
  const got: string[] = [];
  const read = async (params: LogsParams): Promise<void> => {
    for await (const chunk of gateway.stream(agent.nodeId, 'container.logs', params, r.signal)) {
      got.push(chunk.data.toString());
      if (params.containerId === 'c2') void agent.stop();
    }
  };
  await t.throwsAsync(read(LOGS), { instanceOf: NotFoundError, message: 'it was removed' });
  await t.throwsAsync(read({ ...LOGS, containerId: 'c2' }), { instanceOf: UnavailableError });
  t.deepEqual(got, ['line\n', 'line\n']);
});
