/** One side of the comparison: an API on a unix socket, an image that it has, and the processes behind it. */
import { execFile } from 'node:child_process';
import { setMaxListeners } from 'node:events';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { ApiClient } from '../../../deploy/cli/client.ts';
import { clusterProcesses } from '../../../deploy/local/proc.ts';
import { delay } from '../../../shared/lib/abort.ts';
import { cluster } from '../../harness/cluster.ts';
import { checkoutDir } from '../../harness/peers.ts';
import { importBusybox, startDockerd } from '../../harness/dockerd.ts';

const DEADLINE_MS = 300_000;
const POLL_MS = 10;
const PEER_IMAGE = 'busybox:bench';
/** Both sides speak it. */
export const VERSION = '/v1.41';

/** Names of what runs a side, with the pids of each. */
export type Daemons = Readonly<Record<string, readonly number[]>>;

export class Side {
  readonly socket: string;
  readonly image: string;
  /** Deploys a compose file and returns at once: the command line without the file and the stack's name. */
  readonly deploy: (file: string, stack: string) => Promise<void>;
  readonly daemons: () => Promise<Daemons>;
  readonly #client: ApiClient;
  readonly #signal = AbortSignal.timeout(10 * DEADLINE_MS);

  constructor(options: Pick<Side, 'socket' | 'image' | 'deploy' | 'daemons'>) {
    this.socket = options.socket;
    this.image = options.image;
    this.deploy = options.deploy;
    this.daemons = options.daemons;
    this.#client = new ApiClient(options.socket);
    // Many requests at a time listen to it.
    setMaxListeners(0, this.#signal);
  }

  get(path: string): Promise<unknown> {
    return this.#client.get(`${VERSION}${path}`, this.#signal);
  }

  post(path: string, body: unknown): Promise<unknown> {
    const json = { type: 'application/json', text: JSON.stringify(body) } as const;
    return this.#client.call('POST', `${VERSION}${path}`, json, this.#signal);
  }

  async createService(name: string, replicas: number, template: object = {}, container: object = {}) {
    const answer = await this.post('/services/create', {
      Name: name,
      Labels: { 'bench.group': 'api' },
      Mode: { Replicated: { Replicas: replicas } },
      TaskTemplate: { ContainerSpec: { Image: this.image, ...container }, ...template },
    });
    return (answer as { ID: string }).ID;
  }

  async remove(path: string): Promise<void> {
    await this.#client.call('DELETE', `${VERSION}${path}`, undefined, this.#signal);
  }

  async until(what: string, reached: () => Promise<boolean>): Promise<void> {
    for (const deadline = Date.now() + DEADLINE_MS; !(await reached()); ) {
      if (Date.now() > deadline) throw new Error(`${what}: not within ${DEADLINE_MS} ms`);
      await delay(POLL_MS, this.#signal);
    }
  }
}

/** A manager, its etcd and the agents of so many nodes, as processes; then Debian's dockerd as a swarm of one node. */
export async function onBothSides<T>(work: (side: Side) => Promise<T>): Promise<{ ours: T; peer: T }> {
  const ours = await onOurs(work);
  return { ours, peer: await onPeer(work) };
}

export async function onOurs<T>(work: (side: Side) => Promise<T>): Promise<T> {
  await using swarm = await cluster().manager().agents(1).up();
  const { socket, stateDir, runDir } = swarm.layout;
  const shoal = `${checkoutDir()}/dist/deploy/cli/main.js`;
  const side = new Side({
    socket,
    image: 'shoal/example:latest',
    deploy: async (file, stack) => {
      const args = [shoal, 'deploy', '--socket', socket, '--no-wait', '--compose-file', file, stack];
      await promisify(execFile)(process.execPath, args);
    },
    daemons: async () => {
      const all = await clusterProcesses(stateDir, runDir);
      const pids = (pattern: RegExp) => all.filter((one) => pattern.test(one.command)).map((one) => one.pid);
      return { manager: pids(/main\.js manager /), agent: pids(/main\.js agent /), etcd: pids(/^\S*etcd /) };
    },
  });
  // awaited here, so that all of it is there until the work is done
  return await work(side);
}

export async function onPeer<T>(work: (side: Side) => Promise<T>): Promise<T> {
  await using dockerd = await startDockerd();
  await importBusybox(dockerd, PEER_IMAGE);
  await dockerd.docker('swarm', 'init', '--advertise-addr', '127.0.0.1');
  const side = new Side({
    socket: dockerd.socket,
    image: PEER_IMAGE,
    deploy: async (file, stack) => {
      await dockerd.docker('stack', 'deploy', '--resolve-image', 'never', '--compose-file', file, stack);
    },
    daemons: async () => ({ dockerd: await dockerd.pids() }),
  });
  // awaited here, so that all of it is there until the work is done
  return await work(side);
}

const TICK_MS = 10;

/** Milliseconds of processor time that the processes have used: utime and stime of proc(5), in ticks of 10 ms. */
export async function cpuMs(pids: readonly number[]): Promise<number> {
  const used = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * TICK_MS;
    }),
  );
  return used.reduce((sum, one) => sum + one, 0);
}

export async function residentMiB(pids: readonly number[]): Promise<number> {
  const texts = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')));
  return texts.reduce((sum, text) => sum + Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? 0), 0) / 1024;
}
