/** The standard streams of a container's own process: attached clients, standard input, terminals. Needs root. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { AttachFrames } from '../../../agent/container/attach-frames.ts';
import { attachInput, attachOutput } from '../../../agent/native/attach.ts';
import {
  createContainer,
  type CreateRequest,
  killContainer,
  NativeError,
  type OciConfig,
  readState,
  resizeContainer,
  startContainer,
  waitContainer,
} from '../../../agent/native/container.ts';
import { DEADLINE_MS, Fixture, logOf } from './fixture.ts';

const fixture = new Fixture('attach');
test.after.always(() => fixture.close());

const deadline = () => AbortSignal.timeout(DEADLINE_MS);

async function created(
  args: string[],
  streams: Pick<CreateRequest, 'stdin' | 'stdinOnce'> = {},
  adjust?: (config: OciConfig) => void,
): Promise<CreateRequest> {
  const request = { ...fixture.request(args, adjust), ...streams };
  await createContainer(request);
  return request;
}

function onTerminal(config: OciConfig): void {
  config.process.terminal = true;
  config.process.consoleSize = { height: 30, width: 100 };
}

async function attached(request: CreateRequest): Promise<Socket> {
  return (await attachOutput(request.runDir, false)).socket;
}

/** Standard output and error until the end. */
async function streams(socket: Socket): Promise<{ out: string; err: string }> {
  const frames = new AttachFrames();
  const said = { out: '', err: '' };
  for await (const data of socket) {
    for (const chunk of frames.push(data as Buffer)) {
      said[chunk.stream === 1 ? 'out' : 'err'] += chunk.data.toString('latin1');
    }
  }
  return said;
}

/** Reads until the text has come; what comes after it stays. */
async function until(socket: Socket, wanted: RegExp): Promise<void> {
  let seen = '';
  const signal = deadline();
  while (!wanted.test(seen)) {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) await once(socket, 'readable', { signal });
    else seen += chunk.toString('latin1');
  }
}

