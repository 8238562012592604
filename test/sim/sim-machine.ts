/**
 * A machine of the simulated cluster: containers that outlive the agent, a disk that outlives the machine's power, and the
 * real agent on top: session link, worker, runners, saved assignments.
 */
import { setMaxListeners } from 'node:events';
import { SessionLink } from '../../agent/session/session-link.ts';
import { UsageReports } from '../../agent/worker/usage-reports.ts';
import { Worker } from '../../agent/worker/worker.ts';
import type { WebSocket } from 'ws';
import { delay } from '../../shared/lib/abort.ts';
import type {
  AssignmentSet,
  NodeDescription,
  TaskAssignment,
  TaskState,
  TaskStatus,
} from '../../shared/model/index.ts';
import { isJob } from '../../shared/model/index.ts';
import { EMPTY_ASSIGNMENTS } from '../../shared/wire/assignment-diff.ts';
import { GB } from '../unit/plan/_cluster.ts';
import { type Exit, SimExecutor } from './sim-executor.ts';
import { SimProcess } from './timeline.ts';
import type { World } from './world.ts';
import { newSpecKeys } from '../../shared/wire/spec-keys.ts';

/** What the machine's disk knows of a container, and its kernel. */
export interface Container {
  readonly taskId: string;
  readonly task: TaskAssignment;
  /** By the machine's clock. */
  readonly startedAtMs: number;
  runs: boolean;
  exit: Exit | undefined;
  readonly waiters: Set<(exit: Exit) => void>;
}

const TLS = { ca: '', cert: '', key: '' };

export class SimMachine {
  readonly nodeId: string;
  readonly world: World;
  readonly index: number;
  readonly skewMs: number;
  readonly containers = new Map<string, Container>();
  powered = true;
  /** Undefined while no agent runs. */
  agent: SimProcess | undefined;
  /** What its kernel's networks do now. */
  applied: AssignmentSet = EMPTY_ASSIGNMENTS;
  /** The newest that its agent was told. */
  told: AssignmentSet = EMPTY_ASSIGNMENTS;
  session: { readonly manager: string; readonly sinceMs: number } | undefined;
  /** When something was last done to it that excuses its being down. */
  troubledAtMs = Number.NEGATIVE_INFINITY;
  #stop = new AbortController();
  #asked = 0;
  #done = 0;

  constructor(world: World, nodeId: string, index: number, skewMs: number) {
    this.world = world;
    this.nodeId = nodeId;
    this.index = index;
    this.skewMs = skewMs;
  }

  get isDiskFull(): boolean {
    return this.world.files.full.has(this.nodeId);
  }

  get running(): Container[] {
    return [...this.containers.values()].filter(({ runs }) => runs);
  }

