/** The fast path between containers: who goes it, who does not, and what becomes of open connections when that changes. */
import sockets, { type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { openSocket } from '../../agent/native/network.ts';
import { type NetworkLab, until } from './network-lab.ts';
import { talk } from './network-talk.ts';
import { id, lab, N1, N2 } from './network-world.ts';

/** By path: npx puts a package's own nft before the system's. */
const NFT = '/usr/sbin/nft';
const TABLE = ['netdev', 'shoal'];

const sandboxOn = (net: NetworkLab, node: string): string => `shoal-${net.cluster}-${node.slice(0, 8)}-1001`;

/** What a sandbox's fast path says of this set, map or chain. */
async function listed(net: NetworkLab, node: string, ...what: string[]): Promise<string> {
  return (await net.inHost(sandboxOn(net, node), [NFT, 'list', ...what])).stdout;
}

/** Containers of a node that may have translated connections. */
async function translatedOn(net: NetworkLab, node: string): Promise<string[]> {
  const [set, set6] = ['translated', 'translated6'].map((name) => listed(net, node, 'set', ...TABLE, name));
  const text = `${await set} ${await set6}`;
  return [...text.matchAll(/elements = \{ ([^}]*) \}/g)].flatMap(([, all = '']) => all.split(/,\s*/));
}

/** Whether a sandbox tracks connections of this address. */
async function tracks(net: NetworkLab, node: string, address: string): Promise<boolean> {
  const { stdout } = await net.inHost(sandboxOn(net, node), ['cat', '/proc/net/nf_conntrack']);
  return stdout.split('\n').some((line) => line.split(/\s+/).some((word) => word === `src=${address}`));
}

async function portOf(net: NetworkLab, node: string, address: string): Promise<string> {
  const route = (await net.inHost(sandboxOn(net, node), ['ip', 'route', 'get', address])).stdout;
  return /dev (\S+)/.exec(route)?.[1] ?? '';
}

test.serial(
  'containers reach one another past the sandbox; who uses a VIP is tracked from then on',
  async (t) => {
    const net = await lab('f1');
    t.teardown(() => net.down());
    const visit = (from: string, to: string): Promise<string> => net.get({ task: id(from) }, `http://${to}/`);
    await direct(net, t, visit);
    await throughVip(net, t, visit);
    await damage(net, t, visit);
  },
);

type Visit = (from: string, to: string) => Promise<string>;

async function direct(net: NetworkLab, t: ExecutionContext, visit: Visit): Promise<void> {
  t.is(await visit('r1', '10.5.0.12'), `${id('w2')} saw 10.5.0.41`, 'on another node');
  t.is(await visit('r1', '10.5.0.21'), `${id('a1')} saw 10.5.0.41`, 'on the same');
  t.is(await visit('r1', '[fd00:5::c]'), `${id('w2')} saw fd00:5::29`);
  t.is(await visit('r1', '[fd00:5::15]'), `${id('a1')} saw fd00:5::29`);
  t.is(await visit('r1', '10.15.0.7'), `${id('f1')} saw 10.5.0.41`, 'of another subnet');
  for (const node of [N1, N2]) {
    t.deepEqual(await translatedOn(net, node), []);
    for (const address of ['10.5.0.41', 'fd00:0005:0000:0000:0000:0000:0000:0029'])
      t.false(await tracks(net, node, address), `${address} on ${node}`);
  }
  // Each hop is told: both sandboxes, and then the container.
  const trace = await net.inTask(id('r1'), ['busybox', 'traceroute', '-n', '-q1', '-w2', '-m5', '10.5.0.12']);
  const hops = trace.stdout.split('\n').filter((line) => /^ *\d/.test(line));
  t.is(hops.length, 3, trace.stdout);
  t.regex(hops[2] ?? '', /10\.5\.0\.12/);
  t.notRegex(trace.stdout, /\*/);
  t.is((await net.inTask(id('r1'), ['busybox', 'ping', '-c1', '-W3', '10.99.0.100'])).code, 0, 'the way out');
  t.is(await visit('r1', '10.5.0.12'), `${id('w2')} saw 10.5.0.41`);
  t.deepEqual(await translatedOn(net, N1), [], 'neither the way out nor a name server is a VIP');
}