async function condition(met: () => Promise<boolean>): Promise<void> {
  for (const signal = deadline(); !(await met()); ) {
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('who attaches before the start gets the first byte, each client its copy, and the log all of it', async (t) => {
  const request = await created(['sh', '-c', 'echo out; echo err >&2; echo -n rest']);
  const clients = await Promise.all([1, 2, 3].map(() => attached(request)));
  await startContainer(request.runDir);
  const wanted = { out: 'out\nrest', err: 'err\n' };
  t.deepEqual(await Promise.all(clients.map(streams)), [wanted, wanted, wanted]);
  await waitContainer(request.runDir, deadline());
  const texts = logOf(request).map((line) => `${line.stream} ${line.text}`);
  t.deepEqual(texts.toSorted(), ['stderr err', 'stdout out', 'stdout rest']);
});

test('ten megabytes go in and come out unchanged; with stdinOnce the client’s end is the container’s', async (t) => {
  const request = await created(['cat'], { stdin: true, stdinOnce: true });
  const clients = [await attached(request), await attached(request)];
  const input = await attachInput(request.runDir);
  await startContainer(request.runDir);
  const sent = randomBytes(10 * 1024 * 1024);
  const both = Promise.all(clients.map(streams));
  input.end(sent);
  const hash = (data: Buffer | string) => createHash('sha256').update(data).digest('hex');
  for (const said of await both) t.is(hash(Buffer.from(said.out, 'latin1')), hash(sent));
  t.is((await waitContainer(request.runDir, deadline())).exitCode, 0);
});

test('without stdinOnce standard input outlives its writers, also one that vanishes', async (t) => {
  const request = await created(['cat'], { stdin: true });
  await startContainer(request.runDir);
  const watcher = await attached(request);
  (await attachInput(request.runDir)).end('one\n');
  await until(watcher, /one\n/);
  const second = await attachInput(request.runDir);
  second.write('two\n', () => second.destroy());
  await until(watcher, /two\n/);
  const third = await attachInput(request.runDir);
  third.write('three\n');
  await until(watcher, /three\n/);
  t.is((await readState(request.runDir)).status, 'running');
});

test('with stdinOnce a writer that vanishes ends the input', async (t) => {
  const request = await created(['cat'], { stdin: true, stdinOnce: true });
  await startContainer(request.runDir);
  const input = await attachInput(request.runDir);
  input.destroy();
  t.is((await waitContainer(request.runDir, deadline())).exitCode, 0);
});

test('without standard input the container reads an end, and what clients write is forgotten', async (t) => {
  const request = await created(['sh', '-c', 'cat; sleep 0.3; echo done']);
  const client = await attached(request);
  (await attachInput(request.runDir)).write('nobody reads this');
  await startContainer(request.runDir);
  t.deepEqual(await streams(client), { out: 'done\n', err: '' });
});

test('who writes after the end loses nothing of the output', async (t) => {
  // More than the client's socket takes, less than that and the pipe together: nothing has to wait for the client.
  const request = await created(['sh', '-c', 'read x; dd if=/dev/zero bs=1000 count=130 2>&-'], {
    stdin: true,
  });
  const client = await attached(request);
  const input = await attachInput(request.runDir);
  await startContainer(request.runDir);
  client.pause();
  const typing = setInterval(() => input.write('more\n'), 1);
  await waitContainer(request.runDir, deadline());
  await condition(() => Promise.resolve(input.destroyed));
  clearInterval(typing);
  t.is((await streams(client)).out.length, 130_000);
});

test('a client that does not read is dropped, the container goes on, and the log has it all', async (t) => {
  const script = 'i=0; while [ $i -lt 60000 ]; do echo "line $i of a long story"; i=$((i+1)); done';
  const request = await created(['sh', '-c', script]);
  const stuck = await attached(request);
  stuck.pause();
  const reader = await attached(request);
  await startContainer(request.runDir);
  const lines = (await streams(reader)).out.split('\n');
  t.is(lines.length, 60_001);
  t.is(lines.at(-2), 'line 59999 of a long story');
  t.is((await waitContainer(request.runDir, deadline())).exitCode, 0);
  t.is(logOf(request).length, 60_000);
  t.true((await streams(stuck)).out.length < 60_000 * 20);
});

test('who reads slowly gets everything, also what came when the container had ended', async (t) => {
  const request = await created(['dd', 'if=/dev/zero', 'bs=1000', 'count=600']);
  const slow = await attached(request);
  slow.pause();
  await startContainer(request.runDir);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const [said] = await Promise.all([streams(slow), waitContainer(request.runDir, deadline())]);
  t.is(said.out.length, 600_000);
});

test('replay: the log up to here and the line that is being written', async (t) => {
  const request = await created(['sh', '-c', 'echo whole; echo -n "part>"; read x; echo end'], {
    stdin: true,
  });
  const watcher = await attached(request);
  await startContainer(request.runDir);
  await until(watcher, /part>/);
  const { socket, logEnd } = await attachOutput(request.runDir, true);
  t.regex((await readFile(`${request.log?.path}.0`)).toString('utf8', 0, logEnd.bytes), / stdout F whole\n$/);
  t.is(logEnd.number, 0);
  (await attachInput(request.runDir)).write('\n');
  t.is((await streams(socket)).out, 'part>end\n');
  t.is((await streams(watcher)).out, 'end\n');
});

test('a terminal: size, resize, Ctrl-C, console, one stream, its log', async (t) => {
  const script = [
    'trap "echo interrupted" INT; stty size; read line; stty size; read more',
    'ls -ln /dev/console; echo "to the console" > /dev/console; echo err >&2; exit 3',
  ].join(';');
  const request = await created(['sh', '-c', script], { stdin: true }, onTerminal);
  const client = await attached(request);
  const keyboard = await attachInput(request.runDir);
  await startContainer(request.runDir);
  await until(client, /30 100\r\n/);
  await resizeContainer(request.runDir, 51, 171);
  keyboard.write('\n');
  await until(client, /51 171\r\n/);
  keyboard.write('\x03');
  const rest = await text(client);
  t.regex(rest, /interrupted\r\n/);
  t.regex(rest, /crw--w----.* \/dev\/console\r\nto the console\r\nerr\r\n$/);
  t.is((await waitContainer(request.runDir, deadline())).exitCode, 3);
  const names = new Set(logOf(request).map((line) => line.stream));
  t.deepEqual([...names], ['stdout']);
});

test('a terminal is its user’s and the command’s controlling one; without stdin nothing can be typed', async (t) => {
  const request = await created(['sh', '-c', 'echo mine > /dev/tty; sleep 0.5'], {}, (config) => {
    onTerminal(config);
    config.process.user = { uid: 1234, gid: 5 };
    config.process.capabilities = {};
  });
  const client = await attached(request);
  (await attachInput(request.runDir)).write('typed\n');
  await startContainer(request.runDir);
  t.is(await text(client), 'mine\r\n');
});

test('a terminal outlives its clients', async (t) => {
  const request = await created(
    ['sh', '-c', 'while read l; do echo "got $l"; done'],
    { stdin: true },
    onTerminal,
  );
  await startContainer(request.runDir);
  for (const word of ['one', 'two']) {
    const [client, keyboard] = [await attached(request), await attachInput(request.runDir)];
    keyboard.write(`${word}\n`);
    await until(client, new RegExp(`got ${word}\r\n`));
    client.destroy();
    keyboard.destroy();
  }
  await killContainer(request.runDir, 9);
  t.is((await waitContainer(request.runDir, deadline())).exitCode, 137);
});

test('what can not be done is named', async (t) => {
  const request = await created(['sleep', '1000']);
  await startContainer(request.runDir);
  const plain = await t.throwsAsync(resizeContainer(request.runDir, 1, 1), { instanceOf: NativeError });
  t.is(plain?.code, 'ENOTTY');
  await killContainer(request.runDir, 9);
  await waitContainer(request.runDir, deadline());
  const gone = await t.throwsAsync(attached(request), { instanceOf: NativeError });
  t.is(gone?.code, 'ESRCH');
});
