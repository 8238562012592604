/**
 * A whole cluster on one machine: a manager with its etcd, and nodes that are the machine itself or hosts made of
 * network namespaces. The processes are the ones that run on real hosts; only the hosts are made here.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { AppError, UnavailableError } from '../../shared/errors/index.ts';
import { ApiClient } from '../cli/client.ts';
import { Child } from './child.ts';
import { MARKER, type Marker, removeCluster } from './cleanup.ts';
import { enableForwarding } from './forwarding.ts';
import { type Layout, type LocalNode, makeNodes } from './layout.ts';
import { readProcess } from './proc.ts';
import type { Progress } from './progress.ts';
import { CLI_PATH } from './project.ts';
import { poll, readAgentFile, readManagerFile } from './run-files.ts';
import { chooseSubnet, createBridge, createHost, setCable } from './underlay.ts';

export interface LocalClusterOptions {
  readonly layout: Layout;
  readonly nodeCount: number;
  /** The first node is the machine itself, with its own addresses and published ports. */
  readonly machineIsNode: boolean;
  /** Nodes are called this and a number. */
  readonly hostnamePrefix: string;
  /** Agents are not told their addresses: each finds its own. */
  readonly findAddresses?: boolean;
  readonly insecureRegistries: readonly string[];
  /** Further arguments of a node's agent, asked for whenever it starts. */
  readonly agentArgs?: (hostname: string) => readonly string[];
  /** Silence after which a node is down. Default: the manager's. */
  readonly nodeDownAfterMs?: number;
  /** Further arguments of the manager. */
  readonly managerArgs?: readonly string[];
  /** Variables for the manager. */
  readonly managerEnvironment?: Readonly<Record<string, string>>;
  /** Variables for the agent of a host name. */
  readonly agentEnvironment?: (hostname: string) => Readonly<Record<string, string>>;
  /** Path of the `shoal` command of a process, asked for whenever it starts. Default: this one's. */
  readonly program?: (title: string) => string;
  readonly progress: Progress;
  /** Hears what goes wrong later: a process that ended and is started again. */
  readonly onEvent: (text: string) => void;
}

/** Part of the cluster did not come up; the message ends with what its log says. */
class StartError extends AppError {
  override readonly name = 'StartError';
  readonly code = 'unavailable';
}

const START_TIMEOUT_MS = 60_000;
/** A process that ends this often before it is ready will not become so. */
const STARTS_BEFORE_GIVING_UP = 3;

export interface LocalMember {
  readonly node: LocalNode;
  readonly process: Child;
}

export class LocalCluster {
  readonly layout: Layout;
  readonly api: ApiClient;
  /** First three bytes of the underlay's /24; the machine itself has .1. */
  readonly subnet: string;
  readonly manager: Child;
  readonly members: readonly LocalMember[];
  readonly #options: LocalClusterOptions;
  readonly #exits = new Map<string, number>();

