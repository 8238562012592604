/** The port for nodes, from hostile peers: refused and counted, and honest nodes do not notice. */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { join } from '../../../agent/session/join.ts';
import type { Refused } from '../../../manager/dispatcher/refusals.ts';
import { newId } from '../../../shared/lib/ids.ts';
import { formatJoinToken } from '../../../shared/wire/join-token.ts';
import { RawSession } from './raw-session.ts';
import { addressOf, description, eventually, type Rig, rig } from './rig.ts';

function portOf(r: Rig): number {
  return r.dispatcher.address.port;
}

function counted(r: Rig, reason: Refused): number {
  return r.dispatcher.counts().refused[reason];
}

/** A connection that is closed when the test ends. */
function plain(t: ExecutionContext, r: Rig): Socket {
  const socket = connectTcp(portOf(r), '127.0.0.1');
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  return socket;
}

/** What is answered to these bytes within TLS, until the other end closes. */
function sayTls(t: ExecutionContext, r: Rig, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectTls({ port: portOf(r), host: '127.0.0.1', rejectUnauthorized: false }, () =>
      socket.write(bytes),
    );
    t.teardown(() => socket.destroy());
    let got = '';
    socket.on('data', (chunk) => (got += chunk.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(got));
  });
}

test('garbage: no TLS, no HTTP, headers and bodies without end', async (t) => {
  const r = await rig(t);
  for (const bytes of ['GET / HTTP/1.1\r\n\r\n', '\0\0\0', 'SSH-2.0-x\r\n', 'x'.repeat(100_000)])
    plain(t, r).write(bytes);
  await eventually('no TLS is counted', () => counted(r, 'tls') >= 3);
  t.regex(await sayTls(t, r, 'nonsense\r\n\r\n'), /^HTTP\/1.1 400 /);
  t.regex(await sayTls(t, r, `GET /ca HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`), /^HTTP\/1.1 431 /);
  t.is(counted(r, 'http'), 2);
  const long = `POST /join HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(70_000)}`;
  t.regex(await sayTls(t, r, long), /^HTTP\/1.1 400 [^]*longer than 65536/);
  const bad = 'POST /join HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{x}';
  t.regex(await sayTls(t, r, bad), /^HTTP\/1.1 400 /);
  t.is(counted(r, 'join'), 2);
  t.regex(await sayTls(t, r, 'GET /services HTTP/1.1\r\nHost: x\r\n\r\n'), /^HTTP\/1.1 404 /);
  t.truthy((await r.joined('honest')).nodeId);
});

test('a request that comes a byte at a time is ended', async (t) => {
  const r = await rig(t);
  const answered = new Promise<string>((resolve) => {
    const options = { port: portOf(r), host: '127.0.0.1', rejectUnauthorized: false };
    const socket = connectTls(options, () => socket.write('GET /ca HTTP/1.1\r\nX: '));
    const dripping = setInterval(() => socket.write('x'), 200);
    let got = '';
    socket.on('data', (chunk) => (got += chunk.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearInterval(dripping);
      resolve(got);
    });
  });
  t.regex(await answered, /^HTTP\/1.1 408 /);
  t.is(counted(r, 'slow'), 1);
});

test('10,000 connections at once that say nothing: they are bounded, and nodes come, go on and join', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 20_000 });
  const agent = await r.agent('honest');
  await eventually('it is connected', () => r.dispatcher.gateway.connected(agent.nodeId));
  const session = r.store.get('nodes', agent.nodeId)?.session;
  t.is(r.dispatcher.counts().strangers, 0, 'who has shown a certificate is no stranger');
  let most = 0;
  for (let i = 0; i < 10_000; i += 1) {
    plain(t, r);
    if (i % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
    most = Math.max(most, r.dispatcher.counts().strangers);
  }
  const refused = (): number => counted(r, 'address-full') + counted(r, 'address-rate');
  // The kernel lets some of them wait, and asks them to try again later.
  const halfRefused = (): boolean => {
    most = Math.max(most, r.dispatcher.counts().strangers);
    return refused() >= 5_000;
  };
  await eventually('half of them are refused', halfRefused, 60_000);
  t.is(most, 512);
  // From another address, as honest machines are; this one has used up what it may have.
  const other = await statusFrom(r, '127.0.0.2');
  t.is(other, 200);
  t.is(r.store.get('nodes', agent.nodeId)?.session, session, 'the session is the same');
  t.is(r.store.get('nodes', agent.nodeId)?.status, 'ready');
});

