/**
 * Networks that plugins make (Docker's protocol of remote network drivers): an endpoint is asked for before a container's
 * interfaces are made, and given back when it has lost them. Nobody waits for a plugin but who wants something of it.
 */
import { createHash, randomBytes } from 'node:crypto';
import { ConflictError, describeError } from '../../../shared/errors/index.ts';
import { KeyedMutex } from '../../../shared/lib/mutex.ts';
import { prefixBits, subnetsOf } from '../../../shared/lib/network-subnets.ts';
import type { NetworkAssignment, TaskAssignment } from '../../../shared/model/index.ts';
import type { Logger } from '../../../shared/model/options.ts';
import type { Joins } from '../container-scope.ts';
import type { NamespaceDump } from '../observe.ts';
import { readEndpoint, readJoin, requireOwnDevice } from './answers.ts';
import { PluginRefusal } from './client.ts';
import { PluginDirectory } from './directory.ts';
import { endpointKey, type PluginEndpoint, type PluginNetwork, PluginRecords } from './records.ts';

const TIMEOUT_MS = 10_000;
const LOOK_MS = 5_000;
/** After so long what failed is tried again. */
const RETRY_MS = 10_000;

export interface PluginsOptions {
  /** Tells the networks of this node from those of others on the machine. */
  readonly nodeId: string;
  /** The file in which it is kept what was asked for. */
  readonly path: string;
  readonly logger: Logger;
  /** Default: Docker's. */
  readonly directories?: readonly string[];
  /** Of one call. Default 10 s. */
  readonly timeoutMs?: number;
  /** What the host's own namespace holds now. */
  readonly dumpHost: () => Promise<NamespaceDump>;
  /** Other plugins are there, or an endpoint that was waited for. */
  readonly onChange: () => void;
}

/** A network that a plugin makes, with which one. */
type Outside = NetworkAssignment & { readonly outside: { readonly kind: 'plugin'; readonly plugin: string } };

export class Plugins {
  readonly #options: PluginsOptions;
  readonly #directory: PluginDirectory;
  readonly #records: PluginRecords;
  readonly #locks = new KeyedMutex();
  /** Keys of endpoints that are being made. */
  readonly #coming = new Set<string>();
  readonly #leaving = new Set<string>();
  /** Endpoints whose devices have not moved into their containers yet. */
  readonly #ready = new Set<string>();
  /** Why the last try at an endpoint failed, and when, by its key. */
  readonly #problems = new Map<string, { readonly text: string; readonly atMs: number }>();
  /** Of which it was said that a plugin has not taken them back. */
  readonly #warned = new Set<string>();
  #looking: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #usable = '';

