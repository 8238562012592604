/** Clients of the agent that are attached to containers, or wait for them. Needs root. */
import { randomBytes } from 'node:crypto';
import { readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { Attachments } from '../../../agent/container/attach.ts';
import { AttachFrames } from '../../../agent/container/attach-frames.ts';
import { Containers } from '../../../agent/container/containers.ts';
import type { NewContainer } from '../../../agent/container/new-container.ts';
import { commandProcess } from '../../../agent/container/exec-process.ts';
import type { ContainerRecord } from '../../../agent/container/record.ts';
import { ConflictError, NotFoundError } from '../../../shared/errors/index.ts';
import { DEFAULT_LOG_POLICY } from '../../../shared/lib/log-driver.ts';
import type { AttachParams, StreamChunk } from '../../../shared/model/node-methods/index.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { DEADLINE_MS, Fixture } from '../native/fixture.ts';

const fixture = new Fixture('attachments');
const containers = new Containers(fixture.directory, fixture.runRoot, silentLogger);
const attachments = new Attachments(containers);
const made: string[] = [];
test.after.always(async () => {
  for (const id of made) await containers.remove(id);
  await fixture.close();
});

const record = {
  name: 'web.1.x',
  taskId: 't',
  serviceId: 's',
  serviceName: 'web',
  slot: 1,
  image: 'busybox',
  imageId: 'sha256:0',
  labels: {},
  args: ['sh'],
  env: ['PATH=/bin'],
  cwd: '/',
  uid: 0,
  gid: 0,
  createdAtMs: 0,
  stopSignal: 15,
  stopGraceMs: 1000,
  networks: [],
} satisfies Omit<ContainerRecord, 'id'>;

function container(script: string, more: Partial<ContainerRecord> = {}): NewContainer {
  const id = randomBytes(32).toString('hex');
  made.push(id);
  const { config } = fixture.request(['sh', '-c', script], ({ process }) => {
    process.terminal = more.tty === true;
  });
  return { record: { ...record, id, ...more }, config, log: DEFAULT_LOG_POLICY, layers: [fixture.layer] };
}

const deadline = () => AbortSignal.timeout(DEADLINE_MS);

interface Client {
  readonly text: Promise<string>;
  /** Ends once this has been seen. */
  seen(text: string): Promise<void>;
  type(text: string): void;
  endInput(): void;
  leave(): void;
}

/** Resolves when the agent has said that it is attached, or waits. */
async function attach(id: string, more: Partial<AttachParams> = {}): Promise<Client> {
  const params = { containerId: id, stdin: true, stdout: true, stderr: true, logs: false, stream: true };
  const left = new AbortController();
  const typed: (string | undefined)[] = [];
  let wake = (): void => undefined;
  async function* input(): AsyncGenerator<Buffer> {
    for (;;) {
      while (typed.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const next = typed.shift();
      if (next === undefined) return;
      yield Buffer.from(next);
    }
  }
  const type = (text: string | undefined): void => {
    typed.push(text);
    wake();
  };
  const signal = AbortSignal.any([left.signal, deadline()]);
  const stream = attachments.streams['container.attach']({ ...params, ...more }, input(), signal);
  const chunks = stream[Symbol.asyncIterator]();
  const first = await chunks.next();
  if (first.done === true || first.value.data.length > 0) throw new Error('not told that it is attached');
  let said = '';
  let more_ = (): void => undefined;
  const text = (async () => {
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      said += `${next.value.stream === 2 ? '!' : ''}${next.value.data.toString('latin1')}`;
      more_();
    }
    return said;
  })();
  text.catch(() => undefined);
  return {
    text,
    seen: async (wanted) => {
      while (!said.includes(wanted)) {
        await Promise.race([new Promise<void>((resolve) => (more_ = resolve)), text]);
      }
    },
    type,
    endInput: () => type(undefined),
    leave: () => left.abort(),
  };
}

async function started(made_: NewContainer): Promise<string> {
  await containers.create(made_);
  await containers.start(made_.record.id);
  return made_.record.id;
}

test('who comes before there is a container waits, and sees the first byte; so does who comes after its end', async (t) => {
  const soon = container('echo first; echo err >&2');
  const { id } = soon.record;
  const clients = [await attach(id), await attach(id, { stderr: false })];
  await started(soon);
  t.deepEqual((await Promise.all(clients.map((client) => client.text))).map(lines), [
    ['!err', 'first'],
    ['first'],
  ]);
  const again = await attach(id);
  again.leave();
  await t.throwsAsync(again.text, { any: true });
});

function lines(text: string): string[] {
  return text.trim().split('\n').toSorted();
}

test('created, not started: attached at once', async (t) => {
  const soon = container('echo first');
  await containers.create(soon);
  const client = await attach(soon.record.id);
  await containers.start(soon.record.id);
  t.is(await client.text, 'first\n');
});

test('the end of the input: with stdinOnce the container’s, else the client’s', async (t) => {
  const once = await started(container('cat; echo end', { openStdin: true, stdinOnce: true }));
  const first = await attach(once);
  first.type('one\n');
  first.endInput();
  t.is(await first.text, 'one\nend\n');
  const open = await started(container('cat', { openStdin: true }));
  const second = await attach(open);
  second.type('two\n');
  await second.seen('two\n');
  second.endInput();
  t.is(await second.text, 'two\n');
  t.is((await containers.state(open)).status, 'running');
});

test('logs, then the stream, without a gap; logs alone end', async (t) => {
  const id = await started(container('echo one; echo -n "two>"; read x; echo three', { openStdin: true }));
  const watcher = await attach(id, { logs: true });
  await watcher.seen('two>');
  const client = await attach(id, { logs: true });
  await client.seen('two>');
  t.is(await (await attach(id, { logs: true, stream: false })).text, 'one\n');
  client.type('\n');
  t.deepEqual(await Promise.all([client.text, watcher.text]), ['one\ntwo>three\n', 'one\ntwo>three\n']);
});

test('a terminal: no frames, a size', async (t) => {
  const id = await started(container('read x; stty size; read x', { openStdin: true, tty: true }));
  const client = await attach(id);
  await attachments.methods['container.resize']({ containerId: id, rows: 51, columns: 171 }, deadline());
  client.type('\n');
  await client.seen('51 171\r\n');
  client.leave();
  await t.throwsAsync(client.text, { any: true });
  t.is((await containers.state(id)).status, 'running');
});

test('what is not there or has no terminal is named; who waits for one that is removed hears its end', async (t) => {
  const id = await started(container('sleep 1000'));
  const size = { rows: 1, columns: 1 };
  const resize = (containerId: string) =>
    attachments.methods['container.resize']({ containerId, ...size }, deadline());
  await t.throwsAsync(resize(id), { instanceOf: ConflictError, message: /no terminal/ });
  await t.throwsAsync(resize('f'.repeat(64)), { instanceOf: NotFoundError });
  const waiting = await attach('e'.repeat(64));
  await containers.remove('e'.repeat(64));
  t.is(await waiting.text, '');
  await containers.pause(id, deadline());
  await t.throwsAsync(attach(id), { instanceOf: ConflictError, message: /is paused/ });
});

test('a client that leaves holds nothing, whenever it leaves', async (t) => {
  const id = await started(container('while true; do echo tick; sleep 0.01; done'));
  const { monitorPid } = await containers.state(id);
  const sockets = async () => (await openSockets(monitorPid)).length;
  const before = await fewest(sockets);
  const clients = await Promise.all(Array.from({ length: 10 }, () => attach(id, { stdin: false })));
  await Promise.all(clients.slice(0, 5).map((client) => client.seen('tick')));
  for (const client of clients) client.leave();
  await Promise.allSettled(clients.map((client) => client.text));
  for (const signal = deadline(); (await sockets()) > before; ) {
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  t.is((await containers.state(id)).status, 'running');
});

test('who does not read is cut off, and told so; the container goes on', async (t) => {
  const id = await started(container(`while true; do echo ${'x'.repeat(1000)}; done`));
  const { monitorPid } = await containers.state(id);
  const sockets = async () => (await openSockets(monitorPid)).length;
  const before = await fewest(sockets);
  const wanted = { stdin: false, stdout: true, stderr: true, logs: false, stream: true };
  const chunks = attachments.streams['container.attach'](
    { containerId: id, ...wanted },
    nothing(),
    deadline(),
  )[Symbol.asyncIterator]();
  await chunks.next();
  await chunks.next();
  for (const signal = deadline(); (await sockets()) > before; ) {
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const rest = async () => {
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next());
  };
  await t.throwsAsync(rest(), { instanceOf: ConflictError, message: /was not read in time/ });
  t.is((await containers.state(id)).status, 'running');
});

async function* nothing(): AsyncGenerator<Buffer> {
  yield* [];
}

/** The monitor may still have the connections of those who asked it last: the fewest within a while. */
async function fewest(count: () => Promise<number>): Promise<number> {
  let found = await count();
  for (let look = 0; look < 20; look += 1) {
    await new Promise((resolve) => setTimeout(resolve, 25));
    found = Math.min(found, await count());
  }
  return found;
}

async function openSockets(pid: number): Promise<string[]> {
  const directory = join('/proc', String(pid), 'fd');
  const links = await Promise.all(
    (await readdir(directory)).map((fd) => readlink(join(directory, fd)).catch(() => '')),
  );
  return links.filter((link) => link.startsWith('socket:'));
}

test('frames are found however they come apart', (t) => {
  const piece = fc.record({
    stream: fc.constantFrom(1 as const, 2 as const),
    data: fc.uint8Array({ maxLength: 40 }),
  });
  fc.assert(
    fc.property(fc.array(piece), fc.array(fc.nat(30), { minLength: 1 }), (pieces, cuts) => {
      const bytes = Buffer.concat(pieces.map(({ stream, data }) => frame(stream, Buffer.from(data))));
      const frames = new AttachFrames();
      const found: StreamChunk[] = [];
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const size = 1 + (cuts[i % cuts.length] ?? 0);
        found.push(...frames.push(bytes.subarray(at, at + size)));
        at += size;
      }
      for (const stream of [1, 2] as const) {
        const wanted = pieces.filter((one) => one.stream === stream).map(({ data }) => Buffer.from(data));
        const got = found.filter((one) => one.stream === stream).map(({ data }) => data);
        t.deepEqual(Buffer.concat(got), Buffer.concat(wanted));
      }
    }),
  );
  t.throws(() => [...new AttachFrames().push(Buffer.from([7, 0, 0, 0, 0, 0, 0, 1, 65]))]);
});

function frame(stream: number, data: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(stream, 0);
  header.writeUInt32BE(data.length, 4);
  return Buffer.concat([header, data]);
}

test('a health check has the rights of its container, no more', (t) => {
  const rlimits = [{ type: 'RLIMIT_NOFILE', soft: 10, hard: 20 }];
  const own = {
    uid: 7,
    gid: 8,
    additionalGids: [9],
    capabilities: ['CAP_KILL'],
    rlimits,
    noNewPrivileges: true,
  };
  const process = commandProcess({ ...record, id: 'x', ...own }, ['/probe']);
  t.deepEqual(process, {
    user: { uid: 7, gid: 8, additionalGids: [9] },
    args: ['/probe'],
    env: ['PATH=/bin'],
    cwd: '/',
    capabilities: { bounding: ['CAP_KILL'], effective: [], permitted: [], inheritable: [], ambient: [] },
    rlimits,
    noNewPrivileges: true,
  });
  const root = commandProcess({ ...record, id: 'x', capabilities: [] }, ['/probe']);
  t.deepEqual(root.capabilities?.effective, []);
});