  startAgent(): void {
    if (!this.powered || this.agent?.alive === true) return;
    const process = new SimProcess(`agent ${this.nodeId}`, this.skewMs);
    this.agent = process;
    this.#stop = new AbortController();
    this.world.roots.push(this.#stop);
    setMaxListeners(0, this.#stop.signal);
    const { signal } = this.#stop;
    this.world.time.start(process, () => this.#run(process, signal));
  }

  /** SIGKILL: its containers go on. */
  killAgent(): void {
    if (this.agent === undefined) return;
    this.agent.alive = false;
    this.world.network.hangUp(this.agent);
    this.session = undefined;
  }

  /** SIGTERM. */
  stopAgent(): void {
    const stop = this.#stop;
    this.world.time.in(0, () => stop.abort(), this.agent);
  }

  losePower(): void {
    this.powered = false;
    this.session = undefined;
    if (this.agent !== undefined) this.agent.alive = false;
    this.world.network.vanish(this.nodeId);
    for (const container of this.containers.values()) {
      container.runs = false;
      container.waiters.clear();
    }
    this.applied = EMPTY_ASSIGNMENTS;
    // What was kept in memory is gone; the containers' records are on the disk.
    this.world.files.contents.delete(this.#assignmentPath(true));
  }

  start(): void {
    this.powered = true;
    this.startAgent();
  }

  launch(task: TaskAssignment): Container {
    const { time, checks } = this.world;
    const container: Container = {
      taskId: task.taskId,
      task,
      startedAtMs: Date.now(),
      runs: true,
      exit: undefined,
      waiters: new Set(),
    };
    this.containers.set(task.taskId, container);
    checks.launched(this, task);
    time.world(this.world.lifetime(), () => this.#consider(container));
    return container;
  }

  /** It was running when the machine lost power. */
  lost(container: Container): Exit {
    container.exit = { code: 255, error: 'the container was lost' };
    return container.exit;
  }

  ended(container: Container, exit: Exit): void {
    container.runs = false;
    container.exit ??= exit;
    for (const wake of container.waiters) wake(container.exit);
    container.waiters.clear();
  }

  /** Resolves when it has ended. */
  end(container: Container, interrupt: AbortSignal): Promise<Exit> {
    if (container.exit !== undefined) return Promise.resolve(container.exit);
    if (!container.runs) return Promise.resolve(this.lost(container));
    return new Promise((resolve, reject) => {
      const owner = this.world.time.current;
      const wake = (exit: Exit): void => {
        interrupt.removeEventListener('abort', onAbort);
        // The monitor tells the agent.
        this.world.time.in(1, () => resolve(exit), owner);
      };
      const onAbort = (): void => {
        container.waiters.delete(wake);
        reject(interrupt.reason as Error);
      };
      if (interrupt.aborted) return onAbort();
      interrupt.addEventListener('abort', onAbort, { once: true });
      container.waiters.add(wake);
    });
  }

  /** Its process ends by itself, if the world says so. */
  #consider(container: Container): void {
    if (!container.runs) return;
    const { world } = this;
    const job = isJob(container.task.spec.mode);
    const fails = world.failsNow('running');
    if (!fails && !job) return;
    const completes = job ? !fails : world.random.below(4) === 0;
    world.trace.note(this.nodeId, `container of ${container.taskId} ends`, completes ? 'well' : 'badly');
    this.ended(container, { code: completes ? 0 : 1 });
  }

  #assignmentPath(inMemory: boolean): string {
    return `/sim/${this.nodeId}/${inMemory ? 'run' : 'disk'}/assignments.json`;
  }

  /** As agent/main.ts puts it together. */
  async #run(process: SimProcess, signal: AbortSignal): Promise<void> {
    const { world, nodeId } = this;
    const inMemory = this.index % 2 === 0;
    const logger = world.trace.logger(nodeId);
    const executor = new SimExecutor(this);
    const reports: { send: (status: TaskStatus) => void } = { send: () => undefined };
    const worker = new Worker({
      executor: world.faults.executor?.(executor) ?? executor,
      networks: { apply: (set) => this.#apply(set, signal) },
      report: (status) => reports.send(status),
      adopted: new Map<string, TaskState>([...this.containers.keys()].map((id) => [id, 'starting'])),
      assignments: { path: this.#assignmentPath(inMemory), inMemory },
      files: { take: () => undefined },
      now: Date.now,
      logger,
      signal,
    });
    const link = new SessionLink(
      { nodeId, managers: world.managerAddresses(), description: this.#description(), tls: TLS },
      {
        onAssignments: (set, acknowledge, whole) => {
          this.told = set;
          usage.take(set);
          worker.assign(set, acknowledge, whole);
        },
        call: () => Promise.reject(new Error('no calls here')),
        stream: () => {
          throw new Error('no streams here');
        },
      },
      logger,
      (manager) => this.#connect(manager),
    );
    reports.send = (status) => link.report(status);
    const usage = this.#usageReports(link);
    signal.addEventListener('abort', () => usage.close(), { once: true });
    await worker.resume();
    await link.run(signal);
    await worker.close();
    process.alive = false;
  }

  #usageReports(link: SessionLink): UsageReports {
    return new UsageReports({
      runDirOf: (taskId) => (this.containers.get(taskId)?.runs === true ? taskId : undefined),
      read: async (taskId) => {
        const container = this.containers.get(taskId);
        return container?.runs === true ? this.world.load?.read(container) : undefined;
      },
      send: (tasks) => {
        if (this.world.faults.noUsage !== true) link.reportUsage(tasks);
      },
      steadyMs: () => this.world.time.now,
      logger: this.world.trace.logger(this.nodeId),
    });
  }

  #connect(manager: string): WebSocket {
    const socket = this.world.network.connect(this.nodeId, manager);
    if (this.world.faults.noBeats === true) {
      const send = socket.send.bind(socket);
      socket.ping = () => undefined;
      socket.send = (data) => data === '{"type":"beat"}' || send(data);
    }
    // With the first frame from the manager, which knows of the session then; an open socket is none yet.
    socket.once('message', () => {
      this.session = { manager, sinceMs: this.world.time.now };
    });
    socket.on('close', () => {
      this.session = undefined;
    });
    return socket as unknown as WebSocket;
  }

  /** Most often at once; sometimes the kernel is busy. */
  async #apply(set: AssignmentSet, signal: AbortSignal): Promise<void> {
    const { random } = this.world;
    this.#asked += 1;
    const turn = this.#asked;
    await delay(random.below(20) === 0 ? random.below(1500) : random.below(20), signal);
    if (turn < this.#done) return;
    this.#done = turn;
    this.applied = set;
  }

  #description(): NodeDescription {
    return {
      hostname: this.nodeId,
      os: 'linux',
      arch: 'x86_64',
      nanoCpus: 4e9,
      memoryBytes: 8 * GB,
      genericResources: [{ kind: 'gpu', names: [`${this.nodeId}-a`, `${this.nodeId}-b`] }],
      localSubnets: [],
      engineVersion: '0.1.0',
      knows: newSpecKeys(),
      engineLabels: {},
      address: `192.168.${Math.floor(this.index / 256)}.${this.index % 256}`,
    };
  }
}