  private constructor(options: PluginsOptions, records: PluginRecords) {
    this.#options = options;
    this.#records = records;
    const { logger, timeoutMs = TIMEOUT_MS, directories } = options;
    this.#directory = new PluginDirectory(logger, timeoutMs, directories);
    this.#look();
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  static async open(options: PluginsOptions): Promise<Plugins> {
    const records = await PluginRecords.open(options.path, (error) =>
      options.logger.warn({ error: describeError(error) }, 'what plugins were asked for could not be read'),
    );
    return new Plugins(options, records);
  }

  get usable(): readonly string[] {
    return this.#directory.usable;
  }

  /** There may be something to give back. */
  get owes(): boolean {
    return this.#records.networks.size + this.#problems.size > 0;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    this.#looking = this.#looking
      .then(() => this.#directory.look())
      .then(() => {
        const usable = JSON.stringify(this.usable);
        if (usable === this.#usable) return;
        this.#usable = usable;
        this.#options.onChange();
      })
      .catch((error: unknown) =>
        this.#options.logger.warn({ error: describeError(error) }, 'plugins could not be looked for'),
      );
  }

  /** What plugins have made for a task, by network. */
  joinsOf(taskId: string): Joins {
    const own = [...this.#records.endpoints.values()].filter((one) => one.taskId === taskId);
    return new Map(
      own.flatMap(({ networkId, joined }) => (joined === undefined ? [] : [[networkId, joined]])),
    );
  }

  /**
   * For a container that runs: whether the endpoints of the interfaces that it has not got are made, and their devices only
   * have to move. Has them made if not, and `onChange` says when. Throws why the last try failed, for a while.
   */
  prepare(task: TaskAssignment, networks: readonly NetworkAssignment[], netns: string): boolean {
    const missing = networks.filter(isPlugins).filter((network) => !this.#ready.has(keyOf(task, network)));
    const failed = missing.flatMap((network) => this.#problems.get(keyOf(task, network)) ?? [])[0];
    if (failed !== undefined && performance.now() - failed.atMs < RETRY_MS)
      throw new ConflictError(failed.text);
    for (const network of missing) {
      if (this.#coming.has(keyOf(task, network))) continue;
      this.join(task, [network], netns)
        .catch((error: unknown) => this.#options.logger.warn({ error: describeError(error) }, 'no endpoint'))
        .finally(() => this.#options.onChange());
    }
    return missing.length === 0;
  }

  /** The task's container has its interfaces. */
  moved(task: TaskAssignment): void {
    for (const { network } of task.addresses) this.#ready.delete(keyOf(task, { networkId: network }));
  }

  /** Has the task's endpoints made, each anew. Rejects with the plugin's reason, and gives back what was made then. */
  async join(task: TaskAssignment, networks: readonly NetworkAssignment[], netns: string): Promise<void> {
    const results = await Promise.allSettled(
      networks.filter(isPlugins).map((network) => this.#joinOne(task, network, netns)),
    );
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  async #joinOne(task: TaskAssignment, network: Outside, netns: string): Promise<void> {
    const { networkId, name, outside } = network;
    const address = task.addresses.find((one) => one.network === networkId)?.address;
    if (address === undefined) return;
    const key = keyOf(task, network);
    this.#ready.delete(key);
    this.#coming.add(key);
    this.#problems.delete(key);
    try {
      await this.#locks.run(networkId, async () => {
        const left = this.#records.endpoints.get(key);
        if (left !== undefined) await this.#giveBack(left);
        await this.#make(task, network, address, netns);
        this.#ready.add(key);
      });
    } catch (error) {
      const problem = `network ${name}: plugin ${outside.plugin}: ${describeError(error)}`;
      this.#problems.set(key, { text: problem, atMs: performance.now() });
      throw new ConflictError(problem, { cause: error });
    } finally {
      this.#coming.delete(key);
    }
  }

  async #make(task: TaskAssignment, network: Outside, address: string, netns: string): Promise<void> {
    const { taskId } = task;
    const { networkId, outside } = network;
    const asked = task.spec.networks.find((one) => one.network === networkId)?.macAddress ?? '';
    const { plugin } = outside;
    const endpoint: PluginEndpoint = {
      ...{ taskId, networkId, plugin, address },
      endpointId: randomBytes(32).toString('hex'),
    };
    await this.#ensureNetwork(network);
    const before = new Set((await this.#options.dumpHost()).links.flatMap(({ index }) => index ?? []));
    this.#records.endpoints.set(endpointKey(endpoint), endpoint);
    // On disk before it is asked for: an agent that ends in between gives it back.
    await this.#records.save();
    try {
      const answer = await this.#create(network, endpoint, asked);
      const mac = readEndpoint(answer, interfaceAddress(network, address));
      const ids = this.#ids(endpoint);
      const joined = readJoin(
        await this.#directory.call(plugin, 'NetworkDriver.Join', { ...ids, SandboxKey: netns, Options: {} }),
        network,
        address,
      );
      requireOwnDevice(joined.device, before, await this.#options.dumpHost());
      this.#requireUnclaimed(joined.device);
      await this.#external(plugin, 'ProgramExternalConnectivity', { ...ids, Options: NO_PORTS });
      this.#records.endpoints.set(endpointKey(endpoint), {
        ...endpoint,
        joined: { ...joined, routes: [...joined.routes], ...(mac === undefined ? {} : { mac }) },
      });
      await this.#records.save();
    } catch (error) {
      await this.#giveBack(endpoint).catch(() => undefined);
      throw error;
    }
  }

  /** What another container waits for is new, too. */
  #requireUnclaimed(device: string): void {
    for (const [key, { joined }] of this.#records.endpoints)
      if (joined?.device === device && this.#ready.has(key))
        throw new ConflictError(`it names the device ${device}, which is another container's`);
  }

  /** A plugin that was started anew may know nothing of its networks: it is told of this one again, once. */
  async #create(network: Outside, endpoint: PluginEndpoint, MacAddress: string): Promise<unknown> {
    const { plugin } = network.outside;
    const params = {
      ...this.#ids(endpoint),
      Interface: { Address: interfaceAddress(network, endpoint.address), AddressIPv6: '', MacAddress },
      Options: {},
    };
    const create = (): Promise<unknown> =>
      this.#directory.call(plugin, 'NetworkDriver.CreateEndpoint', params);
    try {
      return await create();
    } catch (error) {
      if (!(error instanceof PluginRefusal)) throw error;
      const again = this.#directory.call(plugin, 'NetworkDriver.CreateNetwork', this.#networkParams(network));
      if (!(await again.then(() => true).catch(() => false))) throw error;
      return create();
    }
  }

  async #ensureNetwork(network: Outside): Promise<void> {
    const { networkId, name, outside } = network;
    const { plugin } = outside;
    const known = this.#records.networks.get(networkId);
    if (known?.created === true) return;
    const record: PluginNetwork = { networkId, name, plugin, created: false };
    // Whether it was made is not known: it may have been, by an agent that ended meanwhile.
    if (known !== undefined) await this.#deleteNetwork(known).catch(() => undefined);
    this.#records.networks.set(networkId, record);
    await this.#records.save();
    await this.#directory.call(plugin, 'NetworkDriver.CreateNetwork', this.#networkParams(network));
    this.#records.networks.set(networkId, { ...record, created: true });
    await this.#records.save();
  }

  /** As Docker says it. */
  #networkParams(network: Outside): object {
    return {
      NetworkID: this.#idOf(network.networkId),
      Options: {
        'com.docker.network.enable_ipv6': false,
        'com.docker.network.generic': network.outside.options,
        ...(network.internal ? { 'com.docker.network.internal': true } : {}),
      },
      IPv4Data: subnetsOf(network).map(({ subnet, gateway }) => ({
        AddressSpace: 'LocalDefault',
        Pool: subnet,
        Gateway: `${gateway}/${subnet.split('/')[1]}`,
        AuxAddresses: {},
      })),
      IPv6Data: [],
    };
  }

  #idOf(networkId: string): string {
    return createHash('sha256').update(`${this.#options.nodeId}/${networkId}`).digest('hex');
  }

  #ids({ networkId, endpointId }: PluginEndpoint): { NetworkID: string; EndpointID: string } {
    return { NetworkID: this.#idOf(networkId), EndpointID: endpointId };
  }

  /** Not every plugin knows it: what is published goes another way here. */
  async #external(plugin: string, method: string, params: object): Promise<void> {
    try {
      await this.#directory.call(plugin, `NetworkDriver.${method}`, params);
    } catch (error) {
      if (!(error instanceof PluginRefusal && error.unknownMethod)) throw error;
    }
  }

  /**
   * Gives back what is not used any more: endpoints of other tasks than these, and networks other than these. What a
   * plugin refuses is forgotten, as it will not do it later either; one that does not answer is asked again.
   */
  settle(tasks: readonly TaskAssignment[], networks: ReadonlySet<string>): void {
    const wanted = new Set(
      tasks.flatMap((task) => task.addresses.map(({ network }) => keyOf(task, { networkId: network }))),
    );
    for (const key of this.#problems.keys()) if (!wanted.has(key)) this.#problems.delete(key);
    for (const [key, endpoint] of this.#records.endpoints) {
      const { networkId } = endpoint;
      if (wanted.has(key) || this.#coming.has(key)) continue;
      this.#inBackground(key, networkId, async () => {
        if (!this.#coming.has(key) && this.#records.endpoints.get(key) === endpoint)
          await this.#giveBack(endpoint);
      });
    }
    const used = new Set([...this.#records.endpoints.values()].map(({ networkId }) => networkId));
    for (const [networkId, record] of this.#records.networks) {
      if (networks.has(networkId) || used.has(networkId)) continue;
      this.#inBackground(networkId, networkId, async () => {
        const isUsed = [...this.#records.endpoints.values()].some((one) => one.networkId === networkId);
        if (!isUsed && this.#records.networks.get(networkId) === record) await this.#deleteNetwork(record);
      });
    }
  }

  #inBackground(key: string, networkId: string, work: () => Promise<void>): void {
    if (this.#leaving.has(key)) return;
    this.#leaving.add(key);
    this.#locks
      .run(networkId, work)
      .then(() => this.#warned.delete(key))
      .catch((error: unknown) => {
        if (!this.#warned.has(key))
          this.#options.logger.warn(
            { error: describeError(error) },
            'a plugin has not taken back what it made',
          );
        this.#warned.add(key);
      })
      .finally(() => this.#leaving.delete(key));
  }

  async #giveBack(endpoint: PluginEndpoint): Promise<void> {
    const { plugin, joined } = endpoint;
    const ids = this.#ids(endpoint);
    if (joined !== undefined) await this.#tell(plugin, 'RevokeExternalConnectivity', ids);
    await this.#tell(plugin, 'Leave', ids);
    await this.#tell(plugin, 'DeleteEndpoint', ids);
    this.#records.endpoints.delete(endpointKey(endpoint));
    await this.#records.save();
  }

  async #deleteNetwork({ networkId, plugin }: PluginNetwork): Promise<void> {
    await this.#tell(plugin, 'DeleteNetwork', { NetworkID: this.#idOf(networkId) });
    this.#records.networks.delete(networkId);
    await this.#records.save();
  }

  async #tell(plugin: string, method: string, params: object): Promise<void> {
    try {
      await this.#directory.call(plugin, `NetworkDriver.${method}`, params);
    } catch (error) {
      if (!(error instanceof PluginRefusal)) throw error;
      if (!error.unknownMethod)
        this.#options.logger.warn(
          { plugin, error: describeError(error) },
          'a plugin refused to take something back',
        );
    }
  }
}

/** Ports are published by the mesh. */
const NO_PORTS = { 'com.docker.network.portmap': [], 'com.docker.network.endpoint.exposedports': [] };

function keyOf({ taskId }: TaskAssignment, { networkId }: Pick<NetworkAssignment, 'networkId'>): string {
  return endpointKey({ taskId, networkId });
}

function isPlugins(network: NetworkAssignment): network is Outside {
  return network.outside?.kind === 'plugin';
}

function interfaceAddress(network: NetworkAssignment, address: string): string {
  return `${address}/${prefixBits(network, address)}`;
}
