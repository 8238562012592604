/** Logs that are sent on: real files as a monitor writes them, real sockets that take them. */
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { LogForwarding } from '../../../agent/container/log-forwarding.ts';
import { parseLogLine } from '../../../agent/container/log-line.ts';
import { journalEntry, logTarget, syslogMessage } from '../../../agent/container/log-message.ts';
import type { ContainerRecord } from '../../../agent/container/record.ts';
import { readLogDriver } from '../../../shared/lib/log-driver.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const TIME = '2026-03-04T05:06:07.080900000Z';
const described = {
  id: 'abcdef0123456789'.repeat(4),
  name: 'web',
  image: 'busybox:1',
  imageId: `sha256:${'01'.repeat(32)}`,
  labels: { 'com.shop-tier': 'front' },
  env: ['COLOUR=blue', 'OTHER=1'],
};

function targetOf(name: string, options: Record<string, string>) {
  const { policy, problems } = readLogDriver({ name, options });
  if (policy.forward === undefined || problems.length > 0) throw new Error(problems.join());
  return logTarget(policy.forward, described);
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`it did not become true: ${condition.toString()}`);
    await delay(20);
  }
}

/** A container's directory with a log, and what the forwarding knows of it. */
class Scene {
  readonly directory: string;
  readonly #target: ReturnType<typeof targetOf>;

  constructor(directory: string, target: ReturnType<typeof targetOf>) {
    this.directory = directory;
    this.#target = target;
  }

  static async make(t: ExecutionContext, name: string, options: Record<string, string>): Promise<Scene> {
    const directory = await mkdtemp(join(tmpdir(), 'shoal-test-forward-'));
    t.teardown(() => rm(directory, { recursive: true }));
    return new Scene(directory, targetOf(name, options));
  }

  /** To the log's file with this number. */
  async write(number: number, ...texts: string[]): Promise<void> {
    const lines = texts.map((text) => `${TIME} stdout F ${text}\n`);
    await appendFile(join(this.directory, `log.${number}`), lines.join(''));
  }

  agent(journal?: string): LogForwarding {
    const record = { ...described, forward: this.#target } as unknown as ContainerRecord;
    const containers = {
      find: () => record,
      list: () => [record],
      directory: () => this.directory,
      logPath: () => join(this.directory, 'log'),
    };
    const forwarding = new LogForwarding(containers, silentLogger, journal);
    forwarding.resume();
    return forwarding;
  }
}

/** Takes lines on a port, until it is closed. */
async function listen(t: ExecutionContext, port = 0) {
  const taken: string[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    let rest = '';
    socket.on('data', (data) => {
      const parts = (rest + data.toString()).split('\n');
      rest = parts.pop() ?? '';
      taken.push(...parts.map((line) => line.replace(/^.*\]: /, '')));
    });
    socket.on('error', () => undefined);
  });
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  t.teardown(close);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return { taken, close, port: (server.address() as AddressInfo).port };
}

test('syslog over TCP: in order, over rotation, and on from its place after a restart of the agent', async (t) => {
  const server = await listen(t);
  const scene = await Scene.make(t, 'syslog', { 'syslog-address': `tcp://127.0.0.1:${server.port}` });
  await scene.write(0, 'a', 'b');
  const first = scene.agent();
  await until(() => server.taken.length === 2);
  await scene.write(0, 'c');
  await scene.write(1, 'd', 'e');
  await until(() => server.taken.length === 5);
  await first.close();
  // The file that it was in goes while nobody reads.
  await scene.write(1, 'f');
  await rm(join(scene.directory, 'log.0'));
  const second = scene.agent();
  await until(() => server.taken.length >= 6);
  await scene.write(1, 'g');
  await second.leaving(described.id);
  await until(() => server.taken.length >= 7);
  t.deepEqual(server.taken, ['a', 'b', 'c', 'd', 'e', 'f', 'g']);
  t.deepEqual(JSON.parse(await readFile(join(scene.directory, 'forwarded.json'), 'utf8')), {
    number: 1,
    bytes: (await readFile(join(scene.directory, 'log.1'))).length,
  });
});

test('a receiver that is away is waited for, and nothing that is still kept is lost', async (t) => {
  const before = await listen(t);
  before.close();
  const scene = await Scene.make(t, 'syslog', { 'syslog-address': `tcp://127.0.0.1:${before.port}` });
  await scene.write(0, 'while away');
  const agent = scene.agent();
  t.teardown(() => agent.close());
  await delay(100);
  const server = await listen(t, before.port);
  await until(() => server.taken.length === 1);
  server.close();
  await until(async () => {
    await scene.write(0, 'more');
    return readFile(join(scene.directory, 'forwarded.json'), 'utf8').then(
      () => true,
      () => false,
    );
  });
  const again = await listen(t, before.port);
  await scene.write(0, 'last');
  await until(() => again.taken.includes('last'));
  t.deepEqual(server.taken.slice(0, 1), ['while away']);
});

