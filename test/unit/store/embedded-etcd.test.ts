import { randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { get, type RequestOptions } from 'node:https';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import test from 'ava';
import { createRoot, openAuthority } from '../../../manager/ca/authority.ts';
import { createEtcdClient, type EtcdClientOptions } from '../../../manager/store/etcd-client.ts';
import { startEmbeddedEtcd } from '../../../manager/store/embedded-etcd.ts';
import type { EmbeddedEtcdOptions } from '../../../manager/store/embedded-etcd.ts';
import { explainExit } from '../../../manager/store/etcd-failure.ts';
import {
  chooseFreePorts,
  findEtcd,
  findRunning,
  openLog,
  spawnEtcd,
} from '../../../manager/store/etcd-process.ts';
import type { EtcdPorts } from '../../../manager/store/etcd-process.ts';
import { maintainEtcd, relieve } from '../../../manager/store/maintenance.ts';
import { openStore } from '../../../manager/store/open-store.ts';
import {
  ConflictError,
  InvalidError,
  NotFoundError,
  UnavailableError,
} from '../../../shared/errors/index.ts';
import { tlsOfEmbedded } from '../../harness/etcd.ts';
import { eventually, put, silent, within } from './helpers.ts';

const never = new AbortController().signal;

async function temporary(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'shoal-embedded-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

function options(directory: string, more: Partial<EmbeddedEtcdOptions> = {}): EmbeddedEtcdOptions {
  return { directory, logger: silent, signal: never, ...more };
}

test.serial(
  'it is started again when it is killed, on the same port, and nothing acknowledged is lost',
  async (t) => {
    await using directory = await temporary();
    await using etcd = await startEmbeddedEtcd(options(directory.path));
    await using store = await openStore({ ...etcd.reach, logger: silent, signal: never });
    for (let round = 0; round < 3; round += 1) {
      await store.commit([put(`t${round}`)], { signal: within() });
      const { pid } = etcd;
      process.kill(pid as number, 'SIGKILL');
      await eventually(t, 'another process', () => etcd.pid !== undefined && etcd.pid !== pid);
      await eventually(t, 'a commit gets through', () =>
        store.commit([put('again', { slot: round })], { signal: within() }).then(
          () => true,
          (error: unknown) => !(t.true(error instanceof UnavailableError), true),
        ),
      );
    }
    t.deepEqual([...store.all('tasks').keys()].sort(), ['again', 't0', 't1', 't2']);
  },
);

test.serial('stop ends it, and a later start has the same ports and content', async (t) => {
  await using directory = await temporary();
  const first = await startEmbeddedEtcd(options(directory.path));
  const client = createEtcdClient({ ...first.reach });
  await client.put('/shoal/v1/names/x').value('{"id":"1"}');
  client.close();
  await first.stop();
  t.is(await findRunning(directory.path), undefined);
  await using second = await startEmbeddedEtcd(options(directory.path));
  t.deepEqual(second.endpoints, first.endpoints);
  await using store = await openStore({ ...second.reach, logger: silent, signal: never });
  t.deepEqual(store.get('names', 'x'), { id: '1' });
});

test.serial(
  'who has no certificate of its own authority is not served, nor who has one of the cluster',
  async (t) => {
    await using directory = await temporary();
    const ports = await chooseFreePorts();
    await using etcd = await startEmbeddedEtcd(options(directory.path, { ports }));
    const refused = async (what: string, reach: EtcdClientOptions): Promise<void> => {
      const client = createEtcdClient({ ...reach, callTimeoutMs: 1_000 });
      await t.throwsAsync(client.get('/shoal/v1/cluster/self').string(), undefined, what);
      client.close();
    };
    const { endpoints } = etcd;
    const { ca } = etcd.reach.tls;
    const tls = { ca, serverName: 'localhost' };
    await refused('plain HTTP', { endpoints: endpoints.map((url) => url.replace('https', 'http')) });
    await refused('no certificate', { endpoints, tls });
    const cluster = await openAuthority('c1', await createRoot('c1', Date.now()));
    const { cert, key } = await cluster.issueIdentity({ nodeId: 'm1', role: 'manager' }, Date.now());
    await refused("a manager's certificate of the cluster", { endpoints, tls: { ...tls, cert, key } });
    const client = createEtcdClient(etcd.reach);
    t.is(await client.get('/shoal/v1/cluster/self').string(), null);
    client.close();
    const [forClients, forPeers] = await Promise.all([
      tlsOfEmbedded(directory.path),
      tlsOfEmbedded(directory.path, 'peer'),
    ]);
    for (const [port, path, own, other] of [
      [ports.client, '/health', forClients, forPeers],
      [ports.peer, '/members', forPeers, forClients],
    ] as const) {
      const ask = (more: RequestOptions): Promise<string> => answerOf({ port, path, ...more });
      t.is(await ask(own), '200 by TLSv1.3');
      t.regex(await ask({ ...own, maxVersion: 'TLSv1.2' }), /^refused/, 'TLS 1.2');
      t.regex(await ask({ cert, key }), /^refused/, "a manager's certificate of the cluster");
      t.regex(await ask({ cert: other.cert, key: other.key }), /^refused/, 'one for the other port');
      t.regex(await ask({}), /^refused/, 'no certificate');
    }
  },
);

/** The status, and what was spoken, or why there is none. */
function answerOf(more: RequestOptions): Promise<string> {
  return new Promise((resolve) => {
    const options = { host: '127.0.0.1', rejectUnauthorized: false, agent: false, ...more } as const;
    const asked = get(options, (response) => {
      const spoken = (response.socket as TLSSocket).getProtocol();
      response.resume();
      response.on('end', () => resolve(`${response.statusCode} by ${spoken}`));
    });
    asked.on('error', (error: NodeJS.ErrnoException) => resolve(`refused: ${error.code}`));
  });
}

test.serial('10,000 strangers on the port of the peers: writes go on, and all is given back', async (t) => {
  await using directory = await temporary();
  const ports = await chooseFreePorts();
  await using etcd = await startEmbeddedEtcd(options(directory.path, { ports }));
  await using store = await openStore({ ...etcd.reach, logger: silent, signal: never });
  const residentKb = async (): Promise<number> => {
    const status = await readFile(`/proc/${etcd.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
  };
  const opened = async (): Promise<number> => (await readdir(`/proc/${etcd.pid}/fd`)).length;
  const before = { kb: await residentKb(), opened: await opened() };
  const sockets: Socket[] = [];
  for (let number = 0; number < 10_000; number += 1) {
    const socket = connect(ports.peer, '127.0.0.1');
    socket.on('error', () => undefined);
    // Some say what is no TLS, some begin it and stop, most say nothing.
    if (number % 10 === 0) socket.write(number % 20 === 0 ? randomBytes(64) : Buffer.from([22, 3, 1]));
    sockets.push(socket);
    if (number % 200 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await eventually(t, 'they are there', async () => (await opened()) > 9_000);
  const startedMs = performance.now();
  for (let count = 0; count < 20; count += 1) await store.commit([put(`t${count}`)], { signal: within() });
  const eachMs = (performance.now() - startedMs) / 20;
  const eachKb = ((await residentKb()) - before.kb) / 10_000;
  t.log(`a stranger costs ${eachKb.toFixed(1)} KiB; a write takes ${eachMs.toFixed(1)} ms meanwhile`);
  t.true(eachKb < 64, 'so many bytes are what it may cost');
  for (const socket of sockets) socket.destroy();
  await eventually(t, 'they are gone', async () => (await opened()) < before.opened + 50);
  await store.commit([put('after')], { signal: within() });
});

test.serial('an etcd left over from a killed manager is ended and replaced', async (t) => {
  await using directory = await temporary();
  const ports = await chooseFreePorts();
  await mkdir(join(directory.path, 'data'), { mode: 0o700 });
  const log = await openLog(directory.path);
  const binary = await findEtcd(undefined);
  const orphan = spawnEtcd({ binary, directory: directory.path, ports, quotaBytes: 1e9 }, log);
  await log.close();
  const client = createEtcdClient({ endpoints: [`http://127.0.0.1:${ports.client}`] });
  await eventually(t, 'the orphan has written', () =>
    client
      .put('/shoal/v1/names/x')
      .value('{"id":"1"}')
      .then(
        () => true,
        () => false,
      ),
  );
  client.close();
  await using etcd = await startEmbeddedEtcd(options(directory.path, { ports }));
  t.true(orphan.exitCode !== null || orphan.signalCode !== null);
  t.not(etcd.pid, orphan.pid);
  await using store = await openStore({ ...etcd.reach, logger: silent, signal: never });
  t.deepEqual(store.get('names', 'x'), { id: '1' });
});

/** A manager, as far as its etcd is concerned: a process of its own that starts one and stays. */
async function startManager(directory: string): Promise<ChildProcess> {
  const module = new URL('../../../manager/store/embedded-etcd.js', import.meta.url).href;
  const script = `
    const { startEmbeddedEtcd } = await import(${JSON.stringify(module)});
    const nothing = () => undefined;
    const logger = { info: nothing, warn: nothing, error: nothing, debug: nothing };
    const signal = new AbortController().signal;
    await startEmbeddedEtcd({ directory: ${JSON.stringify(directory)}, logger, signal });
    console.log('started');
    setInterval(nothing, 1_000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return child;
}

test.serial(
  'a directory belongs to one manager; when that is killed, the next one takes it over with its content',
  async (t) => {
    await using directory = await temporary();
    const manager = await startManager(directory.path);
    try {
      await t.throwsAsync(startEmbeddedEtcd(options(directory.path)), {
        instanceOf: ConflictError,
        message: new RegExp(`another manager, process ${manager.pid}`),
      });
      const { client: port } = JSON.parse(
        await readFile(join(directory.path, 'ports.json'), 'utf8'),
      ) as EtcdPorts;
      const endpoints = [`https://127.0.0.1:${port}`];
      const client = createEtcdClient({ endpoints, tls: await tlsOfEmbedded(directory.path) });
      await client.put('/shoal/v1/names/x').value('{"id":"1"}');
      client.close();
    } finally {
      const ended = once(manager, 'exit');
      manager.kill('SIGKILL');
      await ended;
    }
    t.not(await findRunning(directory.path), undefined, 'its etcd goes on');
    await using etcd = await startEmbeddedEtcd(options(directory.path));
    await using store = await openStore({ ...etcd.reach, logger: silent, signal: never });
    t.deepEqual(store.get('names', 'x'), { id: '1' });
  },
);

test.serial('a port that is taken is named', async (t) => {
  await using directory = await temporary();
  const ports = await chooseFreePorts();
  for (const use of ['client', 'peer'] as const) {
    const server = createServer().listen(ports[use], '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    await t.throwsAsync(startEmbeddedEtcd(options(directory.path, { ports })), {
      instanceOf: ConflictError,
      message: new RegExp(`${use} port ${ports[use]}`),
    });
    await new Promise((resolve) => server.close(resolve));
  }
});

test.serial('ports of its own choice that were taken since are chosen anew', async (t) => {
  await using directory = await temporary();
  const ports = await chooseFreePorts();
  await writeFile(join(directory.path, 'ports.json'), JSON.stringify(ports));
  const server = createServer().listen(ports.client, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  await using etcd = await startEmbeddedEtcd(options(directory.path));
  t.not(etcd.endpoints[0], `http://127.0.0.1:${ports.client}`);
  await new Promise((resolve) => server.close(resolve));
});

test.serial('a missing program: it is said what installs it', async (t) => {
  await using directory = await temporary();
  await t.throwsAsync(startEmbeddedEtcd(options(directory.path, { binary: '/nowhere/etcd' })), {
    instanceOf: NotFoundError,
    message: /\/nowhere\/etcd.*deploy\/prerequisites\.sh/,
  });
});

test.serial('a data directory that can not be made is named', async (t) => {
  await using directory = await temporary();
  await writeFile(join(directory.path, 'file'), '');
  await t.throwsAsync(startEmbeddedEtcd(options(join(directory.path, 'file', 'etcd'))), {
    instanceOf: InvalidError,
    message: /file\/etcd can not be written/,
  });
});

test.serial('damaged data is called damaged', async (t) => {
  await using directory = await temporary();
  const first = await startEmbeddedEtcd(options(directory.path));
  await first.stop();
  const database = join(directory.path, 'data', 'member', 'snap', 'db');
  await chmod(database, 0o600);
  await truncate(database, 1_000);
  await t.throwsAsync(startEmbeddedEtcd(options(directory.path)), {
    instanceOf: InvalidError,
    message: /damaged/,
  });
  t.is(await findRunning(directory.path), undefined);
});

test.serial('a damaged write-ahead log is called damaged', async (t) => {
  await using directory = await temporary();
  const first = await startEmbeddedEtcd(options(directory.path));
  await first.stop();
  const folder = join(directory.path, 'data', 'member', 'wal');
  const [name] = (await readdir(folder)).filter((one) => one.endsWith('.wal'));
  const path = join(folder, name as string);
  const bytes = await readFile(path);
  bytes.fill(0x5a, 40, 120);
  await writeFile(path, bytes);
  await t.throwsAsync(startEmbeddedEtcd(options(directory.path)), {
    instanceOf: InvalidError,
    message: /damaged/,
  });
});

test.serial('why it ended is told from its log', (t) => {
  const explain = (log: string): Error =>
    explainExit({ log, status: 'exit code 1', directory: '/d', logPath: '/d/etcd.log' });
  const taken = explain(
    '{"level":"fatal","msg":"x","error":"listen tcp 127.0.0.1:2380: bind: address already in use"}',
  );
  t.true(taken instanceof ConflictError);
  t.regex(taken.message, /port 2380 \(address already in use\)/);
  t.regex(
    explain('{"level":"fatal","msg":"open db","error":"permission denied"}').message,
    /can not write .*\/d/,
  );
  t.regex(explain('something: else\n').message, /ended \(exit code 1\): something: else; see \/d\/etcd.log/);
  t.regex(explain('').message, /logged nothing/);
});

test.serial('out of space: compacted, defragmented, and writes go on', async (t) => {
  await using directory = await temporary();
  const quotaBytes = 8 * 1024 * 1024;
  await using etcd = await startEmbeddedEtcd(options(directory.path, { quotaBytes }));
  await using store = await openStore({ ...etcd.reach, logger: silent, signal: never });
  const pendingReason = 'x'.repeat(500_000);
  const fill = async (): Promise<unknown> => {
    for (let i = 0; i < 100; i += 1)
      await store.commit([put('same', { slot: i, pendingReason })], { signal: within() });
    return undefined;
  };
  await t.throwsAsync(fill(), { instanceOf: UnavailableError, message: /etcd has no space left/ });
  await eventually(t, 'the alarm', () => relieve({ client: store.client, logger: silent }));
  await store.commit([put('after')], { signal: within() });
  t.false(await relieve({ client: store.client, logger: silent }));
  // The loop does the same by itself.
  await t.throwsAsync(fill(), { instanceOf: UnavailableError, message: /etcd has no space left/ });
  const stop = new AbortController();
  const maintaining = maintainEtcd({ client: store.client, logger: silent, checkMs: 20 }, stop.signal);
  await eventually(t, 'a commit gets through', () =>
    store.commit([put('again')], { signal: within() }).then(
      () => true,
      () => false,
    ),
  );
  stop.abort();
  await maintaining;
});

test.serial('history is compacted with time, and not when nothing was written', async (t) => {
  await using directory = await temporary();
  await using etcd = await startEmbeddedEtcd(options(directory.path));
  await using store = await openStore({ ...etcd.reach, logger: silent, signal: never });
  const first = await store.commit([put('t1')], { signal: never });
  const stop = new AbortController();
  const maintaining = maintainEtcd(
    { client: store.client, directory: directory.path, logger: silent, checkMs: 10, historyMs: 30 },
    stop.signal,
  );
  await eventually(t, 'the first revision is gone', async () => {
    await store.commit([put('t1')], { signal: within() });
    return store.client.kv.range({ key: Buffer.from('/x'), revision: first }).then(
      () => false,
      (error: Error) => error.message.includes('compacted'),
    );
  });
  stop.abort();
  await maintaining;
  t.pass();
});

test.serial('the maintenance of an idle etcd writes nothing', async (t) => {
  await using directory = await temporary();
  await using etcd = await startEmbeddedEtcd(options(directory.path));
  const client = createEtcdClient({ ...etcd.reach });
  await client.put('/x').value('1');
  let turns = 0;
  const range = client.kv.range.bind(client.kv);
  client.kv.range = (...given) => {
    turns += 1;
    return range(...given);
  };
  const stop = new AbortController();
  const maintaining = maintainEtcd({ client, logger: silent, checkMs: 1, historyMs: 1 }, stop.signal);
  await eventually(t, 'a few turns', () => turns >= 5);
  const { raftIndex } = await client.maintenance.status();
  await eventually(t, 'more turns', () => turns >= 20);
  t.is((await client.maintenance.status()).raftIndex, raftIndex);
  stop.abort();
  await maintaining;
  client.close();
});
