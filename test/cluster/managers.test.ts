/** Three managers, each with its own etcd on a host of its own: any of them may die. */
import { readFile, writeFile } from 'node:fs/promises';
import { randomBytes, X509Certificate } from 'node:crypto';
import { connect } from 'node:net';
import path from 'node:path';
import { connect as connectTls } from 'node:tls';
import anyTest, { type TestFn } from 'ava';
import { WebSocket } from 'ws';
import { z } from 'zod';
import type { ApiClient } from '../../deploy/cli/client.ts';
import { run } from '../../deploy/local/command.ts';
import { CLI_PATH } from '../../deploy/local/project.ts';
import { EXAMPLE_IMAGE } from '../../deploy/local/example-image.ts';
import { parseKeys } from '../../manager/vault/data-key-file.ts';
import { isLocked } from '../../manager/vault/lock.ts';
import { delay } from '../../shared/lib/abort.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { ClusterState } from '../harness/cluster-state.ts';
import { makeConfigs } from '../harness/api-load.ts';
import { lifeLines } from '../harness/containers.ts';
import type { TestManager } from '../harness/managers.ts';
import { ensurePeers } from '../harness/peers.ts';
import { QUICK, settled } from '../harness/settled.ts';
import { startTransfer } from '../harness/transfer.ts';

const test = anyTest as TestFn<{ swarm: TestCluster }>;
const { signal } = new AbortController();

const managersSchema = z.array(
  z.object({
    ID: z.string(),
    Addr: z.string(),
    State: z.string(),
    Leader: z.boolean(),
    Reachability: z.string(),
  }),
);

/** What one manager says of all: `leader`, `reachable`, `unreachable`, `joining` by address. */
async function managersAt(client: ApiClient): Promise<Map<string, string>> {
  const managers = managersSchema.parse(await client.get('/managers', signal));
  return new Map(
    managers.map((one) => [
      one.Addr,
      one.State === 'joining' ? 'joining' : one.Leader ? 'leader' : one.Reachability,
    ]),
  );
}

/** Resolves once it holds. Unlike the cluster's own it asks nothing of the first manager, which may be dead. */
async function until(swarm: TestCluster, holds: () => Promise<boolean>, withinMs = 60_000): Promise<void> {
  const end = performance.now() + withinMs;
  for (let last: unknown = 'it did not hold'; ; await delay(50, signal)) {
    if (await holds().catch((error: unknown) => ((last = error), false))) return;
    if (performance.now() > end)
      throw new Error(`not met: ${String(holds)}\n${String(last)}\n${await swarm.logTails(15)}`);
  }
}

/** Resolves once this manager says so of all: `leader reachable reachable`, sorted. */
function agreed(swarm: TestCluster, client: ApiClient, states: string): Promise<void> {
  return until(swarm, async () => [...(await managersAt(client)).values()].toSorted().join(' ') === states);
}

/** The same of the cluster's state, as this manager tells it. */
function eventuallyAt(
  swarm: TestCluster,
  client: ApiClient,
  condition: (state: ClusterState) => boolean,
): Promise<void> {
  return until(swarm, async () => condition(await ClusterState.read(client, signal)));
}

/** Host names of the nodes that have their session with this manager. */
async function nodesOf(client: ApiClient): Promise<string[]> {
  const text = String(await client.get('/metrics', signal));
  const lines = text.split('\n').filter((line) => line.startsWith('shoal_node_connected'));
  return lines.filter((line) => line.endsWith(' 1')).map((line) => /node="([^"]+)"/.exec(line)?.[1] ?? '');
}

/** Gives up after a second, as a client would that has another manager to ask. */
async function scale(client: ApiClient, service: string, replicas: number): Promise<boolean> {
  const soon = AbortSignal.timeout(1_000);
  const found = serviceSchema.parse(await client.get(`/services/${service}`, soon));
  const spec = { ...found.Spec, Mode: { Replicated: { Replicas: replicas } } };
  const body = { type: 'application/json', text: JSON.stringify(spec) } as const;
  await client.call('POST', `/services/${service}/update?version=${found.Version.Index}`, body, soon);
  return true;
}

const serviceSchema = z.object({
  Version: z.object({ Index: z.number() }),
  Spec: z.looseObject({ Name: z.string() }),
});

