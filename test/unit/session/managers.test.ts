/** Two managers on one store: nodes of the one are reached through the other; who may become a manager. */
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { type WebSocket, WebSocketServer } from 'ws';
import { join } from '../../../agent/session/join.ts';
import { connectWebSocket } from '../../../agent/session/session-socket.ts';
import type { Identity } from '../../../agent/session/identity.ts';
import { joinTokens, openSecrets } from '../../../manager/ca/cluster.ts';
import { type RunningDispatcher, startDispatcher } from '../../../manager/dispatcher/start-dispatcher.ts';
import { managerDoor } from '../../../manager/membership/door.ts';
import { fetchEtcdRoots } from '../../../manager/membership/enter.ts';
import { connectManager } from '../../../manager/dispatcher/manager-link.ts';
import { readmissionWrites, removalWrites } from '../../../manager/membership/removed.ts';
import { createEtcdClient } from '../../../manager/store/etcd-client.ts';
import {
  ConflictError,
  ForbiddenError,
  InvalidError,
  NotFoundError,
  UnavailableError,
} from '../../../shared/errors/index.ts';
import { systemClock } from '../../../shared/lib/clock.ts';
import type { ManagerRecord } from '../../../shared/model/index.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { testVault } from '../../harness/vault.ts';
import { RawSession } from './raw-session.ts';
import { addService, eventually, putTask, quiet, startAgent, status, task } from './rig.ts';

interface Pair {
  readonly store: MemoryStore;
  readonly managers: readonly { readonly dispatcher: RunningDispatcher; readonly address: string }[];
  readonly tokens: { worker: string; manager: string };
  readonly signal: AbortSignal;
}

/** Managers m1 and m2, which know each other. */
async function pair(t: ExecutionContext): Promise<Pair> {
  const abort = new AbortController();
  const { signal } = abort;
  const store = new MemoryStore();
  const client = createEtcdClient({ endpoints: ['http://127.0.0.1:1'] });
  const door = managerDoor({
    store,
    vault: testVault,
    client, // nobody is there: what is refused here is refused before etcd is asked
    dataKey: () => 'key',
    etcdRoots: () => Promise.resolve([{ caCertificatePem: 'ca', caKeyPem: 'key' }]),
    version: '1',
    clock: systemClock,
    logger: quiet,
  });
  const managers: { dispatcher: RunningDispatcher; address: string }[] = [];
  for (const managerId of ['m1', 'm2']) {
    const listen = { host: '127.0.0.1', port: 0 };
    const dispatcher = await startDispatcher({
      store,
      vault: testVault,
      listen,
      managerId,
      door,
      leaderAddress: () => (managerId === 'm1' ? undefined : store.get('managers', 'm1')?.address),
      peers: () => [...store.all('managers').values()].filter(({ id }) => id !== managerId),
      withdrawTimeoutMs: 60_000,
      logger: quiet,
      signal,
    });
    const address = `127.0.0.1:${dispatcher.address.port}`;
    await store.commit([{ table: 'managers', key: managerId, value: record(managerId, address) }], {
      signal,
    });
    managers.push({ dispatcher, address });
  }
  t.teardown(async () => {
    abort.abort();
    client.close();
    for (const { dispatcher } of managers) await dispatcher.close();
  });
  const [first] = managers;
  if (first === undefined) throw new Error('no manager');
  return {
    store,
    managers,
    tokens: joinTokens(openSecrets(testVault, first.dispatcher.cluster), first.dispatcher.authority.digest),
    signal,
  };
}

function record(id: string, address: string): ManagerRecord {
  const peerUrl = `https://${address.replace(/\d+$/, '7372')}`;
  const times = { createdAtMs: 1, updatedAtMs: 1 };
  return { id, hostname: id, address, peerUrl, state: 'member', version: '1', ...times };
}

async function nodeAt(p: Pair, index: number, handlers = {}) {
  const { address } = p.managers[index] as Pair['managers'][number];
  const identity = await join({ token: p.tokens.worker, managers: [address], hostname: 'n' }, p.signal);
  return { identity, agent: startAgent({ address, identity, hostname: 'n', handlers, signal: p.signal }) };
}

