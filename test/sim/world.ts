/** A whole cluster in simulated time, made from one seed: etcd, managers, machines, users, and what goes wrong. */
import type { Prng } from '../../shared/lib/prng.ts';
import { prng } from '../../shared/lib/prng.ts';
import type { Node, NodeSpec, ServiceDependency } from '../../shared/model/index.ts';
import { cluster, GB, SECOND } from '../unit/plan/_cluster.ts';
import type { SpecChanges, TestCluster } from '../unit/plan/_cluster.ts';
import { createContainer, wantContainer } from '../unit/plan/_containers.ts';
import { checkQuiet } from './checks.ts';
import { ContinuousChecks } from './continuous-checks.ts';
import { newFileSystem } from './fake-files.ts';
import type { Faults } from './faults.ts';
import { AUTOSCALE, Load, SCALED } from './load.ts';
import { Network } from './network.ts';
import { SimEtcd } from './sim-etcd.ts';
import { SimMachine } from './sim-machine.ts';
import { SimManager } from './sim-manager.ts';
import { Timeline } from './timeline.ts';
import { Trace } from './trace.ts';
import { Troubles } from './troubles.ts';

/** Of silence, after which a node is down: in trouble, and when nothing happens (fewer heartbeats to simulate). */
const DOWN_AFTER_MS = 2000;
const MINUTE_MS = 60_000;
/** More in a minute of peace are a loop that nothing ends. */
const RESTLESS_EVENTS = 20_000;
const DOWN_AFTER_QUIET_MS = 3_600_000;
/** Much longer than every delay, monitoring time and stop that the simulated services have. */
const QUIET_MS = 360 * 60_000;
/** Where what is used is measured every few seconds, and an hour has thousands of plans. */
const MEASURED_QUIET_MS = 60 * 60_000;
/** Before the end of a quiet time in which nothing at all may be written. */
const IDLE_MS = 3 * 60_000;
/** Clocks of machines are wrong by so much at most. */
const MAX_SKEW_MS = 2 * 3_600_000;
const CONTAINERS = ['box', 'tool', 'once'];
/** How often the simulated cron job runs. */
const CRON_MS = 10 * 60_000;
const ONE_GPU = { genericResources: [{ kind: 'gpu', count: 1 }] };
const SERVICES = ['web', 'api', 'db', 'agent', 'job', 'batch', 'sweep', 'clock'];

export interface WorldOptions {
  readonly faults?: Faults;
  /** Gets every event. */
  readonly print?: (line: string) => void;
}

export class World {
  readonly random: Prng;
  readonly time = new Timeline();
  readonly files = newFileSystem();
  readonly faults: Faults;
  readonly trace: Trace;
  readonly swarm: TestCluster;
  readonly etcd: SimEtcd;
  readonly network: Network;
  readonly machines = new Map<string, SimMachine>();
  readonly managers = new Map<string, SimManager>();
  readonly checks: ContinuousChecks;
  readonly troubles: Troubles;
  /** The store's revision some time before a quiet time ends. */
  idleRevision = 0;
  /** When something last happened that is no fault of the product. */
  troubledAtMs = Number.NEGATIVE_INFINITY;
  /** The same of what keeps managers from hearing the nodes. */
  managersTroubledAtMs = Number.NEGATIVE_INFINITY;
  /** What ends each process that ever was, dead or alive. */
  readonly roots: AbortController[] = [];
  /** In one world of four: a service is scaled by what it uses. */
  readonly load: Load | undefined;
  readonly #quietMs: number;
  /** Of 1,000: how often a step fails. 0 in quiet times. */
  #failRate = 0;

  constructor(seed: string, { faults = {}, print }: WorldOptions = {}) {
    this.random = prng(seed);
    this.load = prng(`load of ${seed}`).below(4) === 0 ? new Load(this) : undefined;
    this.#quietMs = this.load === undefined ? QUIET_MS : MEASURED_QUIET_MS;
    this.faults = faults;
    this.trace = new Trace(this.time, print);
    this.swarm = cluster({ taskHistoryLimit: this.random.below(6), nodeDownAfterMs: DOWN_AFTER_MS });
    this.etcd = new SimEtcd(this.swarm.store, this.time, this.random);
    this.network = new Network(this.time, this.random);
    this.checks = new ContinuousChecks(this);
    this.troubles = new Troubles(this);
    this.#tick();
    this.#observe();
    this.swarm.network('front').network('back', { subnet: '10.77.0.0/24' });
    const managers = 1 + this.random.below(3);
    for (let i = 1; i <= managers; i += 1) this.managers.set(`m${i}`, new SimManager(this, `m${i}`));
    const count = 2 + this.random.below(6);
    for (let i = 1; i <= count; i += 1) this.#join(`n${i}`);
    if (this.load !== undefined) this.#changeService(SCALED);
    this.troubles.elect();
  }