const identitySchema = z.looseObject({ ca: z.string(), cert: z.string(), key: z.string() });
type Identity = z.output<typeof identitySchema>;
const tokensSchema = z.object({ JoinTokens: z.object({ Worker: z.string() }) });

function managerDirectories(swarm: TestCluster): string[] {
  const further = others(swarm).map((manager) => path.join(manager.stateDir, 'state'));
  return [path.join(swarm.layout.stateDir, 'manager'), ...further];
}

/** By whose certificates the managers' etcds believe each other, as their files have it. */
function etcdRoots(swarm: TestCluster): Promise<string[]> {
  return Promise.all(
    managerDirectories(swarm).map((dir) => readFile(path.join(dir, 'etcd/tls/ca.pem'), 'utf8')),
  );
}

/** The certificate that a manager shows to nodes. */
function shownBy(address: string): Promise<X509Certificate> {
  const [host = '', port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false }, () => {
      const shown = socket.getPeerX509Certificate();
      socket.destroy();
      if (shown === undefined) reject(new Error('it shows no certificate'));
      else resolve(shown);
    });
    socket.on('error', reject);
  });
}

/** Of an attempt to open a session with this identity: `open`, or the status of the refusal. */
function sessionOutcome(address: string, { ca, cert, key }: Identity): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://${address}/session`, { ca, cert, key, rejectUnauthorized: false });
    socket.on('unexpected-response', (_, response) => resolve(String(response.statusCode)));
    socket.on('error', reject);
    socket.on('open', () => {
      resolve('open');
      socket.terminate();
    });
  });
}

function others(swarm: TestCluster): TestManager[] {
  return swarm.others;
}

test.before(async (t) => {
  t.context.swarm = await cluster().managers(3).agents(3).onMachine().up();
});

test.after.always(async (t) => {
  await t.context.swarm?.[Symbol.asyncDispose]();
});

test.serial('two managers join by a token; each of the three serves the API', async (t) => {
  const { swarm } = t.context;
  for (const { client } of others(swarm)) await agreed(swarm, client, 'leader reachable reachable');
  t.regex(await swarm.docker('node', 'ls'), /a1 .*Ready .*Active .*Leader/);
  await swarm.deploy('web', { replicas: 6, more: QUICK });
  await settled(swarm, { web: 6 });
  for (const { client } of others(swarm)) {
    t.is((await ClusterState.read(client, signal)).running('web').count, 6);
  }
});

test.serial(
  'the leader dies: writes and planning go on, no container notices, and it comes back',
  async (t) => {
    const { swarm } = t.context;
    const [m2] = others(swarm);
    if (m2 === undefined) throw new Error('there is no m2');
    const transfer = await startTransfer(swarm, 'a1', 'a2');
    const before = await lifeLines(swarm.layout);
    await swarm.manager.die();
    const diedAtMs = performance.now();
    await until(swarm, () => scale(m2.client, 'web', 8));
    const writtenMs = performance.now() - diedAtMs;
    await eventuallyAt(swarm, m2.client, (s) => s.running('web').count === 8);
    const plannedMs = performance.now() - diedAtMs;
    t.log(`written after ${Math.round(writtenMs)} ms, 8 run after ${Math.round(plannedMs)} ms`);
    const after = await lifeLines(swarm.layout);
    t.true(before.every((line) => after.includes(line)));
    await transfer.goesOn();
    await agreed(swarm, m2.client, 'leader reachable unreachable');
    await swarm.manager.restart();
    await agreed(swarm, swarm.client, 'leader reachable reachable');
    await transfer.goesOn();
    const back = await lifeLines(swarm.layout);
    t.true(
      before.every((line) => back.includes(line)),
      'the transfer is still that one',
    );
    await transfer.stop();
    await settled(swarm, { web: 8 });
  },
);

test.serial('a manager reaches the nodes of the others: exec, logs', async (t) => {
  const { swarm } = t.context;
  const here = await nodesOf(swarm.client);
  t.deepEqual(here, [], 'all nodes have gone to other managers');
  const { tasks } = (await swarm.state()).running('web').on('a2');
  const container = tasks[0]?.Status.ContainerStatus?.ContainerID ?? '';
  t.is((await swarm.docker('exec', container, 'echo', 'across')).trim(), 'across');
  t.regex(await swarm.docker('exec', container, 'cat', '/proc/1/cmdline'), /./);
  const stats = await swarm.docker('stats', '--no-stream', '--format', '{{.ID}}', container);
  t.true(container.startsWith(stats.trim()));
});