const echo = {
  call: (_method: string, params: unknown) =>
    Promise.reject(new NotFoundError(`no ${JSON.stringify(params)}`)),
  stream: async function* (_method: string, _params: unknown, input: AsyncIterable<Buffer>) {
    for await (const data of input) yield { stream: 1 as const, data };
  },
};

test('a node is reached through a manager that does not have its session: calls, streams, their ends', async (t) => {
  const p = await pair(t);
  const [m1, m2] = p.managers.map(({ dispatcher }) => dispatcher);
  if (m1 === undefined || m2 === undefined) throw new Error('no pair');
  const { identity, agent } = await nodeAt(p, 1, echo);
  const { nodeId } = identity;
  await eventually('it is known where the node is', () => m1.gateway.connected(nodeId));
  t.false(m1.hasSession(nodeId));
  const call = m1.gateway.call(nodeId, 'container.inspect', { containerId: 'c1' }, p.signal);
  await t.throwsAsync(call, { instanceOf: NotFoundError, message: /c1/ });
  // More than both windows hold, from two at once: their numbers on the session must not be mixed up.
  const sizes = [3_000_000, 1_000_000];
  const echoed = await Promise.all(sizes.map((bytes, index) => roundTrip(p, m1, nodeId, bytes, index + 1)));
  t.deepEqual(echoed, sizes);
  const pending = m1.gateway.duplex(nodeId, 'exec.attach', attach, forever(p.signal), p.signal);
  const reading = (async () => {
    for await (const _ of pending);
  })();
  await agent.stop();
  await t.throwsAsync(reading, { instanceOf: UnavailableError });
});

const attach = { execId: 'e1' };

