import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { isAbort } from '../../../shared/lib/abort.ts';
import { feed, mergedOutput } from '../../../agent/container/session-io.ts';

const never = new AbortController().signal;

/** Two ends of a connection; the second may be half open. */
async function pair(t: ExecutionContext): Promise<[Socket, Socket]> {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-io-'));
  const server = createServer().listen(join(directory, 's'));
  await once(server, 'listening');
  const theirs = connect(join(directory, 's'));
  const [ours] = (await once(server, 'connection')) as [Socket];
  t.teardown(async () => {
    for (const socket of [theirs, ours]) socket.destroy();
    server.close();
    await rm(directory, { recursive: true });
  });
  return [theirs, ours];
}

async function all(source: AsyncIterable<{ stream: number; data: Buffer }>): Promise<string[]> {
  const seen: string[] = [];
  for await (const { stream, data } of source) seen.push(`${stream} ${data.toString()}`);
  return seen;
}

test('streams that ended before anybody listened are at their ends', async (t) => {
  const [[theirOut, out], [theirErr, err]] = [await pair(t), await pair(t)];
  theirErr.end();
  // As a socket that was adopted does: it reads ahead, and finds the end by itself.
  err.read(0);
  await once(err, 'end');
  theirOut.end('only this');
  t.deepEqual(await all(mergedOutput(out, err, never)), ['1 only this']);
});

test('an abort ends the wait for output', async (t) => {
  const [[, out], [, err]] = [await pair(t), await pair(t)];
  const abort = new AbortController();
  const reading = all(mergedOutput(out, err, abort.signal));
  setTimeout(() => abort.abort(), 20);
  t.true(isAbort(await reading.catch((error: unknown) => error)));
});

test('input for a command that has gone is dropped, and does not hold up its sender', async (t) => {
  const [theirs, ours] = await pair(t);
  ours.on('error', () => undefined);
  let given = 0;
  async function* input() {
    for (; given < 200; given += 1) yield Buffer.alloc(65_536);
  }
  setTimeout(() => theirs.destroy(), 50);
  await feed(ours, input(), false, never);
  t.is(given, 200);
});