/** The status of GET /ca, asked from this address of the machine. */
function statusFrom(r: Rig, localAddress: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const from = connectTcp({ port: portOf(r), host: '127.0.0.1', localAddress });
    from.on('error', reject);
    const socket = connectTls({ socket: from, rejectUnauthorized: false }, () =>
      socket.write('GET /ca HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
    );
    socket.on('error', reject);
    socket.on('data', (chunk) => resolve(Number(/^HTTP\/1.1 (\d+)/.exec(chunk.toString())?.[1])));
  });
}

test('wrong tokens again and again: not listened to for a while', async (t) => {
  const r = await rig(t);
  const { digest: caDigest } = r.dispatcher.authority;
  const attempt = () => {
    const token = formatJoinToken({ caDigest, secret: newId() });
    return join({ token, managers: [r.address], hostname: 'x' }, r.signal);
  };
  // A budget fills again while they come, so it is not known which one is the first.
  let refused = 0;
  for (; counted(r, 'join-rate') === 0 && refused < 200; refused += 1)
    await t.throwsAsync(attempt(), {
      message: /no such join token|too many joins from this address were refused/,
    });
  t.true(refused > 30 && refused < 200, `${refused}`);
  t.is(counted(r, 'join'), refused - 1);
  t.is(r.store.all('nodes').size, 0);
});

test('a session that is none: counted by what is wrong with it', async (t) => {
  const r = await rig(t);
  const stranger = await (await rig(t)).joined('stranger');
  const own = await r.joined('own');
  const another = await r.joined('another');
  const foreign = new RawSession(r.address, { ...stranger, ca: own.ca });
  await eventually('it is refused', () => foreign.failure !== undefined);
  t.is(counted(r, 'certificate'), 1);
  const liar = new RawSession(r.address, own);
  await liar.opened();
  liar.hello(another.nodeId);
  await eventually('it is closed', () => liar.closeCode === 4003);
  t.is(counted(r, 'hello'), 1);
  // Longer than any reason for a close can be, in characters of several bytes.
  const odd = new RawSession(r.address, own);
  await odd.opened();
  odd.socket.send(JSON.stringify({ type: 'beat', ['я'.repeat(500)]: 1 }));
  await eventually('it is closed', () => odd.closeCode === 4000);
  t.is(counted(r, 'hello'), 2);
  const session = await RawSession.open(r.address, own);
  session.socket.send(JSON.stringify({ type: 'ack', seq: 1, ['я'.repeat(500)]: 1 }));
  await eventually('it is closed', () => session.closeCode === 4000);
  const large = await RawSession.open(r.address, own);
  large.socket.send(Buffer.alloc(33 * 1024 * 1024));
  await eventually('it is closed', () => large.closeCode === 1009);
  await eventually('both are counted', () => counted(r, 'frame') === 2);
  t.truthy((await r.agent('honest')).nodeId);
});

test('one node has few sockets at a time', async (t) => {
  const r = await rig(t);
  const own = await r.joined('own');
  const sockets = Array.from({ length: 12 }, () => new RawSession(r.address, own));
  await eventually('four are refused', () => counted(r, 'sockets') === 4);
  for (const { socket } of sockets) socket.terminate();
  await RawSession.open(r.address, own);
  t.pass('and when they are gone it has a session');
});

test('an address belongs to the node that is there', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 60_000 });
  const said = (name: string, address: string) => ({ ...description(name), address });
  const open = async (name: string, address: string) => {
    const identity = await r.joined(name);
    const session = new RawSession(r.address, identity);
    await session.opened();
    const { nodeId } = identity;
    session.send({ type: 'hello', protocol: 1, nodeId, description: said(name, address) });
    return { session, nodeId };
  };
  const status = (nodeId: string) => r.store.get('nodes', nodeId)?.status;
  const victim = await open('victim', addressOf('victim'));
  await eventually('the first has it', () => status(victim.nodeId) === 'ready');
  const thief = await open('thief', addressOf('victim'));
  await eventually('the second is refused', () => thief.session.closeCode === 4003);
  t.is(status(thief.nodeId), 'unknown');
  t.is(counted(r, 'address'), 1);
  // Said by somebody who is elsewhere, until the node that is there comes.
  await r.store.commit([{ table: 'nodes', key: victim.nodeId, value: null }], { signal: r.signal });
  const squatter = await open('squatter', '127.0.0.1');
  await eventually('from there it may', () => status(squatter.nodeId) === 'ready');
  for (const bad of ['nonsense', '0.0.0.0', '239.1.1.1', '127.0.0.9']) {
    const { session } = await open(`bad-${bad}`, bad);
    await eventually('it is refused', () => session.closeCode === 4003);
  }
});

