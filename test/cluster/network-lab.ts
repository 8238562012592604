/**
 * Hosts made of network namespaces on one LAN, a client outside, and "containers" that are namespaces held by a sleeping
 * process. Needs root, iproute2, nftables, busybox and curl.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readdir, readlink, rm } from 'node:fs/promises';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openSocket } from '../../agent/native/network.ts';
import type { Command, Reply } from './network-host.ts';
import { assignmentsOf, type World } from './network-model.ts';

const run = promisify(execFile);
const PREFIX = 'shoal-test-net';
const HOST_SCRIPT = fileURLToPath(new URL('./network-host.js', import.meta.url));
/** Of the nodes' tunnels. */
export const VXLAN_PORT = 4789;
const DEADLINE_MS = 60_000;

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Driver {
  readonly process: ChildProcess;
  send(command: Command): Promise<Reply>;
}

export class NetworkLab {
  readonly world: World;
  readonly cluster: string;
  /** Where the drivers look for network plugins, and keep what they asked them for. */
  readonly #plugins: string;
  readonly #drivers = new Map<string, Driver>();
  readonly #containers = new Map<string, ChildProcess>();
  readonly #servers: net.Server[] = [];
  /** Destroyed at the end: in a namespace that is cut off nothing else would end them. */
  readonly #sockets: net.Socket[] = [];

  private constructor(world: World, cluster: string, plugins: string) {
    this.#plugins = plugins;
    this.world = world;
    this.cluster = cluster;
  }

  /** Hosts of the peers on one LAN, the client routed behind it. `cluster` must be unused on the machine. */
  static async up(world: World, cluster: string, plugins = ''): Promise<NetworkLab> {
    const lab = new NetworkLab(world, cluster, plugins);
    await lab.#sweep();
    await ip('netns', 'add', lab.ns('lan'));
    await inNs(lab.ns('lan'), ['ip', 'link', 'add', 'br0', 'type', 'bridge']);
    await inNs(lab.ns('lan'), ['ip', 'link', 'set', 'br0', 'up']);
    for (const { hostname, address, index } of world.peers) await lab.addHost(hostname, address, index);
    await lab.#plug('out', '10.99.0.100/24', `${lanAddress6(100)}/64`);
    const out = (...args: string[]) => inNs(lab.ns('out'), ['ip', ...args]);
    await out('addr', 'add', '203.0.113.9/32', 'dev', 'lo');
    await out('addr', 'add', '2001:db8:9::9/128', 'dev', 'lo', 'nodad');
    await out('route', 'change', '10.99.0.0/24', 'dev', 'eth0', 'src', '203.0.113.9');
    await out('-6', 'route', 'del', '2001:db8:99::/64', 'dev', 'eth0');
    await out('-6', 'route', 'add', '2001:db8:99::/64', 'dev', 'eth0', 'src', '2001:db8:9::9');
    for (const peer of world.peers) lab.startDriver(peer.nodeId);
    return lab;
  }

  ns(name: string): string {
    return `${PREFIX}-${this.cluster}-${name}`;
  }

  hostNs(nodeId: string): string {
    const peer = this.world.peers.find((one) => one.nodeId === nodeId);
    if (peer === undefined) throw new Error(`no node ${nodeId}`);
    return this.ns(peer.hostname);
  }

  /** A host on the LAN, with its way to the client, and nothing else on it. `index` is the last part of its IPv6 address. */
  async addHost(name: string, address: string, index: number): Promise<void> {
    await this.#plug(name, `${address}/24`, `${lanAddress6(index)}/64`);
    const routed = (...args: string[]) => inNs(this.ns(name), ['ip', ...args]);
    await routed('route', 'add', '203.0.113.0/24', 'via', '10.99.0.100');
    await routed('-6', 'route', 'add', '2001:db8:9::/64', 'via', lanAddress6(100));
  }

