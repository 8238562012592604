/** A whole cluster in simulated time, made from one seed: store, leaders, agents, users, and what goes wrong. */
import type { Prng } from '../../shared/lib/prng.ts';
import { prng } from '../../shared/lib/prng.ts';
import type { ServiceDependency, TaskState, TaskStatus } from '../../shared/model/index.ts';
import { compareStates } from '../../shared/model/index.ts';
import { cluster, GB, SECOND } from '../unit/plan/_cluster.ts';
import type { SpecChanges, TestCluster } from '../unit/plan/_cluster.ts';
import { createContainer, wantContainer } from '../unit/plan/_containers.ts';
import { checkQuiet, ContinuousChecks } from './checks.ts';
import { SimAgent } from './sim-agent.ts';
import { SimLeader } from './sim-leader.ts';
import { Timeline } from './timeline.ts';

const NODE_DOWN_AFTER_MS = 2000;
/** Longer than every delay, monitoring time and stop that the simulated services have. */
const QUIET_MS = 30 * 60_000;
const CONTAINERS = ['box', 'tool', 'once'];
/** How often the simulated cron job runs. */
const CRON_MS = 10 * 60_000;
const ONE_GPU = { genericResources: [{ kind: 'gpu', count: 1 }] };
const SERVICES = ['web', 'api', 'db', 'agent', 'job', 'batch', 'sweep', 'clock'];

export class World {
  readonly random: Prng;
  readonly time = new Timeline();
  readonly swarm: TestCluster;
  readonly agents = new Map<string, SimAgent>();
  readonly leaders: SimLeader[] = [];
  /** Of 1,000: how often a step fails. 0 in quiet times. */
  #failRate = 0;
  readonly #deliveries = new Set<string>();

  constructor(seed: string) {
    this.random = prng(seed);
    this.swarm = cluster({ taskHistoryLimit: this.random.below(6) });
    this.#tick();
    new ContinuousChecks(this).watch();
    this.swarm.store.onChange((changes) => {
      for (const change of changes) {
        if (change.table !== 'tasks') continue;
        const nodeId = change.after?.nodeId ?? change.before?.nodeId;
        if (nodeId !== undefined) this.#deliver(nodeId);
      }
    });
    this.swarm.network('front').network('back', { subnet: '10.77.0.0/24' });
    const count = 2 + this.random.below(6);
    for (let i = 1; i <= count; i += 1) this.#join(`n${i}`);
    this.#elect();
  }

