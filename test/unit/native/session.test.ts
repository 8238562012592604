/** Commands in a running container: streams both ways, a terminal, exits; and freezing it. Needs root. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import test from 'ava';
import { isFrozen, setFrozen } from '../../../agent/native/cgroup-files.ts';
import {
  createContainer,
  deleteContainer,
  killContainer,
  NativeError,
  type OciProcess,
  startContainer,
  waitContainer,
} from '../../../agent/native/container.ts';
import { openSession, type SessionRequest } from '../../../agent/native/session.ts';
import { DEADLINE_MS, Fixture } from './fixture.ts';

const fixture = new Fixture('session');
test.after.always(() => fixture.close());

const deadline = () => AbortSignal.timeout(DEADLINE_MS);

async function running(args = ['sleep', '1000']): Promise<string> {
  const request = fixture.request(args);
  await createContainer(request);
  await startContainer(request.runDir);
  return request.runDir;
}

function command(...args: string[]): OciProcess {
  const held = ['CAP_SETUID', 'CAP_SETGID', 'CAP_KILL'];
  const capabilities = { bounding: held, effective: held, permitted: held };
  return { user: { uid: 0, gid: 0 }, args, env: ['PATH=/bin', 'TERM=xterm'], cwd: '/', capabilities };
}

function session(runDir: string, args: string[], more: Partial<SessionRequest> = {}) {
  const request = { terminal: false, stdin: true, stdout: true, stderr: true, ...more };
  return openSession(runDir, { process: command(...args), ...request });
}

/** Reads until the text has come. */
async function until(stream: Readable, wanted: RegExp): Promise<string> {
  let seen = '';
  while (!wanted.test(seen)) {
    const [chunk] = (await once(stream, 'data', { signal: deadline() })) as [Buffer];
    seen += chunk.toString('utf8');
  }
  return seen;
}

test('ten megabytes go in and come out unchanged, and the end of the input is the end', async (t) => {
  const runDir = await running();
  const { streams, exited } = await session(runDir, ['cat']);
  const sent = randomBytes(10 * 1024 * 1024);
  const back = buffer(streams);
  streams.end(sent);
  const hash = (data: Buffer) => createHash('sha256').update(data).digest('hex');
  t.is(hash(await back), hash(sent));
  t.is(await exited, 0);
});

test('standard error is apart, the exit code is the command’s, a signal is 128 and its number', async (t) => {
  const runDir = await running();
  const both = await session(runDir, ['sh', '-c', 'echo out; echo err >&2; exit 7']);
  t.deepEqual(await Promise.all([text(both.streams), text(both.stderr)]), ['out\n', 'err\n']);
  t.is(await both.exited, 7);
  const killed = await session(runDir, ['sh', '-c', 'kill -9 $$']);
  t.is(await killed.exited, 137);
});

test('a missing command is ENOENT, one that may not be run EACCES, a container that is gone ESRCH', async (t) => {
  const runDir = await running();
  const missing = await t.throwsAsync(session(runDir, ['nosuch']), { instanceOf: NativeError });
  t.deepEqual([missing?.step, missing?.code], ['exec', 'ENOENT']);
  const directory = await t.throwsAsync(session(runDir, ['/bin']), { instanceOf: NativeError });
  t.deepEqual([directory?.step, directory?.code], ['exec', 'EACCES']);
  await deleteContainer(runDir);
  const gone = await t.throwsAsync(session(runDir, ['true']), { instanceOf: NativeError });
  t.is(gone?.code, 'ESRCH');
});

test('without standard input the command reads an end, and what it leaves behind goes on unheard', async (t) => {
  const runDir = await running();
  const { streams, exited } = await session(runDir, ['sh', '-c', 'cat; sleep 1000 & echo bye'], {
    stdin: false,
  });
  t.is(await text(streams), 'bye\n');
  t.is(await exited, 0);
});

test('a terminal has its first size, can be resized, and carries Ctrl-C', async (t) => {
  const runDir = await running();
  const request = { terminal: true, rows: 30, columns: 100 };
  const script = 'trap "echo interrupted" INT; stty size; read line; stty size; read more; exit 3';
  const { streams, stderr, exited, resize } = await session(runDir, ['sh', '-c', script], request);
  stderr.resume();
  await until(streams, /30 100\r\n/);
  resize(51, 171);
  streams.write('\n');
  await until(streams, /51 171\r\n/);
  streams.write('\x03');
  await until(streams, /interrupted\r\n/);
  streams.write('\n');
  streams.resume();
  t.is(await exited, 3);
});

test('a terminal is the command’s controlling one and belongs to its user', async (t) => {
  const runDir = await running();
  const process = {
    ...command('sh', '-c', 'echo to the terminal > /dev/tty; ls -ln $(readlink /proc/$$/fd/0)'),
  };
  const { streams } = await session(runDir, [], {
    process: { ...process, user: { uid: 1234, gid: 5 }, capabilities: {} },
    terminal: true,
  });
  const said = await text(streams);
  t.regex(said, /to the terminal\r\n/);
  t.regex(said, /^crw--w---- +1 1234 /m);
});

test('who was attached may go: the command goes on and ends with its container', async (t) => {
  const runDir = await running();
  const { streams, stderr, exited, pid } = await session(
    runDir,
    ['sh', '-c', 'while true; do echo tick; sleep 0.01; done'],
    { stdin: false },
  );
  await until(streams, /tick/);
  streams.destroy();
  stderr.destroy();
  const before = await cpuTicks(pid);
  while ((await cpuTicks(pid)) <= before + 2) await new Promise((resolve) => setTimeout(resolve, 50));
  await killContainer(runDir, 9);
  t.is(await exited, 137);
});

/** Of the process and those of its children that it has waited for. */
async function cpuTicks(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0);
}

test('a frozen container stands still, goes on when thawed, and can be deleted while frozen', async (t) => {
  const runDir = await running(['sh', '-c', 'while true; do :; done']);
  const { pid } = JSON.parse(await readFile(`${runDir}/state.json`, 'utf8')) as { pid: number };
  await setFrozen(runDir, true, deadline());
  t.true(await isFrozen(runDir));
  const still = await cpuTicks(pid);
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.is(await cpuTicks(pid), still);
  await setFrozen(runDir, false, deadline());
  t.false(await isFrozen(runDir));
  while ((await cpuTicks(pid)) <= still) await new Promise((resolve) => setTimeout(resolve, 20));
  await setFrozen(runDir, true, deadline());
  await deleteContainer(runDir);
  t.false(await isFrozen(runDir));
  await t.throwsAsync(waitContainer(runDir, deadline()), { code: 'ENOENT' });
});