test('who comes from the address that he says has it, and the one that only said it goes', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 60_000 });
  const seen = { ...description('away'), address: '127.0.0.1' };
  const away = await r.joined('away');
  const there = await r.joined('there');
  await r.store.commit(
    [
      {
        table: 'nodes',
        key: away.nodeId,
        value: { ...nodeOf(r, away.nodeId), status: 'ready', description: seen, session: 'other.1' },
      },
    ],
    { signal: r.signal },
  );
  const session = new RawSession(r.address, there);
  await session.opened();
  const hello = { ...description('away'), address: '127.0.0.1' };
  session.send({ type: 'hello', protocol: 1, nodeId: there.nodeId, description: hello });
  await eventually('it is ready', () => nodeOf(r, there.nodeId).status === 'ready');
  t.is(nodeOf(r, there.nodeId).statusMessage, `node ${away.nodeId} has the host name away, too`);
  // The same seen from the manager of the other one: its session is not from there.
  const remote = await r.agent('remote');
  await eventually('it is ready', () => nodeOf(r, remote.nodeId).status === 'ready');
  const value = { ...nodeOf(r, away.nodeId), description: { ...seen, address: addressOf(remote.nodeId) } };
  await r.store.commit([{ table: 'nodes', key: away.nodeId, value }], { signal: r.signal });
  await eventually('it is sent away', () => counted(r, 'address') === 1);
});

test('keys of encrypted networks follow one another in the record, and nobody has those of another node', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 60_000 });
  const keysOf = (slot: 0 | 1, letter: string) => ({
    active: slot,
    keys: [{ slot, publicKey: `${letter.repeat(43)}=` }],
  });
  const agent = await r.agent('a1');
  await eventually('it is ready', () => nodeOf(r, agent.nodeId).status === 'ready');
  t.is(nodeOf(r, agent.nodeId).description?.tunnelKeys, undefined);
  agent.link.tellKeys(keysOf(0, 'A'));
  const told = () => nodeOf(r, agent.nodeId).description?.tunnelKeys?.keys[0]?.publicKey[0];
  await eventually('its keys are known', () => told() === 'A');
  agent.link.tellKeys(keysOf(1, 'B'));
  await eventually('and the next ones', () => told() === 'B');
  t.is(nodeOf(r, agent.nodeId).description?.hostname, 'a1');
  await eventually(
    'the node is told what managers tell of it',
    () => agent.sets.at(-1)?.peers.get(agent.nodeId)?.tunnelKeys?.active === 1,
  );
  const thief = await r.agent('thief');
  await eventually('it is ready', () => nodeOf(r, thief.nodeId).status === 'ready');
  thief.link.tellKeys(keysOf(0, 'B'));
  await eventually('it is sent away', () => counted(r, 'address') > 0);
  t.is(nodeOf(r, thief.nodeId).description?.tunnelKeys, undefined);
  t.is(told(), 'B');
});

test('what else a node can be on is in its record, and its answers about ports beside it', async (t) => {
  const r = await rig(t, { nodeDownAfterMs: 60_000 });
  const agent = await r.agent('a1');
  await eventually('it is ready', () => nodeOf(r, agent.nodeId).status === 'ready');
  const drivers = { macvlanParents: ['eth0'], plugins: ['weave'] };
  const takenPorts = [{ port: '8080/tcp', holder: 'theirs' }] as const;
  const addresses = ['192.0.2.1', '2001:db8::7'];
  agent.link.reportNetwork({ repairs: {}, takenPorts, addresses, drivers });
  await eventually('it is known', () => nodeOf(r, agent.nodeId).drivers !== undefined);
  t.deepEqual(nodeOf(r, agent.nodeId).drivers, drivers);
  t.deepEqual(nodeOf(r, agent.nodeId).takenPorts, takenPorts);
  t.deepEqual(nodeOf(r, agent.nodeId).addresses, addresses);
  agent.link.reportNetwork({ repairs: {}, takenPorts: [] });
  await eventually('none is left', () => nodeOf(r, agent.nodeId).drivers === undefined);
  t.is(nodeOf(r, agent.nodeId).takenPorts, undefined);
  t.is(nodeOf(r, agent.nodeId).addresses, undefined);
});

function nodeOf(r: Rig, nodeId: string) {
  const node = r.store.get('nodes', nodeId);
  if (node === undefined) throw new Error(`there is no node ${nodeId}`);
  return node;
}