  /** Some trouble, then peace, then the checks. */
  async round(): Promise<void> {
    this.#setPatience(DOWN_AFTER_MS);
    await this.time.advance(DOWN_AFTER_MS);
    this.#failRate = [0, 20, 200][this.random.below(3)] ?? 0;
    const events = 5 + this.random.below(25);
    // The leader plans everything anew when a setting changes: what it did not notice after this is to be seen.
    const patientFrom = events - this.random.below(6);
    for (let i = 0; i < events; i += 1) {
      this.#tick();
      if (i === patientFrom) this.#setPatience(DOWN_AFTER_QUIET_MS);
      this.#something();
      // Often at once, so that it meets a leader between its plan and its commit.
      await this.time.advance(this.random.below(this.pick([12, 12, 800, 800, 20_000])));
    }
    this.#failRate = 0;
    if (patientFrom === events) this.#setPatience(DOWN_AFTER_QUIET_MS);
    this.troubles.end();
    // Between two runs of the cron job, when its containers have ended.
    await this.#rest(this.#quietMs - IDLE_MS - ((this.time.now + this.#quietMs + CRON_MS / 2) % CRON_MS));
    this.idleRevision = this.swarm.store.revision;
    await this.#rest(IDLE_MS);
    this.#tick();
    this.trace.note('world', 'quiet: checking');
    checkQuiet(this);
  }

