/**
 * Traffic between hosts made of namespaces on one bridge, in turns: over our overlay between two of them; over a bare VXLAN
 * device and bridge, and without any, between two others that have no rules; over the same between two whose containers have a
 * way out, by a rule each; over docker's overlay between two of its daemons; through a VIP among 10,000 services; and through a
 * published port, against docker's userland proxy and a bare rule.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { UndoStack } from '../../../shared/lib/undo-stack.ts';
import { NetworkLab } from '../../cluster/network-lab.ts';
import type { Dockerd } from '../../harness/dockerd.ts';
import { startDockerdSwarm } from '../../harness/dockerd-swarm.ts';
import { ensurePeers } from '../../harness/peers.ts';
import { reportRounds } from '../report.ts';
import { CLIENT, manyServices, PORTS, SERVER, trafficWorld } from './traffic-world.ts';

const run = promisify(execFile);
const PUMP = fileURLToPath(new URL('./pump.js', import.meta.url));
const ROUNDS = Number(process.env['SHOAL_BENCH_ROUNDS'] ?? 25);
/** Short rounds, and many: what else the machine does changes from second to second. */
const SECONDS = '0.3';
/** What else wants the processors waits: of the bench itself, for the kernel starts no container of docker's that is ahead. */
const AHEAD = ['--rr', '10', 'setpriv', '--pdeathsig', 'KILL', 'nsenter'];
/** Of the peers' hosts, on which nothing of ours is: neither rules nor connection tracking. */
const PLAIN = [
  { name: 'plain1', index: 11, lan: '10.99.0.11', inside: '10.77.0.1', gateway: '10.77.0.254' },
  { name: 'plain2', index: 12, lan: '10.99.0.12', inside: '10.77.0.2', gateway: '10.77.0.253' },
] as const;
const [CLIENT_HOST, SERVER_HOST] = PLAIN;
/** The same with what a host needs that lets its containers out. */
const MASQUERADING = [
  { name: 'out1', index: 13, lan: '10.99.0.13', inside: '10.77.0.3', gateway: '10.77.0.252' },
  { name: 'out2', index: 14, lan: '10.99.0.14', inside: '10.77.0.4', gateway: '10.77.0.251' },
] as const;
type Plain = (typeof PLAIN | typeof MASQUERADING)[number];

interface Way {
  /** A namespace: a name, or a path. */
  readonly from: string;
  readonly host: string;
  readonly port: number;
}

export async function benchTraffic(): Promise<void> {
  await using undo = new UndoStack();
  const lab = await NetworkLab.up(trafficWorld(), 'bench');
  undo.defer(() => lab.down());
  await lab.applyAll();
  await lab.startAll();
  const ways = await makeWays(lab, undo);
  await overlayRows(ways);
  await vipRows(lab, ways);
  // Last: with it the host tracks connections.
  await forwardBy(lab.ns(CLIENT_HOST.name), RULE);
  await portRows(ways);
}

interface Ways {
  readonly overlay: Way;
  readonly bare: Way;
  readonly masquerading: Way;
  readonly docker: Way;
  readonly hosts: Way;
  readonly vip: Way;
  readonly mesh: Way;
  readonly proxy: Way;
  readonly rule: Way;
}

async function makeWays(lab: NetworkLab, undo: UndoStack): Promise<Ways> {
  const [one, other] = [lab.ns(CLIENT_HOST.name), lab.ns(SERVER_HOST.name)];
  const inside = await barePair(lab, PLAIN, undo);
  const masquerading = await barePair(lab, MASQUERADING, undo);
  for (const { name } of MASQUERADING) await forwardBy(lab.ns(name), WAY_OUT);
  const server = lab.containerNs(SERVER.taskId);
  const servers = [server, other, ...inside, masquerading[1]];
  for (const namespace of servers) await serve(namespace, undo);
  await serve(lab.containerNs(CLIENT.taskId), undo);
  await serve(server, undo, PORTS.direct);
  await proxyOn(one, undo);
  const out = lab.ns('out');
  const docker = await dockerOverlay(lab, undo);
  return {
    docker,
    overlay: { from: lab.containerNs(CLIENT.taskId), host: SERVER.addresses.front, port: PORTS.pump },
    bare: { from: inside[0], host: SERVER_HOST.inside, port: PORTS.pump },
    masquerading: { from: masquerading[0], host: MASQUERADING[1].inside, port: PORTS.pump },
    hosts: { from: one, host: SERVER_HOST.lan, port: PORTS.pump },
    vip: { from: lab.containerNs(CLIENT.taskId), host: '10.5.0.200', port: PORTS.pump },
    mesh: { from: out, host: '10.99.0.1', port: PORTS.mesh },
    proxy: { from: out, host: CLIENT_HOST.lan, port: PORTS.proxy },
    rule: { from: out, host: CLIENT_HOST.lan, port: PORTS.rule },
  };
}