test('a receiver that stays away does not hold up the removal of its container for ever', async (t) => {
  const gone = await listen(t);
  gone.close();
  const scene = await Scene.make(t, 'syslog', { 'syslog-address': `tcp://127.0.0.1:${gone.port}` });
  await scene.write(0, 'never');
  const agent = scene.agent();
  const start = Date.now();
  await agent.leaving(described.id);
  agent.removed(described.id);
  t.true(Date.now() - start < 20_000);
  await agent.close();
});

test('syslog over UDP, RFC 5424, with a tag and a facility', async (t) => {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const got: string[] = [];
  socket.on('message', (message) => got.push(message.toString()));
  const scene = await Scene.make(t, 'syslog', {
    'syslog-address': `udp://127.0.0.1:${socket.address().port}`,
    'syslog-facility': 'local3',
    'syslog-format': 'rfc5424micro',
    tag: '{{.Name}}/{{ .ID }}',
  });
  await scene.write(0, 'hello');
  const agent = scene.agent();
  await until(() => got.length === 1);
  await agent.close();
  const tag = 'web/abcdef012345';
  t.regex(
    got[0] ?? '',
    new RegExp(`^<158>1 2026-03-04T05:06:07\\.080900Z \\S+ ${tag} ${process.pid} ${tag} - hello$`),
  );
});

/** Perl is on every Debian, and Node has no unix datagrams. Prints each that it gets as a line of hexadecimal digits. */
const RECEIVER = `
  use IO::Socket::UNIX; $| = 1;
  my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM(), Local => $ARGV[0]) or die $!;
  print "ready\\n";
  my $data;
  print unpack("H*", $data), "\\n" while defined $socket->recv($data, 1 << 20);
`;

test('the journal gets entries in its own protocol; syslog the same way on its unix socket', async (t) => {
  const fields = { tag: '{{.Name}}', labels: 'com.shop-tier, none', env: 'COLOUR' };
  for (const [name, options] of [
    ['journald', fields],
    ['syslog', {}],
  ] as const) {
    const directory = await mkdtemp(join(tmpdir(), 'shoal-test-socket-'));
    t.teardown(() => rm(directory, { recursive: true }));
    const path = join(directory, 'socket');
    const receiver = spawn('perl', ['-MSocket', '-e', RECEIVER, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => receiver.kill('SIGKILL'));
    let output = '';
    receiver.stdout.on('data', (data: Buffer) => (output += data.toString()));
    await until(() => output.startsWith('ready\n'));
    const local = name === 'syslog' ? { 'syslog-address': `unixgram://${path}` } : {};
    const scene = await Scene.make(t, name, { ...options, ...local });
    // More than the socket's queue holds.
    const texts = Array.from({ length: 600 }, (_, i) => `line ${i}`);
    await scene.write(0, ...texts);
    const agent = scene.agent(path);
    await until(() => output.split('\n').length === 602);
    await agent.close();
    const got = output
      .split('\n')
      .slice(1, -1)
      .map((hex) => Buffer.from(hex, 'hex').toString());
    if (name === 'syslog')
      t.deepEqual(
        got,
        texts.map((text) => `<30>Mar  4 05:06:07 abcdef012345[${process.pid}]: ${text}`),
      );
    else {
      t.deepEqual(
        got.map((entry) => /^MESSAGE=(.*)$/m.exec(entry)?.[1]),
        texts,
      );
      t.deepEqual(got[0]?.trimEnd().split('\n'), [
        'COM_SHOP_TIER=front',
        'COLOUR=blue',
        'CONTAINER_ID=abcdef012345',
        `CONTAINER_ID_FULL=${described.id}`,
        'CONTAINER_NAME=web',
        'CONTAINER_TAG=web',
        'IMAGE_NAME=busybox:1',
        'SYSLOG_IDENTIFIER=web',
        'PRIORITY=6',
        `SYSLOG_TIMESTAMP=${TIME}`,
        'MESSAGE=line 0',
      ]);
    }
  }
});

test('messages: errors are errors, formats are those of their RFCs, a value with newlines has its length', (t) => {
  const line = parseLogLine(Buffer.from(`${TIME} stderr P text`));
  if (line === undefined) throw new Error('no line');
  const from = { hostname: 'n1', pid: 7 };
  const said = (options: Record<string, string>): string => {
    const target = targetOf('syslog', options);
    return target.kind === 'syslog' ? syslogMessage(target, line, from).toString() : '';
  };
  t.is(said({ 'syslog-facility': '0' }), '<3>Mar  4 05:06:07 abcdef012345[7]: text');
  t.is(said({ 'syslog-format': 'rfc3164', tag: 'x' }), '<27>Mar  4 05:06:07 n1 x[7]: text');
  t.is(said({ 'syslog-format': 'rfc5424', tag: 'x' }), '<27>1 2026-03-04T05:06:07Z n1 x 7 x - text');
  const entry = journalEntry({ kind: 'journald', fields: { A: 'b\nc' } }, line);
  const length = Buffer.from([3, 0, 0, 0, 0, 0, 0, 0]);
  t.deepEqual(
    entry,
    Buffer.concat([
      ...[Buffer.from('A\n'), length, Buffer.from('b\nc\nPRIORITY=3\n')],
      Buffer.from(`SYSLOG_TIMESTAMP=${TIME}\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE=text\n`),
    ]),
  );
});