test.serial(
  'users come in over TLS at every manager, by docker and by shoal; one that is removed is out at once',
  async (t) => {
    const { swarm } = t.context;
    const [m2, m3] = others(swarm);
    if (m2 === undefined || m3 === undefined) throw new Error('there are not three managers');
    const directory = path.join(swarm.layout.stateDir, 'ann');
    const shoal = (...args: string[]): Promise<string> => run(process.execPath, [CLI_PATH, ...args], signal);
    const atSocket = ['--socket', swarm.layout.socket];
    const limited = ['--role', 'operator', '--stack', 'shop', '--dir', directory];
    await shoal('user', 'add', 'ann', ...limited, ...atSocket);
    const { docker: program } = await ensurePeers();
    const file = (name: string): string => path.join(directory, name);
    const tls = ['--tlscacert', file('ca.pem'), '--tlscert', file('cert.pem'), '--tlskey', file('key.pem')];
    const docker = (manager: TestManager, ...args: string[]): Promise<string> =>
      run(
        program,
        ['--config', directory, '--tlsverify', ...tls, '-H', `tcp://${manager.apiAddress}`, ...args],
        signal,
      );
    t.is(await docker(m2, 'service', 'ls', '-q'), '', 'web is not of its stack');
    const made = ['service', 'create', '--quiet', '--no-resolve-image', '--name', 'shop_web'];
    const label = ['--label', 'com.docker.stack.namespace=shop'];
    await t.throwsAsync(docker(m2, ...made, EXAMPLE_IMAGE), { message: /stack shop only/ });
    await docker(m2, ...made, ...label, ...QUICK, EXAMPLE_IMAGE);
    const id = (await docker(m3, 'ps', '-q', '--no-trunc')).trim();
    t.is((await docker(m3, 'exec', id, 'echo', 'in')).trim(), 'in');
    await t.throwsAsync(docker(m3, 'service', 'rm', 'web'), { message: /No such service: web/ });
    await t.throwsAsync(docker(m3, 'swarm', 'join-token', 'worker'), { message: /needs the role admin/ });
    // Nobody answers at the first: the next is asked.
    const nobody = m2.apiAddress.replace(/:.*/, ':1');
    const status = await shoal('status', '--host', `${nobody},${m3.apiAddress}`, '--tls-dir', directory);
    t.regex(status, /shop_web +1\/1/);
    t.notRegex(status, /^web /m);
    const sleeping = docker(m3, 'exec', id, 'sleep', '1000');
    sleeping.catch(() => undefined);
    await until(swarm, async () => (await docker(m2, 'top', id)).includes('sleep 1000'));
    await shoal('user', 'rm', 'ann', ...atSocket);
    await t.throwsAsync(sleeping);
    for (const manager of [m2, m3])
      await t.throwsAsync(docker(manager, 'ps'), { message: /certificate is no user's/ });
    await swarm.docker('service', 'rm', 'shop_web');
    await settled(swarm, { web: 8 });
  },
);

test.serial(
  'the data key is rotated: all managers get the next one, secrets stay, no container notices',
  async (t) => {
    const { swarm } = t.context;
    const data = Buffer.from('for-three').toString('base64');
    t.is((await swarm.api('POST', '/secrets/create', { Name: 'token', Data: data })).status, 201);
    const before = await lifeLines(swarm.layout);
    const said = await run(
      process.execPath,
      [CLI_PATH, 'data-key', 'rotate', '--socket', swarm.layout.socket],
      signal,
    );
    const key = /^data key ([0-9a-f]{16}), since /.exec(said)?.[1] ?? '';
    for (const directory of managerDirectories(swarm)) {
      const [first] = parseKeys(await readFile(path.join(directory, 'data-key'), 'utf8'));
      t.is(first?.id, key, directory);
    }
    await swarm.deploy('reader', { more: [...QUICK, '--secret', 'token'] });
    await settled(swarm, { web: 8, reader: 1 });
    const [task] = (await swarm.state()).running('reader').tasks;
    const id = task?.Status.ContainerStatus?.ContainerID ?? '';
    t.is(await swarm.docker('exec', id, 'cat', '/run/secrets/token'), 'for-three');
    const after = await lifeLines(swarm.layout);
    t.true(before.every((line) => after.includes(line)));
    await swarm.docker('service', 'rm', 'reader');
    await settled(swarm, { web: 8 });
  },
);

test.serial('autolock: a manager that starts again serves nothing until it is unlocked', async (t) => {
  const { swarm } = t.context;
  const [m2] = others(swarm);
  if (m2 === undefined) throw new Error('there is no m2');
  const file = path.join(m2.stateDir, 'state', 'data-key');
  const lockedIs = (wanted: boolean) => async () => isLocked(await readFile(file, 'utf8')) === wanted;
  await swarm.docker('swarm', 'update', '--autolock');
  const key = (await swarm.docker('swarm', 'unlock-key', '-q')).trim();
  await until(swarm, lockedIs(true));
  await m2.crash();
  const infoSchema = z.object({ Swarm: z.object({ LocalNodeState: z.string() }) });
  await until(swarm, async () => {
    const info = infoSchema.parse(await m2.client.get('/info', signal));
    return info.Swarm.LocalNodeState === 'locked';
  });
  await t.throwsAsync(m2.client.get('/services', signal), { message: /needs to be unlocked/ });
  const unlock = (UnlockKey: string): Promise<unknown> =>
    m2.client.call(
      'POST',
      '/swarm/unlock',
      { type: 'application/json', text: JSON.stringify({ UnlockKey }) },
      signal,
    );
  await t.throwsAsync(unlock(key.replace(/.$/, (last) => (last === 'A' ? 'Q' : 'A'))), { message: /unlock/ });
  await unlock(key);
  await m2.ready();
  await agreed(swarm, m2.client, 'leader reachable reachable');
  await swarm.docker('swarm', 'update', '--autolock=false');
  await until(swarm, lockedIs(false));
  await settled(swarm, { web: 8 });
});

test.serial(
  'a node that dies with its manager is judged by another one, and its tasks are replaced',
  async (t) => {
    const { swarm } = t.context;
    for (const manager of others(swarm)) {
      const [lost] = (await nodesOf(manager.client)).filter((name) => name !== 'a1');
      if (lost === undefined) continue;
      await manager.die();
      await swarm.node(lost).partition();
      await eventuallyAt(
        swarm,
        swarm.client,
        (s) => s.node(lost) === 'down' && s.running('web').notOn(lost).count === 8,
      );
      manager.start();
      await swarm.node(lost).heal();
      await manager.ready();
      await settled(swarm, { web: 8 });
      await agreed(swarm, swarm.client, 'leader reachable reachable');
      t.is((await swarm.state()).node(lost), 'ready', 'it is back');
      return;
    }
    t.fail('no node has its session with m2 or m3');
  },
);

test.serial('garbage and silence on every port that is on the network: nobody notices', async (t) => {
  const { swarm } = t.context;
  const [m2] = others(swarm);
  if (m2 === undefined) throw new Error('there is no m2');
  const before = await lifeLines(swarm.layout);
  const sessions = async () => (await Promise.all(others(swarm).map(({ client }) => nodesOf(client)))).flat();
  const connected = (await sessions()).toSorted();
  const [host = ''] = m2.address.split(':');
  const ports = [swarm.layout.managerPort, swarm.layout.etcdPeerPort, Number(m2.apiAddress.split(':')[1])];
  const sockets = ports.flatMap((port) =>
    Array.from({ length: 1_000 }, (_, number) => {
      const socket = connect(port, host);
      socket.on('error', () => undefined);
      if (number % 2 === 0) socket.write(randomBytes(64));
      return socket;
    }),
  );
  const refused = async (): Promise<number> => {
    const text = String(await m2.client.get('/metrics', signal));
    const counts = [
      ...text.matchAll(/^shoal_dispatcher_refused_total\{reason="(?:tls|address-full)"\} (\d+)$/gm),
    ];
    return counts.reduce((sum, [, count]) => sum + Number(count), 0);
  };
  await until(swarm, async () => (await refused()) >= 300);
  await until(swarm, () => scale(m2.client, 'web', 7));
  await until(swarm, () => scale(m2.client, 'web', 8));
  await settled(swarm, { web: 8 });
  for (const socket of sockets) socket.destroy();
  await agreed(swarm, m2.client, 'leader reachable reachable');
  t.deepEqual((await sessions()).toSorted(), connected);
  // One may have gone when there were to be fewer.
  const after = await lifeLines(swarm.layout);
  t.true(before.filter((line) => !after.includes(line)).length <= 1);
});

test.serial('the packet filter that the docs give: strangers do not come to etcd, managers do', async (t) => {
  const { swarm } = t.context;
  const [m2, m3] = others(swarm);
  if (m2 === undefined || m3 === undefined) throw new Error('there are not three managers');
  const { managerPort, etcdPeerPort } = swarm.layout;
  const [host = ''] = m2.address.split(':');
  const comesTo = (port: number): Promise<boolean> =>
    swarm
      .node('a2')
      .run('timeout', '2', 'bash', '-c', `</dev/tcp/${host}/${port}`)
      .then(
        () => true,
        () => false,
      );
  const text = await readFile('docs/operate.md', 'utf8');
  const [table = ''] = /^ {4}table inet etcd_peers \{[^]*?^ {4}\}$/m.exec(text) ?? [];
  const addresses = [host.replace(/\d+$/, '1'), host, m3.address.split(':')[0]].join(', ');
  const rules = table
    .replace(/elements = .*/, `elements = { ${addresses} }`)
    .replace('7372', `${etcdPeerPort}`);
  t.true(await comesTo(etcdPeerPort));
  await m2.run('nft', rules);
  t.deepEqual([await comesTo(managerPort), await comesTo(etcdPeerPort)], [true, false]);
  // All its connections are made anew.
  await m2.die();
  await agreed(swarm, swarm.client, 'leader reachable unreachable');
  m2.start();
  await agreed(swarm, m2.client, 'leader reachable reachable');
  t.regex(await m2.run('nft', 'list', 'table', 'inet', 'etcd_peers'), /counter packets [1-9]/);
  await m2.run('nft', 'delete', 'table', 'inet', 'etcd_peers');
});

test.serial('managers are restarted one by one: clients that retry once see no error', async (t) => {
  const { swarm } = t.context;
  const before = await lifeLines(swarm.layout);
  const clients = [swarm.client, ...others(swarm).map(({ client }) => client)];
  const over = new AbortController();
  const running = ['x', 'y', 'z'].map((name) => makeConfigs(clients, name, over.signal));
  const pids = [swarm.manager.pid, ...others(swarm).map((one) => () => one.pid)];
  for (const [number, pid] of pids.entries()) {
    const old = pid() ?? 0;
    process.kill(old, 'SIGTERM');
    const client = clients[number] ?? swarm.client;
    await until(swarm, () => Promise.resolve(pid() !== undefined && pid() !== old));
    await agreed(swarm, client, 'leader reachable reachable');
  }
  over.abort();
  t.deepEqual((await Promise.all(running)).flat(), []);
  await settled(swarm, { web: 8 });
  t.deepEqual(await lifeLines(swarm.layout), before);
});

test.serial(
  'the CA is replaced while a manager dies and a node is down: nothing of the old one counts anywhere afterwards',
  async (t) => {
    const { swarm } = t.context;
    const [m2, m3] = others(swarm);
    if (m2 === undefined || m3 === undefined) throw new Error('there are not three managers');
    const shoal = (...args: string[]): Promise<string> =>
      run(process.execPath, [CLI_PATH, ...args, '--socket', swarm.layout.socket], signal);
    const identity = async (name: string): Promise<Identity> => {
      const text = await readFile(path.join(swarm.node(name).stateDir, 'identity.json'), 'utf8');
      return identitySchema.parse(JSON.parse(text));
    };
    const managers = [m2.address.replace(/\d+:/, '1:'), m2.address, m3.address];
    const before = {
      root: await shoal('ca', '--pem'),
      a2: await identity('a2'),
      etcd: await etcdRoots(swarm),
    };
    const away = swarm.node('a3');
    await away.kill();
    await until(swarm, async () => (await swarm.state()).node('a3') === 'down');
    await eventuallyAt(swarm, swarm.client, (s) => s.running('web').notOn('a3').count === 8);
    const lives = await lifeLines(swarm.layout);
    await shoal('ca', 'rotate', '--detach');
    await m2.die();
    await until(swarm, async () =>
      (await shoal('ca')).includes('2 of 3 nodes have moved; waiting for a3 (down)'),
    );
    m2.start();
    await agreed(swarm, m3.client, 'leader reachable reachable');
    t.is(await shoal('ca', '--pem'), before.root, 'it waits for the node that is down');
    await shoal('ca', 'rotate', '--skip-dead');
    const root = await shoal('ca', '--pem');
    t.not(root, before.root);
    const key = new X509Certificate(root).publicKey;
    for (const address of managers) {
      await until(swarm, async () => (await shownBy(address)).verify(key));
      t.is(await sessionOutcome(address, before.a2), '403', 'the old certificate');
      t.is(await sessionOutcome(address, await identity('a2')), 'open');
    }
    for (const name of ['a1', 'a2']) {
      await until(swarm, async () => (await identity(name)).ca.trim() === root.trim());
      t.true(new X509Certificate((await identity(name)).cert).verify(key));
    }
    t.deepEqual(await lifeLines(swarm.layout), lives, 'no container noticed');
    t.deepEqual(await etcdRoots(swarm), before.etcd, 'that of etcd is another one');
    const { JoinTokens } = tokensSchema.parse((await swarm.api('GET', '/swarm')).body);
    await writeFile(path.join(away.stateDir, 'join-token'), JoinTokens.Worker);
    await away.restart();
    await until(swarm, async () => (await swarm.state()).node('a3') === 'ready');
    t.is((await swarm.state()).nodes.length, 3, 'it is back as itself');
    await settled(swarm, { web: 8 });
  },
);

test.serial('a lost manager is removed and replaced; what would lose the quorum is refused', async (t) => {
  const { swarm } = t.context;
  const [m2, m3] = others(swarm);
  if (m2 === undefined || m3 === undefined) throw new Error('there are not three managers');
  await m3.die();
  await agreed(swarm, swarm.client, 'leader reachable unreachable');
  const refused = await swarm.api('DELETE', `/managers/${encodeURIComponent(m2.address)}`);
  t.is(refused.status, 409);
  t.regex(
    JSON.stringify(refused.body),
    /lose its quorum: of the 2 other managers 2 must be reachable and 1 is/,
  );
  t.is((await swarm.api('DELETE', `/managers/${encodeURIComponent(m3.address)}`)).status, 204);
  await agreed(swarm, m2.client, 'leader reachable');
  const id = (await readFile(path.join(m3.stateDir, 'state', 'id'), 'utf8')).trim();
  const identities = swarm.nodes.map((node) => path.join(node.stateDir, 'identity.json'));
  await until(swarm, async () => {
    const texts = await Promise.all(identities.map((file) => readFile(file, 'utf8')));
    return texts.every((text) => /"removedManagers":\[.*?\]/.exec(text)?.[0].includes(id));
  });
  const m4 = await swarm.joinManager(4);
  await agreed(swarm, m4.client, 'leader reachable reachable');
  // The one that was removed learns it, and begins no cluster of its own.
  m3.start();
  await until(swarm, async () => /was removed from its cluster/.test(await swarm.logTails(5)));
  await m3.process.stop();
  await settled(swarm, { web: 8 });
});

test.serial('most managers are lost for good: one command goes on from a survivor', async (t) => {
  const { swarm } = t.context;
  const [m2, , m4] = others(swarm);
  if (m2 === undefined || m4 === undefined) throw new Error('there is no m4');
  const before = await lifeLines(swarm.layout);
  const stateDir = path.join(swarm.layout.stateDir, 'manager');
  const recover = [CLI_PATH, 'recover', '--state-dir', stateDir];
  await t.throwsAsync(run(process.execPath, recover, signal), { message: /stop it first/ });
  await Promise.all([m2.die(), m4.die()]);
  await until(swarm, async () => (await swarm.api('POST', '/networks/create', { Name: 'x' })).status === 503);
  await swarm.manager.kill();
  t.regex(await run(process.execPath, recover, signal), /only one now; 2 others/);
  await swarm.manager.restart();
  await agreed(swarm, swarm.client, 'leader');
  await settled(swarm, { web: 8 });
  t.deepEqual(await lifeLines(swarm.layout), before);
  await until(swarm, () => scale(swarm.client, 'web', 4));
  await settled(swarm, { web: 4 });
});