/** Two hosts, joined by VXLAN: the namespaces on their bridges. */
async function barePair(
  lab: NetworkLab,
  [one, other]: readonly [Plain, Plain],
  undo: UndoStack,
): Promise<readonly [string, string]> {
  for (const { name, lan, index } of [one, other]) await lab.addHost(name, lan, index);
  return [await bareHost(lab, one, other, undo), await bareHost(lab, other, one, undo)];
}

/** A VXLAN device in a bridge, and a namespace on it, as one would make them by hand. */
async function bareHost(lab: NetworkLab, host: Plain, other: Plain, undo: UndoStack): Promise<string> {
  const namespace = lab.ns(host.name);
  const inside = `${namespace}-bare`;
  await run('ip', ['netns', 'add', inside]);
  undo.defer(async () => void (await run('ip', ['netns', 'del', inside])));
  const tunnel = `id 77 dstport 4790 remote ${other.lan} local ${host.lan}`;
  for (const command of [
    'link add br-bare mtu 1450 type bridge',
    `link add vx-bare mtu 1450 type vxlan ${tunnel}`,
    'link set vx-bare master br-bare up',
    'link set br-bare up',
    `addr add ${host.gateway}/24 dev br-bare`,
    `link add ve-bare mtu 1450 type veth peer name eth0 mtu 1450 netns ${inside}`,
    'link set ve-bare master br-bare up',
  ])
    await inNs(namespace, ['ip', ...command.split(' ')]);
  for (const command of [
    `addr add ${host.inside}/24 dev eth0`,
    'link set eth0 up',
    'link set lo up',
    `route add default via ${host.gateway}`,
  ])
    await inNs(inside, ['ip', ...command.split(' ')]);
  return inside;
}