  private constructor(options: LocalClusterOptions, subnet: string) {
    this.#options = options;
    this.layout = options.layout;
    this.subnet = subnet;
    this.api = new ApiClient(options.layout.socket);
    const { managerEnvironment } = options;
    this.manager = this.#child('manager', () => this.#managerArgs(), undefined, managerEnvironment);
    const nodes = makeNodes(this.layout, subnet, options.nodeCount, {
      machineIsNode: options.machineIsNode,
      prefix: options.hostnamePrefix,
    });
    this.members = nodes.map((node) => ({
      node,
      process: this.#child(
        node.hostname,
        () => this.#agentArgs(node),
        node.netns?.path,
        options.agentEnvironment?.(node.hostname),
      ),
    }));
  }

  /** Makes it and waits until every node is ready. On failure everything is removed again. */
  static async up(options: LocalClusterOptions, signal: AbortSignal): Promise<LocalCluster> {
    await prepareDirectories(options.layout);
    const subnet = await chooseSubnet(options.layout.name, signal);
    const cluster = new LocalCluster(options, subnet);
    try {
      await cluster.#start(signal);
      return cluster;
    } catch (error) {
      await cluster.down();
      throw error;
    }
  }

  /** Stops and removes everything; resolves with what would not go. */
  async down(): Promise<string[]> {
    const never = new AbortController().signal; // removing is never left half done
    await Promise.all(this.members.map((member) => member.process.stop()));
    await this.manager.stop();
    return removeCluster(this.layout, never);
  }

  /** The join tokens, as they are now. */
  async tokens(signal: AbortSignal): Promise<JoinTokens> {
    return swarmSchema.parse(await this.api.get('/swarm', signal)).JoinTokens;
  }

  /** Cuts a host off, or connects it again. The machine itself has no cable. */
  setCable(node: LocalNode, state: 'up' | 'down', signal: AbortSignal): Promise<void> {
    return setCable(this.layout, node, state, signal);
  }

  async #start(signal: AbortSignal): Promise<void> {
    const { progress } = this.#options;
    const hosts = this.members.map(({ node }) => node).filter((node) => node.netns !== undefined);
    await progress.step(`network ${this.subnet}.0/24 with ${hosts.length} hosts of its own`, async () => {
      await createBridge(this.layout, this.subnet, signal);
      await enableForwarding(this.layout);
      for (const node of hosts) await createHost(this.layout, this.subnet, node, signal);
    });
    await progress.step('manager and etcd', async () => {
      this.manager.start();
      await this.waitForManager(signal);
    });
    const tokens = await this.tokens(signal);
    await progress.step(`${this.members.length} nodes joined and ready`, async () => {
      for (const { node } of this.members) {
        await mkdir(node.stateDir, { recursive: true, mode: 0o700 });
        // the machine itself is where the manager runs
        const token = node.netns === undefined ? tokens.Manager : tokens.Worker;
        await writeFile(path.join(node.stateDir, 'join-token'), token, { mode: 0o600 });
      }
      for (const member of this.members) member.process.start();
      await this.waitForNodes(signal);
    });
  }

  /** Resolves once the present manager process answers on its socket. */
  async waitForManager(signal: AbortSignal): Promise<void> {
    await this.#within('the manager', [this.manager], signal, async (inner) => {
      const file = await readManagerFile(path.join(this.layout.runDir, 'manager'));
      if (file === undefined || file.pid !== this.manager.pid) return false;
      return (await this.api.send('GET', '/_ping', undefined, inner)).status === 200;
    });
  }

  /** Resolves once every node has a session and the cluster calls it ready. */
  async waitForNodes(signal: AbortSignal): Promise<void> {
    const processes = this.members.map((member) => member.process);
    await this.#within('the nodes', [this.manager, ...processes], signal, async (inner) => {
      for (const { node, process: child } of this.members) {
        if ((await readAgentFile(node.runDir))?.pid !== child.pid) return false;
      }
      const nodes = nodesSchema.parse(await this.api.get('/nodes', inner));
      return nodes.filter((node) => node.Status.State === 'ready').length >= this.members.length;
    });
  }

  async #within(
    what: string,
    processes: readonly Child[],
    signal: AbortSignal,
    ready: (signal: AbortSignal) => Promise<boolean>,
  ): Promise<void> {
    const timeout = AbortSignal.timeout(START_TIMEOUT_MS);
    const both = AbortSignal.any([signal, timeout]);
    const before = new Map(processes.map((child) => [child, this.#exits.get(child.spec.title) ?? 0]));
    const ask = async (): Promise<true | undefined> => {
      for (const [child, count] of before) {
        const exits = (this.#exits.get(child.spec.title) ?? 0) - count;
        if (exits >= STARTS_BEFORE_GIVING_UP)
          throw await startError(`${child.spec.title} does not start`, child);
      }
      return (await ready(both).catch(retryLater)) ? true : undefined;
    };
    try {
      await poll(ask, both);
    } catch (error) {
      if (!timeout.aborted || signal.aborted) throw error;
      const seconds = START_TIMEOUT_MS / 1000;
      throw await startError(`${what} did not become ready within ${seconds} s`, processes.at(-1));
    }
  }

  #child(
    title: string,
    argsOf: () => readonly string[],
    netns: string | undefined,
    environment: Readonly<Record<string, string>> = {},
  ): Child {
    const { layout, onEvent, program = () => CLI_PATH } = this.#options;
    const logFile = path.join(layout.logDir, `${title}.log`);
    const spec = {
      title,
      get args() {
        const args = argsOf();
        return [...nodeFlags(args), program(title), ...args];
      },
      logFile,
      netns,
      stateDir: layout.stateDir,
      environment,
    };
    return new Child(spec, (text) => {
      this.#exits.set(title, (this.#exits.get(title) ?? 0) + 1);
      onEvent(text);
    });
  }

  #managerArgs(): string[] {
    const { layout } = this;
    const { nodeDownAfterMs } = this.#options;
    const address = `${this.subnet}.1:${layout.managerPort}`;
    return [
      'manager',
      ...(nodeDownAfterMs === undefined ? [] : ['--node-down-after', String(nodeDownAfterMs)]),
      ...['--name', layout.name, '--socket', layout.socket],
      ...[
        '--state-dir',
        path.join(layout.stateDir, 'manager'),
        '--run-dir',
        path.join(layout.runDir, 'manager'),
      ],
      ...['--listen', address, '--advertise', address],
      ...[
        '--etcd-client-port',
        String(layout.etcdClientPort),
        '--etcd-peer-port',
        String(layout.etcdPeerPort),
      ],
      ...(this.#options.managerArgs ?? []),
    ];
  }

  #agentArgs(node: LocalNode): string[] {
    const { layout } = this;
    return [
      'agent',
      // the token is in a file: arguments can be read by everyone on the machine
      ...['--join-file', path.join(node.stateDir, 'join-token'), `${this.subnet}.1:${layout.managerPort}`],
      ...['--name', layout.name, '--hostname', node.hostname],
      ...(this.#options.findAddresses === true ? [] : ['--address', node.address]),
      ...['--state-dir', node.stateDir, '--run-dir', node.runDir],
      ...['--vxlan-port', String(layout.vxlanPort), '--preload-images', layout.imageDir],
      ...this.#options.insecureRegistries.flatMap((registry) => ['--insecure-registry', registry]),
      ...(this.#options.agentArgs?.(node.hostname) ?? []),
    ];
  }
}

const swarmSchema = z.object({ JoinTokens: z.object({ Worker: z.string(), Manager: z.string() }) });
type JoinTokens = z.output<typeof swarmSchema>['JoinTokens'];
const nodesSchema = z.array(z.object({ Status: z.object({ State: z.string() }) }));

/** While processes start, a refused connection or an answer 5xx is no failure. */
function retryLater(error: unknown): false {
  if (error instanceof UnavailableError || (error instanceof Error && error.name === 'ApiError'))
    return false;
  if (error instanceof Error && 'code' in error && error.code === 'ECONNRESET') return false;
  throw error;
}

/** Makes the cluster's directories and marks them as its own. */
export async function prepareDirectories(layout: Layout): Promise<void> {
  const self = await readProcess(process.pid);
  const marker: Marker = {
    name: layout.name,
    stateDir: layout.stateDir,
    runDir: layout.runDir,
    ownerPid: process.pid,
    ownerStartTime: self?.startTime ?? '',
  };
  for (const directory of [layout.stateDir, layout.runDir]) {
    await mkdir(directory, { recursive: true, mode: 0o711 });
    await writeFile(path.join(directory, MARKER), `${JSON.stringify(marker)}\n`);
  }
  for (const directory of [layout.logDir, layout.imageDir])
    await mkdir(directory, { recursive: true, mode: 0o700 });
}

async function startError(what: string, child: Child | undefined): Promise<StartError> {
  if (child === undefined) return new StartError(what);
  const text = await readFile(child.spec.logFile, 'utf8').catch(() => '');
  const last = text.trimEnd().split('\n').slice(-5).map(readable).join('\n    ');
  return new StartError(`${what}. The end of its log:\n    ${last}`);
}

/** A line of pino's JSON as a sentence, other lines as they are. */
function readable(line: string): string {
  try {
    const entry = logSchema.parse(JSON.parse(line));
    const cause = entry.err?.message ?? entry.error;
    return cause === undefined ? entry.msg : `${entry.msg}: ${cause}`;
  } catch {
    return line;
  }
}

const logSchema = z.object({
  msg: z.string(),
  err: z.object({ message: z.string() }).optional(),
  error: z.string().optional(),
});

/**
 * An agent shares its machine with what it runs: a small young generation keeps it 20 MiB smaller and costs it nothing
 * that a benchmark shows (test/bench/cluster.ts).
 */
function nodeFlags(args: readonly string[]): readonly string[] {
  return args[0] === 'agent' ? ['--max-semi-space-size=1'] : [];
}
