/** A cluster to measure: a real manager on a real etcd, and one process that plays all the agents. */
import { mkdirSync, rmSync } from 'node:fs';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from '../../../deploy/cli/client.ts';
import { chooseFreePorts } from '../../../manager/store/etcd-process.ts';
import { delay } from '../../../shared/lib/abort.ts';
import { startEtcd, type TestEtcd } from '../../harness/etcd.ts';
import type { AgentsMethods, AgentsProcessOptions } from './agents-process.ts';
import { Child } from './child.ts';
import type { ManagerMethods, ManagerProcessOptions, Usage } from './manager-process.ts';
import { CONSTRAINTS, makeNodes } from './nodes.ts';

const VERSION = '/v1.41';
const POLL_MS = 20;
/** Progress is expected at least so often. */
const STALLED_MS = 180_000;
const CREATING = 16;
const CONNECTING = 64;
/** A full million of tasks has about 1 GiB. */
const QUOTA_BYTES = 8 * 2 ** 30;
const HEAP_MIB = 8192;
/** Those of the systemd unit. */
const UNIT_FLAGS = ['--max-semi-space-size=64'];

export type Counts = Awaited<ReturnType<AgentsMethods['counts']>>;

interface Swarm {
  readonly Version: { readonly Index: number };
  readonly Spec: object;
}

export class SimulatedCluster implements AsyncDisposable {
  readonly nodes: number;
  readonly #directory: string;
  readonly #etcd: TestEtcd;
  readonly #port: number;
  readonly #undo: () => void;
  #manager: Child<ManagerMethods>;
  #agents: Child<AgentsMethods> | undefined;

  private constructor(nodes: number, directory: string, etcd: TestEtcd, port: number, undo: () => void) {
    this.nodes = nodes;
    this.#directory = directory;
    this.#etcd = etcd;
    this.#port = port;
    this.#undo = undo;
    this.#manager = this.#startManager();
  }