async function throughVip(net: NetworkLab, t: ExecutionContext, visit: Visit): Promise<void> {
  const seen = new Set<string>();
  await until('both answer', async () => {
    seen.add(await visit('a1', '10.5.0.200'));
    return seen.size >= 2;
  });
  t.deepEqual([...seen].sort(), [`${id('w1')} saw 10.5.0.21`, `${id('w2')} saw 10.5.0.21`]);
  t.deepEqual(await translatedOn(net, N1), ['10.5.0.21']);
  t.deepEqual(await translatedOn(net, N2), [], 'who is connected to goes on as before');
  t.true(await tracks(net, N1, '10.5.0.21'));
  t.false(await tracks(net, N2, '10.5.0.21'));
  t.is(await visit('a1', '10.5.0.12'), `${id('w2')} saw 10.5.0.21`, 'by the address as well');
  t.is(await visit('w2', '10.5.0.21'), `${id('a1')} saw 10.5.0.12`);
  t.is(await visit('r1', '10.5.0.21'), `${id('a1')} saw 10.5.0.41`);
  t.regex(await visit('r2', '[fd00:5::c8]'), /^w[12]x+ saw fd00:5::2a$/);
  t.deepEqual(await translatedOn(net, N2), ['fd00:5::2a']);
}

/** Somebody takes away the tunnel, or the table: what is open goes on, and what was marked is not forgotten. */
async function damage(net: NetworkLab, t: ExecutionContext, visit: Visit): Promise<void> {
  const sandbox = sandboxOn(net, N1);
  await net.killDriver(N1);
  net.startDriver(N1, '', 0, 200);
  await net.apply(N1);
  t.deepEqual(await translatedOn(net, N1), ['10.5.0.21'], 'an agent that starts leaves it');
  t.is((await net.inHost(sandbox, ['ip', 'link', 'del', 'vx0'])).code, 0);
  await until('tunnel', async () => (await visit('r1', '10.5.0.12')) === `${id('w2')} saw 10.5.0.41`);
  await until('the rule has it', async () =>
    /device "vx0"/.test(await listed(net, N1, 'chain', ...TABLE, 'out')),
  );
  t.is(await visit('r1', '10.5.0.12'), `${id('w2')} saw 10.5.0.41`);

  const open = [
    await talk(net, t, id('r1'), '10.5.0.12'),
    await talk(net, t, id('a1'), '10.5.0.200'),
    await talk(net, t, id('w2'), '10.5.0.21'),
  ];
  t.is((await net.inHost(sandbox, [NFT, 'delete', 'table', ...TABLE])).code, 0);
  for (const one of open) await one.say('without');
  await until('table', async () => (await listed(net, N1, 'chain', ...TABLE, 'out')) !== '');
  t.is(await listed(net, N1, 'chain', ...TABLE, await portOf(net, N1, '10.5.0.41')), '');
  for (const one of open) await one.say('with');
  for (let i = 0; i < 4; i += 1) t.regex(await visit('a1', '10.5.0.200'), /^w[12]x+ saw 10\.5\.0\.21$/);
  t.is(await visit('r1', '10.5.0.12'), `${id('w2')} saw 10.5.0.41`);
  t.is(await visit('w2', '10.5.0.21'), `${id('a1')} saw 10.5.0.12`);

  const gone = await portOf(net, N2, '10.5.0.42');
  t.not(await listed(net, N2, 'chain', ...TABLE, gone), '');
  await net.send(N2, { verb: 'detach', taskId: id('r2') });
  t.notRegex(await listed(net, N2, 'table', ...TABLE), new RegExp(`${gone}|10\\.5\\.0\\.42|fd00:5::2a`));
}

/** A container that is connected to, and speaks first. */
async function speaker(net: NetworkLab, t: ExecutionContext, task: string): Promise<Map<string, Socket>> {
  const fd = await openSocket(net.containerNs(id(task)), 'stream', '0.0.0.0', 81);
  const peers = new Map<string, Socket>();
  const server = sockets.createServer((socket) => {
    peers.set(String(socket.remoteAddress), socket);
    socket.on('error', () => undefined);
    socket.write(`${task} saw ${socket.remoteAddress}\n`);
    socket.on('data', (data) => socket.write(data));
  });
  await new Promise<void>((resolve) => server.listen({ fd }, resolve));
  t.teardown(() => {
    for (const socket of peers.values()) socket.destroy();
    server.close();
  });
  return peers;
}

test.serial('a list is in force for connections of before it, whoever says something first', async (t) => {
  const net = await lab('f2');
  t.teardown(() => net.down());
  const peers = await speaker(net, t, 'r2');
  const [web, app] = await Promise.all(['w1', 'a1'].map((from) => talk(net, t, id(from), '10.5.0.42', 81)));
  t.false(await tracks(net, N2, '10.5.0.42'));
  const rr = net.world.services.find(({ name }) => name === 'rr');
  if (rr === undefined || web === undefined || app === undefined) return t.fail();
  rr.allowFrom = [{ from: ['st_web'], protocol: 'tcp' }];
  await net.applyAll();
  t.is(await listed(net, N2, 'chain', ...TABLE, await portOf(net, N2, '10.5.0.42')), '');
  for (const socket of peers.values()) socket.write('from the server\n');
  await web.hears('from the server');
  await web.say('still allowed');
  app.send('no more');
  await until('what is not allowed ends', async () => app.ended());
});
