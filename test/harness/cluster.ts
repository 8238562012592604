/**
 * A real cluster for a test: manager, etcd and agents as processes, each node a host of its own made of a network
 * namespace. Several can be side by side. A test reads as a story:
 *
 *     await using swarm = await cluster().manager().agents(2).up();
 *     await swarm.deploy('web', { replicas: 4 });
 *     await swarm.node('a1').partition();
 *     await swarm.eventually((s) => s.running('web').notOn('a1').count === 4);
 *
 * Leaving the scope removes everything, and fails when something would not go.
 */
import { readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createWriteStream } from 'node:fs';
import { type BuiltImage, imageArchive } from '../../agent/image/build-tar.ts';
import type { ApiClient, ApiResponse } from '../../deploy/cli/client.ts';
import { putStack } from '../../deploy/cli/stack.ts';
import { run } from '../../deploy/local/command.ts';
import { buildExampleImage, EXAMPLE_IMAGE } from '../../deploy/local/example-image.ts';
import type { Layout } from '../../deploy/local/layout.ts';
import { LocalCluster, prepareDirectories } from '../../deploy/local/local-cluster.ts';
import { clusterProcesses, signalProcess, waitGone } from '../../deploy/local/proc.ts';
import { silentProgress } from '../../deploy/local/progress.ts';
import { delay } from '../../shared/lib/abort.ts';
import { ClusterState } from './cluster-state.ts';
import { wrongClock } from './disturb.ts';
import { removeFaketimeFiles } from './leftovers.ts';
import { killEtcd, TestManager } from './managers.ts';
import { ensurePeers } from './peers.ts';
import { TestNode } from './test-node.ts';
import { newLayout, RUN_ROOT, STATE_ROOT, sweep } from './test-layout.ts';

export interface ServiceOptions {
  readonly replicas?: number;
  /** Default: the example's web server, which answers on port 80. */
  readonly image?: string;
  readonly args?: readonly string[];
  readonly networks?: readonly string[];
  /** `8080:80` */
  readonly ports?: readonly string[];
  /** Further arguments of `docker service create`. */
  readonly more?: readonly string[];
}

export interface EventuallyOptions {
  /** Milliseconds; generous: it ends as soon as the condition holds. */
  readonly within?: number;
}

type EnvironmentOf = (hostname: string) => Readonly<Record<string, string>>;

/** Begins the description of a cluster. */
export function cluster(): ClusterBuilder {
  return new ClusterBuilder();
}

class ClusterBuilder {
  #agents = 1;
  #managers = 1;
  #machineIsNode = false;
  #findAddresses = false;
  #nodeDownAfterMs: number | undefined;
  #agentArgs: ((hostname: string) => readonly string[]) | undefined;
  readonly #registries: string[] = [];
  readonly #managerArgs: string[] = [];
  readonly #clocks = new Map<string, string>();
  #environment: EnvironmentOf = () => ({});
  #program: ((title: string) => string) | undefined;
  #prepare: (layout: Layout) => Promise<void> = () => Promise.resolve();
  readonly #images: BuiltImage[] = [];

  /** One manager, on the machine itself; said so that the story is complete. */
  manager(): this {
    return this;
  }

  /** So many: the first on the machine itself, m2, m3, ... on hosts of their own, each with its etcd. */
  managers(count: number): this {
    this.#managers = count;
    return this;
  }

  /** Nodes a1, a2, ... */
  agents(count: number): this {
    this.#agents = count;
    return this;
  }

  /** Node a1 is the machine itself instead of a host of its own. */
  onMachine(): this {
    this.#machineIsNode = true;
    return this;
  }

  /** Milliseconds of silence after which a node is down: long, for tests in which an agent that restarts must not be. */
  nodeDownAfter(ms: number): this {
    this.#nodeDownAfterMs = ms;
    return this;
  }

  /** Further arguments of `shoal manager`. */
  managerArgs(...args: readonly string[]): this {
    this.#managerArgs.push(...args);
    return this;
  }

  /** The agent of this node sees a time of day that is off, e.g. by `-2h`. */
  clock(hostname: string, offset: string): this {
    this.#clocks.set(hostname, offset);
    return this;
  }

  /** Variables of a manager (m1, m2, ...) or an agent (a1, ...). */
  environment(of: EnvironmentOf): this {
    this.#environment = of;
    return this;
  }

  /** Path of the `shoal` command of `manager`, m2, ... and a1, ..., asked for whenever one starts. */
  program(of: (title: string) => string): this {
    this.#program = of;
    return this;
  }

  /** What is made before anything starts, in the directories of the cluster. */
  prepare(prepare: (layout: Layout) => Promise<void>): this {
    this.#prepare = prepare;
    return this;
  }