  /** Resolves when the manager serves; no agent is there yet. */
  static async start(nodes: number): Promise<SimulatedCluster> {
    const directory = await mkdtemp(join(tmpdir(), 'shoal-scale-'));
    mkdirSync(join(directory, 'tmp'));
    const outer = process.env['TMPDIR'];
    // Whoever cleans up after us has one directory to remove.
    process.env['TMPDIR'] = join(directory, 'tmp');
    const restore = (): void => {
      if (outer === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = outer;
      rmSync(directory, { recursive: true, force: true });
    };
    // Ended by a signal: the last to write there may be after us, and its own end removes it, too.
    process.once('exit', restore);
    const etcd = await startEtcd({ quotaBytes: QUOTA_BYTES });
    const { client: port } = await chooseFreePorts();
    const cluster = new SimulatedCluster(nodes, directory, etcd, port, restore);
    await cluster.serves();
    return cluster;
  }

  get socket(): string {
    return join(this.#directory, 'api.sock');
  }

  /** Makes the nodes and starts their agents; resolves when all have a session. */
  async connect(): Promise<void> {
    const never = new AbortController().signal;
    const file = join(this.#directory, 'agents.json');
    const address = `127.0.0.1:${this.#port}`;
    const of = { etcd: this.#etcd.endpoints, stateDir: join(this.#directory, 'state') };
    await writeFile(file, JSON.stringify(await makeNodes(of, this.nodes, address, never)));
    const options: AgentsProcessOptions = { directory: this.#directory, file, connecting: CONNECTING };
    const flags = [`--max-old-space-size=${HEAP_MIB}`];
    this.#agents = new Child(join(import.meta.dirname, 'agents-process.js'), options, flags);
    await this.connected();
  }

  connected(): Promise<void> {
    return this.#until((counts) => counts.sessions, this.nodes, 'sessions');
  }

  /** Resolves when so many tasks run, as confirmed to their agents, since these were started. */
  running(count: number): Promise<void> {
    return this.#until(({ running }) => running, count, 'running tasks');
  }

  counts(): Promise<Counts> {
    if (this.#agents === undefined) throw new Error('there are no agents');
    return this.#agents.ask('counts', null);
  }

  usage(options: { readonly collect: boolean }): Promise<Usage> {
    return this.#manager.ask('usage', options);
  }

  /** Writes a profile of the manager's processor use during `work` to the file, if one is named. */
  async profiled<T>(file: string | undefined, work: () => Promise<T>): Promise<T> {
    if (file === undefined) return work();
    await this.#manager.ask('startProfile', null);
    const result = await work();
    await this.#manager.ask('stopProfile', { file });
    return result;
  }

  /** Kills the manager and starts it again; resolves at once. */
  async restartManager(): Promise<void> {
    await this.#manager.kill();
    await rm(join(this.#directory, 'run', 'manager.json'), { force: true });
    this.#manager = this.#startManager();
  }

  /** Resolves when the manager says that it serves. */
  async serves(): Promise<void> {
    const file = join(this.#directory, 'run', 'manager.json');
    const there = (): Promise<boolean> =>
      access(file).then(
        () => true,
        () => false,
      );
    for (const deadline = Date.now() + STALLED_MS; !(await there()); await pause()) {
      if (this.#manager.hasEnded) throw new Error('the manager has ended');
      if (Date.now() > deadline) throw new Error('the manager does not serve');
    }
  }

  /** So many services of so many tasks each; resolves with their ids when all are accepted. */
  async createServices(prefix: string, services: number, replicas: number): Promise<string[]> {
    const client = new ApiClient(this.socket);
    const ids: string[] = [];
    let next = 0;
    const create = async (): Promise<void> => {
      while (next < services) {
        const body = serviceBody(`${prefix}-${next}`, replicas);
        next += 1;
        const json = { type: 'application/json', text: JSON.stringify(body) } as const;
        const signal = AbortSignal.timeout(STALLED_MS);
        const answer = await client.call('POST', `${VERSION}/services/create`, json, signal);
        ids.push((answer as { ID: string }).ID);
      }
    };
    await Promise.all(Array.from({ length: CREATING }, create));
    return ids;
  }

  /** How long a node may be silent; agents send a heartbeat in a quarter of it. */
  async setPatience(ms: number): Promise<void> {
    const client = new ApiClient(this.socket);
    const signal = AbortSignal.timeout(STALLED_MS);
    const swarm = (await client.get(`${VERSION}/swarm`, signal)) as Swarm;
    const spec = { ...swarm.Spec, Dispatcher: { HeartbeatPeriod: ms * 1e6 } };
    const json = { type: 'application/json', text: JSON.stringify(spec) } as const;
    await client.call('POST', `${VERSION}/swarm/update?version=${swarm.Version.Index}`, json, signal);
  }

  /** Etcd's newest revision, and how much its file holds. */
  async etcd(): Promise<{ readonly revision: number; readonly bytes: number }> {
    const { header, dbSize } = await this.#etcd.client.maintenance.status();
    return { revision: Number(header.revision), bytes: Number(dbSize) };
  }

  etcdPid(): number {
    return this.#etcd.pid ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agents?.kill();
    await this.#manager.kill();
    await this.#etcd[Symbol.asyncDispose]();
    this.#undo();
  }

  #startManager(): Child<ManagerMethods> {
    const options: ManagerProcessOptions = {
      directory: this.#directory,
      port: this.#port,
      etcd: this.#etcd.endpoints,
    };
    const flags = ['--expose-gc', ...UNIT_FLAGS, `--max-old-space-size=${HEAP_MIB}`];
    return new Child(join(import.meta.dirname, 'manager-process.js'), options, flags);
  }

  async #until(read: (counts: Counts) => number, wanted: number, what: string): Promise<void> {
    let last = -1;
    let sinceMs = Date.now();
    for (;;) {
      const now = read(await this.counts());
      if (now === wanted) return;
      if (now !== last) [last, sinceMs] = [now, Date.now()];
      if (Date.now() - sinceMs > STALLED_MS) throw new Error(`${now} of ${wanted} ${what}, and no more come`);
      await pause();
    }
  }
}

function pause(): Promise<void> {
  return delay(POLL_MS, new AbortController().signal);
}

function serviceBody(name: string, replicas: number): object {
  return {
    Name: name,
    Mode: { Replicated: { Replicas: replicas } },
    TaskTemplate: {
      ContainerSpec: { Image: 'registry.example:5000/bench/scale:1', Env: ['MODE=bench', 'LEVEL=info'] },
      // An address each would be too many: all tasks without a network of their own share ingress, which has 65,533.
      Networks: [{ Target: 'host' }],
      Placement: { Constraints: CONSTRAINTS },
      Resources: { Reservations: { NanoCPUs: 1e7, MemoryBytes: 2 ** 24 } },
    },
  };
}