  /** A cluster that works on and on would take hours of our time for the hours of a quiet one. */
  async #rest(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= MINUTE_MS) {
      const before = this.time.events;
      await this.time.advance(Math.min(left, MINUTE_MS));
      const events = this.time.events - before;
      if (events > RESTLESS_EVENTS)
        throw new Error(`a quiet cluster would be written on and on: ${events} events within a minute`);
    }
  }

  /** Lets go of everything that waits for something: else the next world's memory comes on top. */
  async close(): Promise<void> {
    for (const stop of this.roots) stop.abort();
    await this.time.settle();
  }

  failsNow(step: 'preparing' | 'starting' | 'running'): boolean {
    return this.random.below(1000) < (step === 'running' ? this.#failRate * 2 : this.#failRate);
  }

  /** Until a container's end is considered. */
  lifetime(): number {
    return this.random.below(30_000);
  }

  /** Where an agent looks for managers: all of them, beginning anywhere. */
  managerAddresses(): string[] {
    const all = [...this.managers.keys()];
    const first = this.random.below(all.length);
    return [...all.slice(first), ...all.slice(0, first)];
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.random.below(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  /** Writes what changes into the trace, and into the checks. */
  #observe(): void {
    this.checks.watch();
    this.etcd.onWritten = (transaction) => this.checks.written(transaction);
    this.swarm.store.onChange((changes) => {
      for (const { table, key, after } of changes) {
        const { trace } = this;
        if (table === 'tasks')
          trace.note(
            'etcd',
            `task ${key}`,
            after && `${after.serviceId}.${after.slot} ${after.desired} on ${after.nodeId}`,
          );
        else if (table === 'statuses') trace.note('etcd', `status ${key}`, after?.state ?? 'gone');
        else if (table === 'nodes') trace.note('etcd', `node ${key}`, after?.status ?? 'gone');
        else if (table === 'services')
          trace.note(
            'etcd',
            `service ${key}`,
            after && `revision ${after.revision} ${after.updateStatus?.state ?? ''}`,
          );
      }
    });
  }

  #tick(): void {
    this.swarm.now = this.time.now;
  }

  #something(): void {
    this.troubledAtMs = this.time.now;
    if (this.random.below(5) === 0) return this.#changeContainer(this.pick(CONTAINERS));
    if (this.load !== undefined && this.random.below(5) === 0) return this.load.change();
    const dice = this.random.below(100);
    const name = this.pick(SERVICES);
    const node = this.pick([...this.machines.keys()]);
    // A leader that has just written something is followed by one that may not have seen it.
    if (this.random.below(8) === 0) this.time.world(this.random.below(30), () => this.troubles.elect());
    if (dice < 36) this.#changeService(name);
    else if (dice < 43) this.#removeService(name);
    else if (dice < 48)
      this.#editNode(node, { availability: this.pick(['active', 'drain', 'pause'] as const) });
    else if (dice < 52) this.#editNode(node, { labels: { zone: this.pick(['a', 'b']) } });
    else if (dice < 55 && this.machines.size < 10) this.#join(`n${this.swarm.store.revision}`);
    else if (dice < 57 && this.machines.size > 1) this.#removeNode(node);
    else this.troubles.something();
  }

  #setPatience(nodeDownAfterMs: number): void {
    const { store } = this.swarm;
    const before = store.get('cluster', 'self');
    if (before !== undefined) this.swarm.put('cluster', 'self', { ...before, nodeDownAfterMs });
  }

  #changeService(name: string): void {
    const before = this.swarm.store.get('services', name);
    if (before?.removing === true) return;
    if (before !== undefined && this.random.below(3) > 0) {
      const scale = this.random.below(2) === 0 && name !== 'agent';
      this.swarm.service(
        name,
        scale ? { ...this.#randomSize(name) } : { image: `img:${this.random.below(5)}` },
      );
      return;
    }
    this.swarm.service(name, this.#randomSpec(name));
  }

  #changeContainer(name: string): void {
    const service = this.swarm.store.get('services', name);
    if (service?.removing === true) return;
    if (service === undefined) {
      const condition = this.pick(['none', 'any', 'on-failure'] as const);
      const maxAttempts = condition === 'on-failure' ? this.random.below(3) : 0;
      createContainer(this.swarm, name, {
        restart: { condition, maxAttempts },
        autoRemove: name === 'once' && condition === 'none',
        networks: this.pick([[], ['front']]).map((network) => ({ network, aliases: [] })),
      });
    } else if (this.random.below(6) === 0) this.swarm.removeService(name);
    else wantContainer(this.swarm, name, this.pick(['running', 'running', 'held', 'stopped'] as const));
  }

  #randomSpec(name: string): SpecChanges {
    const update = {
      parallelism: this.random.below(3),
      delayNs: this.random.below(3) * SECOND,
      order: this.pick(['stop-first', 'start-first'] as const),
      failureAction: this.pick(['pause', 'continue', 'rollback'] as const),
      maxFailureRatio: this.random.below(2) * 0.3,
      monitorNs: this.random.below(10) * SECOND,
    };
    return {
      ...this.#randomSize(name),
      image: `img:${this.random.below(5)}`,
      networks: this.pick([[], ['front'], ['front', 'back']]).map((network) => ({ network, aliases: [] })),
      ports:
        this.random.below(3) === 0
          ? [{ protocol: 'tcp', targetPort: 80, publishedPort: this.random.below(2) * 8080, mode: 'ingress' }]
          : [],
      constraints: this.random.below(4) === 0 ? ['node.labels.zone==a'] : [],
      reservations: this.pick([{}, {}, {}, { memoryBytes: GB }, { memoryBytes: 3 * GB }, ONE_GPU]),
      ...(this.random.below(3) === 0 ? { priority: this.random.below(5) - 2 } : {}),
      placement: { maxReplicasPerNode: this.random.below(5) === 0 ? 2 : 0 },
      restart: {
        condition: name === 'job' ? this.pick(['none', 'on-failure'] as const) : 'any',
        delayNs: this.random.below(8) * SECOND,
        maxAttempts: this.random.below(4) === 0 ? 3 : 0,
      },
      update,
      rollback: update,
      dependsOn: this.random.below(3) === 0 ? this.#dependencies(name) : [],
      ...this.pick([
        {},
        {},
        { drain: 'stop-first' },
        { drain: 'at-once' },
        { rebalanceEveryMs: 5000 },
      ] as const),
      ...(this.load !== undefined && name === SCALED ? { autoscale: AUTOSCALE, dependsOn: [] } : {}),
    };
  }

  #randomSize(name: string): SpecChanges {
    if (name === 'agent') return { global: true };
    if (name === 'sweep') return { mode: { kind: 'global-job' } };
    if (name === 'clock') {
      const concurrency = this.pick(['allow', 'forbid', 'replace'] as const);
      const when = { schedule: '*/10 * * * *', timeZone: 'UTC', catchUpMs: 5000, history: 3 };
      return { mode: { kind: 'cron', concurrency, ...when } };
    }
    if (name !== 'batch') return { replicas: this.random.below(12) };
    const [totalCompletions, maxConcurrent] = [this.random.below(10), this.random.below(5)];
    return { mode: { kind: 'replicated-job', totalCompletions, maxConcurrent } };
  }

  /** On services further down the list only, so that none wait for one another. */
  #dependencies(name: string): ServiceDependency[] {
    return SERVICES.slice(SERVICES.indexOf(name) + 1)
      .filter(() => this.random.below(2) === 0)
      .map((service) => ({
        service,
        condition: service === 'job' ? this.pick(['started', 'completed'] as const) : 'started',
        required: this.random.below(3) > 0,
      }));
  }

  #removeService(name: string): void {
    const service = this.swarm.store.get('services', name);
    if (service !== undefined && service.removing !== true) this.swarm.removeService(name);
  }

  #join(id: string): void {
    const taken = [...this.swarm.store.all('nodes').values()].map(({ index }) => index);
    const index = 1 + Math.max(0, ...taken);
    const node: Node = {
      id,
      spec: { role: 'worker', availability: 'active', labels: { zone: this.pick(['a', 'b']) } },
      status: 'unknown',
      statusAtMs: this.time.now,
      createdAtMs: this.time.now,
      updatedAtMs: this.time.now,
      index,
    };
    this.swarm.put('nodes', id, node);
    const skewMs = this.random.below(3) === 0 ? this.random.below(2 * MAX_SKEW_MS) - MAX_SKEW_MS : 0;
    const machine = new SimMachine(this, id, index, skewMs);
    this.machines.set(id, machine);
    machine.startAgent();
  }

  /** What a user sets. */
  #editNode(id: string, change: Partial<NodeSpec>): void {
    const node = this.swarm.store.get('nodes', id);
    if (node !== undefined)
      this.swarm.put('nodes', id, { ...node, spec: { ...node.spec, ...change }, updatedAtMs: this.time.now });
  }

  #removeNode(id: string): void {
    this.trace.note('user', `removes node ${id}`);
    this.swarm.removeNode(id);
    this.machines.get(id)?.losePower();
    this.machines.delete(id);
  }
}