  /** Further arguments of a node's agent, asked for whenever it starts. */
  agentArgs(of: (hostname: string) => readonly string[]): this {
    this.#agentArgs = of;
    return this;
  }

  /** Agents are not told their addresses, which may change then. */
  findingAddresses(): this {
    this.#findAddresses = true;
    return this;
  }

  /** Nodes speak plain HTTP with this registry. */
  registry(address: string): this {
    this.#registries.push(address);
    return this;
  }

  /** Images that every node has from the start, besides the example's. */
  images(...images: readonly BuiltImage[]): this {
    this.#images.push(...images);
    return this;
  }

  async up(): Promise<TestCluster> {
    const signal = new AbortController().signal;
    await sweep(signal);
    const layout = await newLayout();
    await prepareDirectories(layout);
    await this.#prepare(layout);
    const all = [await buildExampleImage(), ...this.#images];
    await pipeline(imageArchive(all), createWriteStream(path.join(layout.imageDir, 'test.tar')));
    const events: string[] = [];
    const local = await LocalCluster.up(
      {
        layout,
        nodeCount: this.#agents,
        machineIsNode: this.#machineIsNode,
        findAddresses: this.#findAddresses,
        hostnamePrefix: 'a',
        insecureRegistries: this.#registries,
        managerArgs: this.#managerArgs,
        managerEnvironment: this.#environment('m1'),
        agentEnvironment: (hostname) => ({
          ...wrongClock(this.#clocks.get(hostname)),
          ...this.#environment(hostname),
        }),
        ...(this.#nodeDownAfterMs === undefined ? {} : { nodeDownAfterMs: this.#nodeDownAfterMs }),
        ...(this.#program === undefined ? {} : { program: this.#program }),
        ...(this.#agentArgs === undefined ? {} : { agentArgs: this.#agentArgs }),
        progress: silentProgress,
        onEvent: (text) => events.push(text),
      },
      signal,
    );
    const cluster = new TestCluster(local, events, this.#environment, this.#program);
    try {
      for (let number = 2; number <= this.#managers; number += 1) await cluster.joinManager(number);
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]().catch(() => undefined);
      throw error;
    }
  }
}

export class TestCluster implements AsyncDisposable {
  readonly #local: LocalCluster;
  readonly #events: string[];
  readonly #environment: EnvironmentOf;
  readonly #program: ((title: string) => string) | undefined;
  readonly #signal = new AbortController().signal;

  constructor(
    local: LocalCluster,
    events: string[],
    environment: EnvironmentOf,
    program?: (title: string) => string,
  ) {
    this.#program = program;
    this.#local = local;
    this.#events = events;
    this.#environment = environment;
  }

  get name(): string {
    return this.#local.layout.name;
  }

  get layout(): Layout {
    return this.#local.layout;
  }

  get client(): ApiClient {
    return this.#local.api;
  }

  /** Address of the machine on the underlay: where the manager listens. */
  get machineAddress(): string {
    return `${this.#local.subnet}.1`;
  }

  get nodes(): TestNode[] {
    return this.#local.members.map((member) => new TestNode(this.#local, member));
  }

  /** By host name (`a1`) or by number, from 1. */
  node(which: string | number): TestNode {
    const found = this.nodes.find((node) => node.hostname === which || node.index === which);
    if (found === undefined) throw new Error(`there is no node ${which}`);
    return found;
  }

  /** Processes that have ended, in words, oldest first. */
  get ends(): readonly string[] {
    return this.#events;
  }

  /** m2, m3, ... that have joined. */
  readonly others: TestManager[] = [];

  /** One more manager on a host of its own, `m` and its number; resolves once it serves. */
  async joinManager(number: number): Promise<TestManager> {
    const environment = this.#environment(`m${number}`);
    const onExit = (text: string): void => void this.#events.push(text);
    const manager = new TestManager(this.#local, number, environment, onExit, this.#program);
    this.others.push(manager);
    await manager.join(this.#signal);
    await manager.ready();
    return manager;
  }

  /** The manager process. `kill` leaves it dead, `restart` brings it back and waits until it serves. */
  readonly manager = {
    kill: (): Promise<void> => this.#local.manager.kill({ hold: true }),
    /** SIGKILL; its supervisor starts it again, as systemd would. */
    crash: (): Promise<void> => this.#local.manager.kill({ hold: false }),
    pid: (): number | undefined => this.#local.manager.pid,
    /** Starts it again after `kill` or `die`; does not wait for it. */
    start: (): void => this.#local.manager.release(),
    /** Manager and etcd at once, as if the machine had died; `restart` brings both back. */
    die: async (): Promise<void> => {
      await this.#local.manager.kill({ hold: true });
      await killEtcd(path.join(this.layout.stateDir, 'manager'));
    },
    /** SIGKILL unless it is dead already, and up again. */
    restart: async (): Promise<void> => {
      await this.#local.manager.kill({ hold: true });
      this.#local.manager.release();
      await this.#local.waitForManager(this.#signal);
    },
  };

  readonly etcd = {
    /** SIGKILL of the embedded etcd; its manager starts it again. */
    kill: async (): Promise<void> => {
      const all = await clusterProcesses(this.layout.stateDir, this.layout.runDir);
      const servers = all.filter((info) => path.basename(info.command.split(' ')[0] ?? '') === 'etcd');
      if (servers.length === 0) throw new Error('this cluster has no etcd process');
      for (const info of servers) await signalProcess(info, 'SIGKILL');
      await waitGone(servers, 10_000);
    },
  };

  /** A service by the stock client, or, given text, a stack from a compose file. Does not wait for it to run. */
  async deploy(name: string, what: ServiceOptions | string = {}): Promise<void> {
    if (typeof what === 'string') {
      await putStack(this.client, name, what, { prune: true }, this.#signal);
      return;
    }
    const { replicas = 1, image = EXAMPLE_IMAGE, args = [], networks = [], ports = [], more = [] } = what;
    const create = ['service', 'create', '--quiet', '--detach', '--no-resolve-image', '--name', name];
    const options = [
      ...networks.flatMap((network) => ['--network', network]),
      ...ports.flatMap((port) => ['--publish', port]),
    ];
    await this.docker(...create, '--replicas', String(replicas), ...options, ...more, image, ...args);
  }

  /** The stock client on this cluster's socket: its standard output; rejects with what it complains of. */
  async docker(...args: readonly string[]): Promise<string> {
    const { docker } = await ensurePeers();
    const host = [
      '--config',
      path.join(this.layout.stateDir, 'docker'),
      '-H',
      `unix://${this.layout.socket}`,
    ];
    return run(docker, [...host, ...args], this.#signal);
  }

  /** Any request; whatever status it is answered with. */
  api(method: string, target: string, body?: unknown): Promise<ApiResponse> {
    const json =
      body === undefined ? undefined : ({ type: 'application/json', text: JSON.stringify(body) } as const);
    return this.client.send(method, target, json, this.#signal);
  }

  state(): Promise<ClusterState> {
    return ClusterState.read(this.client, this.#signal);
  }

  /** Resolves once the condition holds; else rejects with the condition, the state and the ends of the logs. */
  async eventually(
    condition: (state: ClusterState) => boolean | Promise<boolean>,
    options: EventuallyOptions = {},
  ): Promise<ClusterState> {
    const { within = 30_000 } = options;
    const end = Date.now() + within;
    let last = 'no state could be read';
    for (;;) {
      try {
        const state = await this.state();
        last = state.toString();
        if (await condition(state)) return state;
      } catch (error) {
        const [before] = last.split('\n    now: ');
        last = `${before}\n    now: ${error instanceof Error ? error.message : String(error)}`;
      }
      if (Date.now() > end) throw new Error(await this.#unmet(condition, within, last));
      await delay(100, this.#signal);
    }
  }

  async #unmet(condition: unknown, within: number, last: string): Promise<string> {
    const events = this.#events.map((event) => `    ${event}`).join('\n');
    const logs = await this.logTails(15);
    return `not met within ${within} ms: ${String(condition)}\n${last}\n${events}\n${logs}`;
  }

  /** The last lines of the log of each process. */
  async logTails(lines: number): Promise<string> {
    const { logDir } = this.layout;
    const tails: string[] = [];
    for (const file of (await readdir(logDir)).toSorted()) {
      const text = await readFile(path.join(logDir, file), 'utf8');
      tails.push(`== ${file}\n${text.trimEnd().split('\n').slice(-lines).join('\n')}`);
    }
    return tails.join('\n');
  }

  /** Removes all of it. Rejects when something is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    const keep = process.env['SHOAL_KEEP_LOGS'];
    if (keep !== undefined) await writeFile(path.join(keep, `${this.name}.log`), await this.logTails(5_000));
    await Promise.all(this.others.map((manager) => manager.process.stop()));
    const left = await this.#local.down();
    await removeFaketimeFiles();
    for (const root of [STATE_ROOT, RUN_ROOT]) await rmdir(root).catch(() => undefined); // unless others are in it
    if (left.length > 0) throw new Error(`the cluster ${this.name} left behind:\n  ${left.join('\n  ')}`);
  }
}