  async #plug(name: string, address: string, address6: string): Promise<void> {
    const ns = this.ns(name);
    await ip('netns', 'add', ns);
    await inNs(ns, ['ip', 'link', 'set', 'lo', 'up']);
    await inNs(this.ns('lan'), [
      'ip',
      'link',
      'add',
      `p-${name}`,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      ns,
    ]);
    await inNs(this.ns('lan'), ['ip', 'link', 'set', `p-${name}`, 'master', 'br0', 'up']);
    await inNs(ns, ['ip', 'addr', 'add', address, 'dev', 'eth0']);
    await inNs(ns, ['ip', 'addr', 'add', address6, 'dev', 'eth0', 'nodad']);
    await inNs(ns, ['ip', 'link', 'set', 'eth0', 'up']);
  }

  /** The driver of a node, as a process in the host's namespace. */
  startDriver(nodeId: string, resolver = '', lingerMs = 0, repairMs = 0): void {
    const args = [
      `--net=/run/netns/${this.hostNs(nodeId)}`,
      process.execPath,
      HOST_SCRIPT,
      this.cluster,
      nodeId,
    ];
    const child = spawn(
      'nsenter',
      [...args, String(VXLAN_PORT), String(repairMs), resolver, String(lingerMs), this.#plugins],
      {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        serialization: 'advanced',
      },
    );
    const waiting = new Map<number, (reply: Reply) => void>();
    child.on('message', (reply) => waiting.get((reply as Reply).id)?.(reply as Reply));
    let last = 0;
    const send = (command: Command): Promise<Reply> =>
      new Promise((resolve, reject) => {
        const id = (last += 1);
        const timer = setTimeout(
          () => reject(new Error(`${nodeId}: no reply to ${command.verb}`)),
          DEADLINE_MS,
        );
        waiting.set(id, (reply) => {
          clearTimeout(timer);
          if (reply.error === undefined) resolve(reply);
          else reject(new Error(`${nodeId} ${command.verb}: ${reply.error}`));
        });
        child.send({ id, command });
      });
    this.#drivers.set(nodeId, { process: child, send });
  }

  /** As an agent that is killed. */
  async killDriver(nodeId: string): Promise<void> {
    const child = this.#drivers.get(nodeId)?.process;
    this.#drivers.delete(nodeId);
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  send(nodeId: string, command: Command): Promise<Reply> {
    const driver = this.#drivers.get(nodeId);
    if (driver === undefined) throw new Error(`${nodeId} has no driver`);
    return driver.send(command);
  }

  apply(nodeId: string): Promise<Reply> {
    return this.send(nodeId, { verb: 'apply', set: assignmentsOf(this.world, nodeId) });
  }

  async applyAll(): Promise<void> {
    await Promise.all(this.world.peers.map((peer) => this.apply(peer.nodeId)));
  }

  /** A namespace for the task, and its interfaces. */
  async startContainer(taskId: string): Promise<Reply> {
    const task = this.world.tasks.find((one) => one.taskId === taskId);
    if (task === undefined) throw new Error(`no task ${taskId}`);
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'unshare', '--net', 'sleep', '3600'], {
      stdio: 'ignore',
    });
    this.#containers.set(taskId, child);
    const home = await readlink('/proc/self/ns/net');
    await until(`namespace of ${taskId}`, async () => {
      const there = await readlink(`/proc/${child.pid}/ns/net`);
      return there !== home && !there.startsWith('/');
    });
    return this.attach(taskId);
  }

  attach(taskId: string): Promise<Reply> {
    const node = this.world.tasks.find((one) => one.taskId === taskId)?.node ?? '';
    return this.send(node, { verb: 'attach', taskId, netns: this.containerNs(taskId) });
  }

  /** Another try at a container's interfaces. */
  async attachOnce(taskId: string): Promise<boolean> {
    await (this.#containers.has(taskId) ? this.attach(taskId) : this.startContainer(taskId));
    return true;
  }

  async startAll(): Promise<void> {
    for (const task of this.world.tasks) await this.startContainer(task.taskId);
  }

  async killContainer(taskId: string): Promise<void> {
    const child = this.#containers.get(taskId);
    this.#containers.delete(taskId);
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  containerNs(taskId: string): string {
    const pid = this.#containers.get(taskId)?.pid;
    if (pid === undefined) throw new Error(`${taskId} has no container`);
    return `/proc/${pid}/ns/net`;
  }

  /** A server in the container that tells its name and the client's address, and then echoes. */
  async serve(taskId: string, port = 80): Promise<void> {
    await this.#serveOn(taskId, '0.0.0.0', port);
    await this.#serveOn(taskId, '::', port);
  }

  async #serveOn(taskId: string, address: string, port: number): Promise<void> {
    const fd = await openSocket(this.containerNs(taskId), 'stream', address, port);
    const server = net.createServer((socket) => {
      this.#sockets.push(socket);
      socket.write(`HTTP/1.0 200 OK\r\n\r\n${taskId} saw ${socket.remoteAddress}\n`);
      socket.on('data', (data) => (data.toString().startsWith('GET') ? socket.end() : socket.write(data)));
      socket.on('error', () => undefined);
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen({ fd }, resolve));
  }

  /** Runs a command in a task's container; never rejects. */
  inTask(taskId: string, command: readonly string[]): Promise<Outcome> {
    return inNs(this.containerNs(taskId), command, false);
  }

  /** Runs a command in a host or in `out`; never rejects. */
  inHost(ns: string, command: readonly string[]): Promise<Outcome> {
    return inNs(ns, command, false);
  }

  /** One request with curl: the body, or curl's exit code in words. */
  async get(from: { task: string } | { ns: string }, url: string): Promise<string> {
    const command = ['curl', '-s', '-m', '5', url];
    const result =
      'task' in from ? await this.inTask(from.task, command) : await this.inHost(from.ns, command);
    return result.code === 0 ? result.stdout.trim() : `curl failed with ${result.code}`;
  }

  /** From now on a host loses one of so many packets that come to it. */
  async lose(nodeId: string, oneOf: number): Promise<void> {
    const rule = `add table inet loss; add chain inet loss in { type filter hook prerouting priority -400; }; add rule inet loss in iifname eth0 numgen random mod ${oneOf} 0 drop`;
    await inNs(this.hostNs(nodeId), ['/usr/sbin/nft', rule]);
  }

  /** The host's cable. */
  async plug(nodeId: string, state: 'up' | 'down'): Promise<void> {
    const peer = this.world.peers.find((one) => one.nodeId === nodeId);
    await inNs(this.ns('lan'), ['ip', 'link', 'set', `p-${peer?.hostname}`, state]);
  }

  /** Removes everything, and returns the names of what the drivers left behind. */
  async down(): Promise<string[]> {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
    for (const taskId of [...this.#containers.keys()]) await this.killContainer(taskId);
    for (const nodeId of [...this.#drivers.keys()]) await this.killDriver(nodeId);
    return this.#sweep();
  }

  /** Leftovers of this lab, also of a killed run. */
  async #sweep(): Promise<string[]> {
    const names = await readdir('/run/netns').catch(() => []);
    const sandboxes = names.filter((name) => name.startsWith(`shoal-${this.cluster}-`));
    const hosts = names.filter((name) => name.startsWith(`${PREFIX}-${this.cluster}-`));
    for (const name of [...sandboxes, ...hosts]) {
      await run('ip', ['netns', 'del', name]).catch(() => rm(`/run/netns/${name}`, { force: true }));
    }
    return sandboxes;
  }
}

/** On the hosts' LAN. */
export function lanAddress6(index: number): string {
  return `2001:db8:99::${index}`;
}

async function ip(...args: string[]): Promise<void> {
  await run('ip', args);
}

async function inNs(ns: string, command: readonly string[], must = true): Promise<Outcome> {
  const path = ns.startsWith('/') ? ns : `/run/netns/${ns}`;
  try {
    const { stdout, stderr } = await run('nsenter', [`--net=${path}`, ...command], { timeout: DEADLINE_MS });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const failure = error as { code?: number; stdout?: string; stderr?: string };
    if (must) throw error;
    return { code: failure.code ?? 1, stdout: failure.stdout ?? '', stderr: failure.stderr ?? '' };
  }
}

/** Waits until the condition holds; a rejection counts as not yet. */
export async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const endMs = Date.now() + DEADLINE_MS;
  for (;;) {
    if (await condition().catch(() => false)) return;
    if (Date.now() > endMs) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