async function forwardBy(host: string, rules: string): Promise<void> {
  await inNs(host, ['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
  await inNs(host, ['/usr/sbin/nft', '-f', '-'], rules);
}

/** As docker's own for the containers of a network. */
const WAY_OUT = `table ip bare {
  chain post {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 10.77.0.0/24 oifname != "br-bare" masquerade
  }
}
`;

/** A container on each of two docker daemons in swarm mode, with the server in the second one's namespace. */
async function dockerOverlay(lab: NetworkLab, undo: UndoStack): Promise<Way> {
  const lan = {
    netns: lab.ns('lan'),
    bridge: 'br0',
    addresses: ['10.99.0.31', '10.99.0.32'],
    image: 'busybox:bench',
  } as const;
  const { manager, worker } = await startDockerdSwarm(lan, undo);
  await manager.docker('network', 'create', '--driver', 'overlay', '--attachable', 'over');
  const container = async (
    dockerd: Dockerd,
    name: string,
  ): Promise<{ namespace: string; address: string }> => {
    await dockerd.docker('run', '--detach', '--name', name, '--network', 'over', lan.image, 'sleep', '3600');
    const format = '{{.State.Pid}} {{.NetworkSettings.Networks.over.IPAddress}}';
    const [pid = '', address = ''] = (await dockerd.docker('inspect', '--format', format, name))
      .trim()
      .split(' ');
    return { namespace: `/proc/${pid}/ns/net`, address };
  };
  const client = await container(manager, 'client');
  const server = await container(worker, 'server');
  await serve(server.namespace, undo);
  return { from: client.namespace, host: server.address, port: PORTS.pump };
}

/** As docker's own rules for a published port without its proxy: one translation, to a container on this host. */
const RULE = `table ip bare {
  chain pre {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local tcp dport ${PORTS.rule} dnat to ${CLIENT_HOST.inside}:${PORTS.pump}
  }
}
`;

async function proxyOn(host: string, undo: UndoStack): Promise<void> {
  const { root, env } = await ensurePeers();
  const args = ['-proto', 'tcp', '-host-ip', '0.0.0.0', '-host-port', String(PORTS.proxy)];
  const to = ['-container-ip', CLIENT_HOST.inside, '-container-port', String(PORTS.pump)];
  const command = [join(root, 'usr/sbin/docker-proxy'), ...args, ...to];
  // It tells that it listens on descriptor 3, which docker opens.
  const child = spawn('nsenter', [`--net=/run/netns/${host}`, ...command], {
    stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    env,
  });
  undo.defer(() => stop(child));
  const ready = child.stdio[3];
  if (ready === null || ready === undefined) throw new Error('no pipe');
  await once(ready as NodeJS.ReadableStream, 'data');
}

async function serve(namespace: string, undo: UndoStack, port: number = PORTS.pump): Promise<void> {
  const child = spawn('chrt', [...AHEAD, net(namespace), process.execPath, PUMP, 'server', String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  undo.defer(() => stop(child));
  await once(child.stdout, 'data');
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

function net(namespace: string): string {
  return `--net=${namespace.startsWith('/') ? namespace : `/run/netns/${namespace}`}`;
}

async function inNs(namespace: string, command: readonly string[], input?: string): Promise<void> {
  const child = spawn('nsenter', [net(namespace), ...command], { stdio: ['pipe', 'ignore', 'inherit'] });
  child.stdin.end(input);
  const [code] = (await once(child, 'exit')) as [number];
  if (code !== 0) throw new Error(`${command.join(' ')} in ${namespace}: exit code ${code}`);
}

async function measure(what: string, { from, host, port }: Way, ...more: string[]): Promise<number> {
  const args = [...AHEAD, net(from), process.execPath, PUMP, what, host, String(port), SECONDS, ...more];
  return Number((await run('chrt', args)).stdout);
}

/** Rounds in which each way has its turn, every other time the other way round: all figures of each way. */
async function inTurns(what: string, ways: readonly Way[], ...more: string[]): Promise<number[][]> {
  const figures = ways.map((): number[] => []);
  const turns = [...ways.entries()];
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [i, way] of round % 2 === 0 ? turns : turns.toReversed())
      figures[i]?.push(await measure(what, way, ...more));
  }
  return figures;
}

async function overlayRows({ overlay, bare, masquerading, docker, hosts }: Ways): Promise<void> {
  const rows = [
    ['TCP, one stream', 'stream', 'Gbit/s', '1', 'more'],
    ['TCP, eight streams', 'stream', 'Gbit/s', '8', 'more'],
    ['new connections', 'connect', '1/s', '1', 'more'],
    ['there and back', 'echo', 'us', '1', 'less'],
  ] as const;
  for (const [name, what, unit, streams, better] of rows) {
    const turns = await inTurns(what, [overlay, bare, masquerading, docker, hosts], streams);
    const [ours = [], bridge = [], withWayOut = [], theirs = [], underlay = []] = turns;
    for (const [peer, figures] of [
      ['VXLAN and bridge', bridge],
      ['VXLAN and bridge on hosts that masquerade', withWayOut],
      ["docker's overlay", theirs],
      ["the hosts' own network", underlay],
    ] as const)
      reportRounds(`network: ${name}, overlay against ${peer}`, ours, figures, unit, better);
  }
}

/** Who has used a VIP goes the tracked way to addresses as well; VXLAN and bridge have neither. */
async function vipRows(lab: NetworkLab, { overlay, bare, vip }: Ways): Promise<void> {
  // Of its own port, or each would find the other's connections in its way, which are remembered for two minutes.
  const direct = { ...overlay, port: PORTS.direct };
  manyServices(lab.world);
  await lab.applyAll();
  const names = `VIP among ${lab.world.services.length} services`;
  for (const [name, what, unit] of [
    ['TCP, one stream', 'stream', 'Gbit/s'],
    ['new connections', 'connect', '1/s'],
  ] as const) {
    const [ours = [], address = [], bridge = []] = await inTurns(what, [vip, direct, bare]);
    reportRounds(`network: ${name}, ${names} against the backend's address`, ours, address, unit, 'more');
    reportRounds(`network: ${name}, ${names} against VXLAN and bridge`, ours, bridge, unit, 'more');
  }
}

async function portRows({ mesh, proxy, rule }: Ways): Promise<void> {
  const [ours = [], slow = [], bare = []] = await inTurns('connect', [mesh, proxy, rule]);
  reportRounds("network: new connections, published port against docker's proxy", ours, slow, '1/s', 'more');
  reportRounds('network: new connections, published port against one DNAT rule', ours, bare, '1/s', 'more');
}