  /** Some trouble, then peace, then the checks. */
  round(): void {
    this.#failRate = [0, 20, 200][this.random.below(3)] ?? 0;
    const events = 5 + this.random.below(25);
    for (let i = 0; i < events; i += 1) {
      this.#tick();
      this.#something();
      // Often at once, so that it meets a leader between its plan and its commit.
      this.time.advance(this.random.below(this.#pick([12, 12, 800, 800, 20_000])));
    }
    this.#failRate = 0;
    this.#tick();
    for (const id of this.agents.keys()) this.#heal(id);
    // Between two runs of the cron job, when its containers have ended.
    this.time.advance(QUIET_MS - ((this.time.now + QUIET_MS + CRON_MS / 2) % CRON_MS));
    this.#tick();
    checkQuiet(this);
  }

  failsNow(state: TaskState): boolean {
    return this.random.below(1000) < (state === 'running' ? this.#failRate * 2 : this.#failRate);
  }

  /** Until a container's end is considered. */
  lifetime(): number {
    return this.random.below(30_000);
  }

  /** A status on its way: late, twice, overtaken by the next. */
  carry(nodeId: string, status: TaskStatus): void {
    this.time.in(1 + this.random.below(100), () => this.#intake(nodeId, status));
    if (this.random.below(10) === 0) this.time.in(this.random.below(800), () => this.#intake(nodeId, status));
  }

  /** What the dispatcher does with a report: only a node's own tasks, never backwards. */
  #intake(nodeId: string, status: TaskStatus): void {
    const { store } = this.swarm;
    if (store.get('tasks', status.taskId)?.nodeId !== nodeId) return;
    const before = store.get('statuses', status.taskId);
    if (before !== undefined && compareStates(status.state, before.state) <= 0) return;
    this.#tick();
    store.commitNow([{ table: 'statuses', key: status.taskId, value: status }]);
  }

  #deliver(nodeId: string): void {
    if (this.#deliveries.has(nodeId)) return;
    this.#deliveries.add(nodeId);
    this.time.in(1 + this.random.below(40), () => {
      this.#deliveries.delete(nodeId);
      const { store } = this.swarm;
      if (store.get('nodes', nodeId)?.status !== 'ready') return;
      const tasks = [...store.tasksOfNode(nodeId)].flatMap((id) => store.get('tasks', id) ?? []);
      this.agents.get(nodeId)?.receive(tasks);
    });
  }

  #tick(): void {
    this.swarm.now = this.time.now;
  }

  #something(): void {
    if (this.random.below(5) === 0) return this.#changeContainer(this.#pick(CONTAINERS));
    const dice = this.random.below(100);
    const name = this.#pick(SERVICES);
    const node = this.#pick([...this.agents.keys()]);
    if (dice < 40) this.#changeService(name);
    else if (dice < 48) this.#removeService(name);
    else if (dice < 60) this.#lose(node, dice % 2 === 0);
    else if (dice < 75) this.#heal(node);
    else if (dice < 82)
      this.swarm.node(node, { availability: this.#pick(['active', 'drain', 'pause'] as const) });
    else if (dice < 87) this.swarm.node(node, { labels: { zone: this.#pick(['a', 'b']) } });
    else if (dice < 90 && this.agents.size < 10) this.#join(`n${this.swarm.store.revision}`);
    else if (dice < 92 && this.agents.size > 1) this.#removeNode(node);
    else if (dice < 97) this.#elect();
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[this.random.below(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
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
      const condition = this.#pick(['none', 'any', 'on-failure'] as const);
      const maxAttempts = condition === 'on-failure' ? this.random.below(3) : 0;
      createContainer(this.swarm, name, {
        restart: { condition, maxAttempts },
        autoRemove: name === 'once' && condition === 'none',
        networks: this.#pick([[], ['front']]).map((network) => ({ network, aliases: [] })),
      });
    } else if (this.random.below(6) === 0) this.swarm.removeService(name);
    else wantContainer(this.swarm, name, this.#pick(['running', 'running', 'held', 'stopped'] as const));
  }

  #randomSpec(name: string): SpecChanges {
    const update = {
      parallelism: this.random.below(3),
      delayNs: this.random.below(3) * SECOND,
      order: this.#pick(['stop-first', 'start-first'] as const),
      failureAction: this.#pick(['pause', 'continue', 'rollback'] as const),
      maxFailureRatio: this.random.below(2) * 0.3,
      monitorNs: this.random.below(10) * SECOND,
    };
    return {
      ...this.#randomSize(name),
      image: `img:${this.random.below(5)}`,
      networks: this.#pick([[], ['front'], ['front', 'back']]).map((network) => ({ network, aliases: [] })),
      ports:
        this.random.below(3) === 0
          ? [{ protocol: 'tcp', targetPort: 80, publishedPort: this.random.below(2) * 8080, mode: 'ingress' }]
          : [],
      constraints: this.random.below(4) === 0 ? ['node.labels.zone==a'] : [],
      reservations: this.#pick([{}, {}, {}, { memoryBytes: GB }, { memoryBytes: 3 * GB }, ONE_GPU]),
      ...(this.random.below(3) === 0 ? { priority: this.random.below(5) - 2 } : {}),
      placement: { maxReplicasPerNode: this.random.below(5) === 0 ? 2 : 0 },
      restart: {
        condition: name === 'job' ? this.#pick(['none', 'on-failure'] as const) : 'any',
        delayNs: this.random.below(8) * SECOND,
        maxAttempts: this.random.below(4) === 0 ? 3 : 0,
      },
      update,
      rollback: update,
      dependsOn: this.random.below(3) === 0 ? this.#dependencies(name) : [],
      ...this.#pick([
        {},
        {},
        { drain: 'stop-first' },
        { drain: 'at-once' },
        { rebalanceEveryMs: 5000 },
      ] as const),
    };
  }

  #randomSize(name: string): SpecChanges {
    if (name === 'agent') return { global: true };
    if (name === 'sweep') return { mode: { kind: 'global-job' } };
    if (name === 'clock') {
      const concurrency = this.#pick(['allow', 'forbid', 'replace'] as const);
      const when = { schedule: '*/10 * * * *', timeZone: 'UTC', catchUpMs: 5000, history: 3 };
      return { mode: { kind: 'cron', concurrency, ...when } };
    }
    if (name !== 'batch') return { replicas: this.random.below(12) };
    const [totalCompletions, maxConcurrent] = [this.random.below(10), this.random.below(5)];
    return { mode: { kind: 'replicated-job', totalCompletions, maxConcurrent } };
  }

  /** A job's container ends by itself. */
  isJob(taskId: string): boolean {
    const task = this.swarm.store.get('tasks', taskId);
    return ['batch', 'sweep', 'clock'].includes(task?.serviceId ?? '');
  }

  /** On services further down the list only, so that none wait for one another. */
  #dependencies(name: string): ServiceDependency[] {
    return SERVICES.slice(SERVICES.indexOf(name) + 1)
      .filter(() => this.random.below(2) === 0)
      .map((service) => ({
        service,
        condition: service === 'job' ? this.#pick(['started', 'completed'] as const) : 'started',
        required: this.random.below(3) > 0,
      }));
  }

  #removeService(name: string): void {
    const service = this.swarm.store.get('services', name);
    if (service !== undefined && service.removing !== true) this.swarm.removeService(name);
  }

  #join(id: string): void {
    const genericResources = [{ kind: 'gpu', names: [`${id}-a`, `${id}-b`] }];
    this.swarm.node(id, { labels: { zone: this.#pick(['a', 'b']) }, description: { genericResources } });
    this.agents.set(id, new SimAgent(this, id));
  }

  /** Cut off (its containers run on) or without power. */
  #lose(id: string, power: boolean): void {
    const agent = this.agents.get(id);
    if (agent === undefined || !agent.connected) return;
    if (power) agent.crash();
    agent.connected = false;
    this.time.in(NODE_DOWN_AFTER_MS, () => {
      if (agent.connected || !this.agents.has(id)) return;
      this.#tick();
      this.swarm.node(id, { status: 'down' });
    });
  }

  #heal(id: string): void {
    const agent = this.agents.get(id);
    if (agent === undefined || agent.connected) return;
    agent.comeBack();
    this.swarm.node(id, { status: 'ready' });
    this.#deliver(id);
  }

  #removeNode(id: string): void {
    this.swarm.removeNode(id);
    this.agents.delete(id);
  }

  #elect(): void {
    const fence = {
      key: `/election/${this.leaders.length}`,
      createRevision: String(this.leaders.length + 1),
    };
    this.swarm.store.leader = fence;
    this.leaders.push(new SimLeader(this.swarm.store, this.time, this.random, fence));
  }
}