async function* forever(signal: AbortSignal): AsyncGenerator<Buffer> {
  yield Buffer.from('x');
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

/** Sends so many bytes of one value; resolves with how many of them came back. */
async function roundTrip(
  p: Pair,
  via: RunningDispatcher,
  nodeId: string,
  bytes: number,
  value: number,
): Promise<number> {
  async function* input(): AsyncGenerator<Buffer> {
    for (let sent = 0; sent < bytes; sent += 100_000)
      yield Buffer.alloc(Math.min(100_000, bytes - sent), value);
  }
  let came = 0;
  for await (const { data } of via.gateway.duplex(nodeId, 'exec.attach', attach, input(), p.signal)) {
    if (data.some((byte) => byte !== value)) throw new Error('bytes of another stream');
    came += data.length;
  }
  return came;
}

test('what tasks use is told to the manager that leads, whoever has the node', async (t) => {
  const p = await pair(t);
  const [m1] = p.managers.map(({ dispatcher }) => dispatcher);
  const { identity, agent } = await nodeAt(p, 1);
  const { nodeId } = identity;
  await putTask(p, task('t1', 's1', nodeId));
  await putTask(p, task('t2', 's1', 'another'));
  const usage = (taskId: string) => ({ taskId, nanoCpus: 7, memoryBytes: 9 });
  await eventually('it has arrived', () => {
    agent.link.reportUsage([usage('t1'), usage('t2')]);
    return (m1?.usage.samples(nodeId, 't1').length ?? 0) > 0;
  });
  t.is(m1?.usage.samples(nodeId, 't1')[0]?.nanoCpus, 7);
  t.is(m1?.usage.samples(nodeId, 't2').length, 0, 'of a task that is not the node’s nothing is believed');
  await agent.stop();
  await eventually('what a node without a session said is forgotten', () => {
    return m1?.usage.samples(nodeId, 't1').length === 0;
  });
});

test('invariant 11: a task is told to stop only when the nodes of other managers have withdrawn it', async (t) => {
  const p = await pair(t);
  const withheld: (() => void)[] = [];
  let withholds = false;
  const owner = (await nodeAt(p, 0)).agent;
  const other = (
    await nodeAt(p, 1, {
      onAssignments: (_set: unknown, acknowledge: () => void) => {
        if (withholds) withheld.push(acknowledge);
        else acknowledge();
      },
    })
  ).agent;
  await addService(p, 'web', ['net1']);
  const addresses = [{ network: 'net1', address: '10.0.0.2' }];
  await putTask(p, task('t1', 'web', owner.nodeId, { addresses }));
  await putTask(
    p,
    task('t2', 'web', other.nodeId, { addresses: [{ network: 'net1', address: '10.0.0.3' }] }),
  );
  await eventually('the owner has its task', () => owner.sets.at(-1)?.tasks.has('t1') === true);
  owner.link.report(status('t1', 'running'));
  const serves = (): boolean | undefined => other.sets.at(-1)?.endpoints.get('net1/t1')?.serving;
  await eventually('the other leads traffic to it', () => serves() === true);
  withholds = true;
  await putTask(p, task('t1', 'web', owner.nodeId, { addresses, desired: 'shutdown' }));
  await eventually('the other learns that it does not serve any more', () => serves() === false);
  await new Promise((resolve) => setTimeout(resolve, 200));
  const told = (): string | undefined => owner.sets.at(-1)?.tasks.get('t1')?.desired;
  t.is(told(), 'running', 'a node of the other manager has not confirmed');
  for (const acknowledge of withheld) acknowledge();
  await eventually('then it is told', () => told() === 'shutdown');
});

test('nodes are told where all managers are, and go to another one when theirs is gone', async (t) => {
  const p = await pair(t);
  const [m1, m2] = p.managers.map(({ dispatcher }) => dispatcher);
  if (m1 === undefined || m2 === undefined) throw new Error('no pair');
  const { identity } = await nodeAt(p, 0);
  await eventually('it is with the manager that it was told', () => m1.hasSession(identity.nodeId));
  await m1.close();
  await eventually('it is with the other one', () => m2.hasSession(identity.nodeId));
  t.true(m2.gateway.connected(identity.nodeId));
});

test('a worker’s token, a wrong address and the address of a manager make no manager', async (t) => {
  const p = await pair(t);
  const [{ address }] = p.managers as [Pair['managers'][number]];
  const attempt = (token: string, manager: { address: string; peerUrl: string }) =>
    join({ token, managers: [address], hostname: 'm3', manager }, p.signal);
  const good = { address: '10.0.0.9:7370', peerUrl: 'https://10.0.0.9:7372' };
  await t.throwsAsync(attempt(p.tokens.worker, good), {
    instanceOf: ForbiddenError,
    message: /for a worker, not for a manager/,
  });
  await t.throwsAsync(attempt(p.tokens.manager, { ...good, peerUrl: 'http://10.0.0.9:7372' }), {
    instanceOf: InvalidError,
    message: /expected https/,
  });
  await t.throwsAsync(attempt(p.tokens.manager, { ...good, address }), {
    instanceOf: ConflictError,
    message: /is the address of the manager m1 .*shoal manager rm m1/,
  });
  t.is(p.store.all('managers').size, 2);
  await attempt(p.tokens.manager, good);
  await attempt(p.tokens.manager, good);
  const joining = [...p.store.all('managers').values()].filter((one) => one.state === 'joining');
  t.is(joining.length, 1, 'a second attempt takes the place of the first');
  t.is(p.store.all('nodes').size, 0);
});

test('what a manager is given is for one that is joining: no node, no manager that was removed, nobody', async (t) => {
  const p = await pair(t);
  const [{ address }] = p.managers as [Pair['managers'][number]];
  const manager = { address: '10.0.0.9:7370', peerUrl: 'https://10.0.0.9:7372' };
  const options = { managers: [address], hostname: 'x' };
  const node = await join({ ...options, token: p.tokens.manager }, p.signal);
  t.is(await enter(address, node), 403);
  const joining = await join({ ...options, token: p.tokens.manager, manager }, p.signal);
  t.is(await enter(address, joining), 503, 'it may: only etcd is not there');
  await p.store.commit([{ table: 'managers', key: joining.nodeId, value: null }], { signal: p.signal });
  t.is(await enter(address, joining), 403);
  t.is(await enter(address, { ca: node.ca }), 403);
});

test('a manager that was removed is none any more: to managers, whatever is open; to nodes, as server; after it came back', async (t) => {
  const p = await pair(t);
  const [{ address, dispatcher }] = p.managers as [Pair['managers'][number]];
  const subject = { nodeId: 'm3', role: 'manager' } as const;
  const m3 = { ...(await dispatcher.authority.issueIdentity(subject, Date.now())), nodeId: 'm3' };
  const playing = await playManager(t, m3);
  await p.store.commit([{ table: 'managers', key: 'm3', value: record('m3', playing) }], {
    signal: p.signal,
  });
  const paths = ['/usage', '/withdrawals', '/relay/n1'];
  const before = paths.slice(0, 2).map((path) => new RawSession(address, m3, path));
  await Promise.all(before.map((session) => session.opened()));
  const node = await join({ token: p.tokens.worker, managers: [address], hostname: 'n' }, p.signal);
  t.is(await reached(playing, node), 'open', 'until it is removed nodes believe it');
  const linkTo = (isManager: (id: string) => boolean) => (at: string) =>
    connectManager(at, '/usage', { ...m3, isManager }, () => true);
  t.is(await outcomeOf(linkTo((id) => id === 'm3')(playing)), 'open');

  const identity = { ...node, removedManagers: [] as readonly string[] };
  const told = (): readonly string[] => identity.removedManagers;
  const onRemovedManagers = (ids: readonly string[]): void => void (identity.removedManagers = ids);
  startAgent({ address, identity, hostname: 'n', onRemovedManagers, signal: p.signal });
  await eventually('its node is there', () => dispatcher.hasSession(node.nodeId));
  t.is((await fetchEtcdRoots(address, m3, p.signal)).length, 1);
  await p.store.commit(removalWrites(p.store, ['m3'], Date.now()), { signal: p.signal });
  await eventually('what it had open is cut', () => before.every(({ closeCode }) => closeCode !== undefined));
  const after = paths.map((path) => new RawSession(address, m3, path));
  await eventually('nothing else is opened', () => after.every(({ closeCode }) => closeCode === 4003));
  const asNode = new RawSession(address, m3);
  await asNode.opened();
  asNode.hello('m3');
  await eventually('nor a node’s session', () => asNode.closeCode !== undefined);
  t.is(asNode.frames.length, 0);
  t.is(await enter(address, m3), 403);
  t.is(await enter(address, m3, '/managers/data-keys'), 403);
  t.is(await enter(address, m3, '/managers/etcd-roots'), 403);
  await eventually('nodes are told', () => told().includes('m3'));
  t.regex(await reached(playing, identity), /not a manager of this cluster any more/);
  t.is(await reached(address, identity), 'open');
  t.regex(
    await outcomeOf(linkTo((id) => p.store.get('managers', id) !== undefined)(playing)),
    /not a manager of this cluster any more/,
  );
  await p.store.commit(readmissionWrites(p.store, 'm3'), { signal: p.signal });
  await p.store.commit([{ table: 'managers', key: 'm3', value: record('m3', playing) }], {
    signal: p.signal,
  });
  await eventually('one that could not leave after all counts again', () => told().length === 0);
});

/** Whoever has a manager's certificate, and answers as one. Resolves with its address. */
async function playManager(
  t: ExecutionContext,
  { cert, key }: { cert: string; key: string },
): Promise<string> {
  const server = createServer({ cert, key });
  const sockets = new WebSocketServer({ server });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets.clients) socket.terminate();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** What becomes of a node's attempt to open a session. */
function reached(address: string, tls: Identity): Promise<string> {
  return outcomeOf(connectWebSocket(address, tls, 0));
}

function outcomeOf(socket: WebSocket): Promise<string> {
  return new Promise((resolve) => {
    socket.on('error', (error) => resolve(error.message));
    socket.on('open', () => {
      resolve('open');
      socket.terminate();
    });
  });
}

function enter(address: string, identity: Partial<Identity>, path = '/managers/enter'): Promise<number> {
  const { ca, cert, key } = identity;
  return new Promise((resolve, reject) => {
    const options = {
      method: 'POST',
      agent: false,
      checkServerIdentity: () => undefined,
      ca,
      cert,
      key,
    } as object;
    const asked = request(`https://${address}${path}`, options, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.on('error', reject);
    asked.end();
  });
}
