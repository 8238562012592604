/** `shoal backup` against a manager that does not do what it should: never a file that is not whole. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { CLI_PATH } from '../../../deploy/local/project.ts';
import { seal } from '../../../manager/backup/envelope.ts';

async function* zeros(bytes: number): AsyncGenerator<Buffer> {
  yield Buffer.alloc(bytes);
}

async function envelope(bytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of seal(zeros(bytes), undefined)) parts.push(part);
  return Buffer.concat(parts);
}

/** Runs the command in an empty directory, which it returns, with what a manager answers. */
async function backUp(
  t: ExecutionContext,
  answer: (res: ServerResponse) => void,
): Promise<{ readonly at: string; readonly done: Promise<{ stderr: string }> }> {
  const at = await mkdtemp(join(tmpdir(), 'shoal-backup-'));
  const socket = join(at, 'socket');
  const server = createServer((req, res) => {
    if (`${req.method} ${req.url}` === 'POST /backup') answer(res);
    else res.writeHead(404).end();
  });
  server.listen(socket);
  await once(server, 'listening');
  t.teardown(async () => {
    server.closeAllConnections();
    server.close();
    await rm(at, { recursive: true });
  });
  const args = [CLI_PATH, 'backup', join(at, 'file'), '--socket', socket];
  return { at, done: promisify(execFile)(process.execPath, args, { timeout: 60_000 }) };
}

test('a whole answer is a file', async (t) => {
  const file = await envelope(100);
  const { at, done } = await backUp(t, (res) => void res.end(file));
  t.regex(
    (await done).stderr,
    /bytes, NOT encrypted: whoever reads it has the cluster's CA key and all its secrets/,
  );
  t.true((await readFile(join(at, 'file'))).equals(file));
});

test('a manager that breaks off leaves no file', async (t) => {
  const file = await envelope(3_000_000);
  const { at, done } = await backUp(t, (res) => {
    res.write(file.subarray(0, 2_000_000), () => res.destroy());
  });
  await t.throwsAsync(done, { message: /the manager broke off; its log says why/ });
  t.deepEqual(await readdir(at), ['socket']);
});

test('an answer that ends early or differs leaves no file', async (t) => {
  const file = await envelope(1_000);
  const short = await backUp(t, (res) => void res.end(file.subarray(0, -1)));
  await t.throwsAsync(short.done, { message: /cut off/ });
  t.deepEqual(await readdir(short.at), ['socket']);
  const flipped = Buffer.from(file);
  flipped[500] = 1;
  const other = await backUp(t, (res) => void res.end(flipped));
  await t.throwsAsync(other.done, { message: /damaged/ });
  t.deepEqual(await readdir(other.at), ['socket']);
});

test("a manager's refusal is shown", async (t) => {
  const { at, done } = await backUp(t, (res) => {
    res.writeHead(503, { 'content-type': 'application/json' });
    res.end('{"message":"etcd can not be read for the backup just now"}');
  });
  await t.throwsAsync(done, { message: /shoal: etcd can not be read for the backup just now/ });
  t.deepEqual(await readdir(at), ['socket']);
});
