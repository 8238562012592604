/**
 * The networks of one node. The newest assignment set wins; work is done one at a time: what should be is computed,
 * compared with what is, and the difference applied; the same again on a timer.
 */
import { ConflictError, describeError, NotFoundError } from '../../shared/errors/index.ts';
import { delay, isAbort } from '../../shared/lib/abort.ts';
import { backoffMs } from '../../shared/lib/backoff.ts';
import { Mutex } from '../../shared/lib/mutex.ts';
import {
  type AssignmentSet,
  hasForeignNetwork,
  type TaskAddress,
  type TaskAssignment,
} from '../../shared/model/index.ts';
import { adopt } from './adopt.ts';
import { attachPlan } from './attach.ts';
import { requireAttachable } from './may-attach.ts';
import { Changes } from './changes.ts';
import { type DesiredChange, DesiredTracker } from './desired-tracker.ts';
import { detachPlan, leftBy } from './detach.ts';
import type { RowChanges } from './endpoint-index.ts';
import { hostPortsOf } from './host-ports.ts';
import { Lingering } from './lingering.ts';
import { localTasks, neededNetworks, requireTunnels, type Self } from './local.ts';
import type { NetworkDriverOptions } from './driver-options.ts';
import { DnsService } from './dns-service.ts';
import { ForeignPorts } from './foreign-ports.ts';
import { warnOfForwardDrop } from './forward-policy.ts';
import { Kernel } from './kernel.ts';
import { hasAll, LiveWiring } from './live-wiring.ts';
import { prefixOf, requireClusterName } from './names.ts';
import { NetworkNews } from './network-news.ts';
import type { NamespaceDump } from './observe.ts';
import { requireOtherNamespace } from './own-namespace.ts';
import { removeAll } from './remove-all.ts';
import { type ReadyNamespace, ReadyNamespaces } from './ready-namespaces.ts';
import { readHostResolvers } from './resolv-conf.ts';
import { resolvConfOfTask } from './task-resolv-conf.ts';
import { isOutside } from './outside-links.ts';
import type { Plan } from './plan.ts';
import { Outside } from './outside.ts';
import { NETNS_DIR, selfOf } from './self.ts';
import { chooseSlots } from './uplink-slots.ts';
import { SetChanges } from './set-changes.ts';
import { flowPlaces, flushes } from './withdrawn.ts';

const ATTEMPTS = 5;
const REPAIR_MS = 10_000;
/** A look that takes long is made less often: it is at most so small a part of the time. */
const REPAIR_SPARING = 50;

export class NetworkDriver {
  readonly #options: NetworkDriverOptions;
  readonly #prefix: string;
  readonly #kernel: Kernel;
  readonly #dns: DnsService;
  readonly #foreignPorts: ForeignPorts;
  readonly #work = new Mutex();
  readonly #closing = new AbortController();
  readonly #repairs: Promise<void>;
  readonly #attached = new Map<string, TaskAssignment>();
  #deviceless: readonly TaskAssignment[] = [];
  readonly #ended = new Set<string>();
  readonly #lingering: Lingering;
  #lingerTimer: NodeJS.Timeout | undefined;
  #slots: ReadonlyMap<string, number> = new Map();
  readonly #tracker = new DesiredTracker();
  /** What is to be applied, and how it differs from what was applied last. */
  readonly #changes = new SetChanges();
  #set: AssignmentSet | undefined;
  #applied: AssignmentSet | undefined;
  readonly #outside: Outside;
  /** The kernel is to be read for what was done here: no difference is somebody else's. */
  #lookAnew = false;
  readonly #wiring: LiveWiring;
  /** Tasks whose interfaces are to be looked at. */
  #due: ReadonlySet<string> = new Set();
  /** Of those, tasks whose interfaces went with what is below them on the host. */
  #broken: ReadonlySet<string> = new Set();
  /** Counts changes of the two sets of tasks. */
  #localRevision = 0;
  #pending: Promise<void> | undefined;
  readonly #news: NetworkNews;
  readonly #ready = new ReadyNamespaces();
  /** Called after each successful change: wakes those who wait for their task to be known. */
  readonly #awaited = new Changes();

  constructor(options: NetworkDriverOptions) {
    requireClusterName(options.clusterName);
    this.#options = options;
    this.#prefix = prefixOf(options.clusterName, options.nodeId);
    this.#kernel = new Kernel(this.#prefix, options.netnsDir ?? NETNS_DIR);
    this.#outside = new Outside(options);
    this.#wiring = new LiveWiring(options.live, this.#outside, this.#kernel, options.logger);
    this.#dns = new DnsService(
      options.nodeId,
      options.logger,
      () => options.hostResolvers ?? readHostResolvers(),
      options.live && ((taskId) => options.live?.netnsOf(taskId) ?? Promise.resolve(undefined)),
    );
    this.#foreignPorts = new ForeignPorts(options.logger);
    this.#lingering = new Lingering(options.lingerMs ?? 0);
    this.#news = new NetworkNews(options.logger, options.onReport);
    this.#repairs = this.#repairLoop(options.repairMs ?? REPAIR_MS);
  }

  /**
   * Resolves when the kernel is as this set, or a newer one, asks. Endpoints that stopped serving get no new connection
   * from then on. Rejects when the kernel refuses repeatedly; the next apply or repair tries again.
   */
  apply(set: AssignmentSet, signal: AbortSignal): Promise<void> {
    this.#changes.follow(this.#set, set);
    this.#set = set;
    return this.#reconcile(signal);
  }

  /** One to join, for a task that is known; none with networks of plugins, which are told of one that stays. */
  readyNamespace(taskId: string): ReadyNamespace | undefined {
    const set = this.#set;
    const task = set?.tasks.get(taskId);
    return set === undefined || task === undefined || isOutside(task, set) ? undefined : this.#ready.take();
  }

  /**
   * Gives a container its interfaces: called once its namespace exists (/proc/PID/ns/net) and before its first process
   * starts. Waits until the task is known. Doing it again for the same container changes nothing.
   */
  async attach(taskId: string, netnsPath: string, signal: AbortSignal): Promise<void> {
    while (this.#set?.tasks.get(taskId) === undefined) {
      signal.throwIfAborted();
      await this.#awaited.next(signal);
    }
    await this.#pending?.catch(() => undefined);
    requireOtherNamespace(this.#set.tasks.get(taskId), netnsPath);
    const known = this.#attached.has(taskId) ? undefined : this.#set.tasks.get(taskId);
    if (known !== undefined) await this.#outside.join(known, this.#set, netnsPath);
    const task = await this.#work.run(() => this.#attachNow(taskId, netnsPath, signal));
    // its ports may have been left to a program that ended since
    if (hostPortsOf(task).length > 0) await this.#reconcile(signal);
  }

  /** Takes the task's interfaces away, and its networks with them if it was the last one here. */
  async detach(taskId: string, signal: AbortSignal = this.#closing.signal): Promise<void> {
    const task = this.#attached.get(taskId);
    const known = this.#set?.tasks.get(taskId) ?? task;
    this.#attached.delete(taskId);
    // A device of the host below its interface may be to go, or a plugin has to be told.
    const outside = known !== undefined && this.#set !== undefined && isOutside(known, this.#set);
    this.#lookAnew ||= outside;
    this.#ended.add(taskId);
    this.#localRevision += 1;
    if (task !== undefined && !outside && (await this.#work.run(() => this.#detachNow(task)))) return;
    if (known !== undefined) await this.#reconcile(signal);
  }

  /** False when more may have to go than what is its own, or the kernel did not take it: all is then looked at. */
  async #detachNow(task: TaskAssignment): Promise<boolean> {
    const set = this.#set;
    if (set === undefined || !this.#kernel.isKnown) return false;
    const { hostDump, sandboxes } = await this.#kernel.observed();
    const plan = detachPlan(task, set, this.#self(set, hostDump), sandboxes);
    return plan !== undefined && this.#kernel.shrink(plan);
  }

  /** Resolves when the task's container has interfaces for these addresses, and no others. Rejects with why it has not. */
  async settled(taskId: string, addresses: readonly TaskAddress[], signal: AbortSignal): Promise<void> {
    for (;;) {
      const task = this.#set?.tasks.get(taskId);
      if (hasAll(task, addresses) && hasAll(this.#attached.get(taskId), addresses)) return;
      const problem = this.#wiring.problemOf(taskId);
      if (problem !== undefined) throw new ConflictError(problem);
      signal.throwIfAborted();
      await this.#awaited.next(signal);
    }
  }

  /** What `wire` says has changed. */
  async rekeyed(): Promise<void> {
    if (this.#set !== undefined) await this.#reconcile(this.#closing.signal);
  }

  /** Something beside the assignments has changed: it is looked at, and what goes wrong is said. */
  changed(): void {
    this.#said('networks were not applied', this.rekeyed());
  }

  /** The text of a task's /etc/resolv.conf. Throws NotFoundError for a task that is not this node's. */
  resolvConfFor(taskId: string): string {
    const task = this.#set?.tasks.get(taskId) ?? this.#attached.get(taskId);
    if (task === undefined || this.#set === undefined)
      throw new NotFoundError(`no task ${taskId} on this node`);
    return resolvConfOfTask(task, this.#set.networks, this.#outside.joinsOf(taskId));
  }

  /** Stops working. What tasks use stays in the kernel, for the next driver to take over. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#lingerTimer);
    this.#outside.close();
    this.#ready.close();
    await this.#repairs;
    await this.#work.run(async () => {
      await this.#leaveNoneBehind();
      await this.#dns.close();
    });
  }

  /** Removes everything that a cluster's drivers made on this host, when none of them runs any more. */
  static removeAll(clusterName: string, netnsDir = NETNS_DIR): Promise<void> {
    return removeAll(clusterName, netnsDir);
  }

  #reconcile(signal: AbortSignal): Promise<void> {
    this.#pending ??= this.#work.run(async () => {
      this.#pending = undefined;
      await this.#persist(AbortSignal.any([signal, this.#closing.signal]));
    });
    return this.#pending;
  }

  async #persist(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      signal.throwIfAborted();
      try {
        return await this.#reconcileOnce(attempt + 1 === ATTEMPTS);
      } catch (error) {
        this.#kernel.forget();
        this.#changes.lost();
        if (attempt + 1 >= ATTEMPTS) throw error;
        this.#options.logger.warn({ error: describeError(error) }, 'network change refused, trying again');
        await delay(backoffMs(attempt, 50, 1_000, Math.random()), signal);
      }
    }
  }

  /** `despite`: what the kernel refuses keeps nothing else from being done, and is the error in the end. */
  async #reconcileOnce(despite: boolean): Promise<void> {
    const set = this.#set;
    if (set === undefined) return;
    const rows = this.#changes.take();
    const isNew = this.#kernel.isKnown || set !== this.#applied;
    if (this.#lookAnew) this.#kernel.forget();
    this.#lookAnew = false;
    const change = await this.#desired(set, rows);
    const plan = await this.#kernel.plan(change);
    if (!isNew && !this.#foreignPorts.returned) this.#news.repaired(await this.#damage(plan, change, set));
    const gone = new Set([...plan.created, ...plan.removed]);
    await this.#dns.closeFor((vni) => gone.has(vni));
    const places = flowPlaces(await this.#kernel.observed(), change, this.#prefix);
    const forgotten = flushes(this.#applied, set, rows, this.#options.nodeId, places);
    const all = { ...plan, batches: [...plan.batches, ...forgotten] };
    const refusal = await this.#kernel.carryOut(all, change, despite);
    this.#applied = set;
    await this.#dns.serve(set, [...change.sandboxes.values()], rows);
    await this.#tell(set);
    await this.#rewire(set);
    this.#awaited.wake();
    if (refusal !== undefined) throw refusal;
  }

  /** Of a plan that nothing was asked for anew: not what containers that have ended left, whose devices went with them. */
  async #damage(plan: Plan, change: DesiredChange, set: AssignmentSet): Promise<Plan> {
    const left = leftBy(this.#deviceless, set, this.#self(set, (await this.#kernel.observed()).hostDump));
    return left.size === 0 ? plan : this.#kernel.plan(change, left);
  }

  /** What managers are to know, and what is to be given back. */
  async #tell(set: AssignmentSet): Promise<void> {
    const { hostDump } = await this.#kernel.observed();
    this.#news.tell(this.#foreignPorts.taken, hostDump, this.#outside.drivers(hostDump));
    if (!this.#outside.owes) return;
    const self = this.#self(set, hostDump);
    this.#outside.settle(localTasks(set, self), [...neededNetworks(set, self), ...this.#lingering.kept]);
  }

  async #desired(set: AssignmentSet, rows: RowChanges | undefined): Promise<DesiredChange> {
    if (!this.#kernel.isKnown) this.#tracker.forget();
    const reading = await this.#kernel.observed();
    this.#adopt(set, reading.sandboxes, this.#self(set, reading.hostDump));
    const self = this.#self(set, reading.hostDump);
    const needed = neededNetworks(set, self);
    const lingering = this.#lingering.keep(needed, performance.now());
    this.#wakeWhenDue();
    const local = [...needed, ...lingering];
    this.#slots = chooseSlots(local, reading.hostDump.addresses, this.#slots, self.prefix);
    const change = this.#tracker.follow(set, { ...self, uplinkSlots: this.#slots, lingering }, rows);
    return { ...change, host: await this.#foreignPorts.leave(change.host, reading.host) };
  }

  #wakeWhenDue(): void {
    clearTimeout(this.#lingerTimer);
    const { dueMs } = this.#lingering;
    if (dueMs === undefined || this.#closing.signal.aborted) return;
    const look = (): void => this.#said('unused networks stayed', this.rekeyed());
    this.#lingerTimer = setTimeout(look, Math.max(1, dueMs - performance.now())).unref();
  }

  /** Nobody waits for it: how it fails is in the log. */
  #said(failure: string, work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (!isAbort(error)) this.#options.logger.warn({ error: describeError(error) }, failure);
    });
  }

  /** Nobody would look after a sandbox that only lingers. */
  async #leaveNoneBehind(): Promise<void> {
    if (this.#lingering.dueMs === undefined) return;
    this.#lingering.clear();
    await this.#reconcileOnce(false).catch((error: unknown) => {
      this.#options.logger.warn({ error: describeError(error) }, 'an unused network was not removed');
    });
  }

  #self(set: AssignmentSet, dump: NamespaceDump): Self {
    return selfOf(this.#options, set, dump, {
      uplinkSlots: this.#slots,
      attached: this.#attached,
      localRevision: this.#localRevision,
      ended: this.#ended,
      fastPath: this.#kernel.hasFastPath,
    });
  }

  /** Containers that were attached before this agent started have their interfaces; one that ended has lost them. */
  #adopt(set: AssignmentSet, sandboxes: ReadonlyMap<number, ReadonlyMap<string, unknown>>, self: Self): void {
    for (const taskId of this.#ended) if (!set.tasks.has(taskId)) this.#ended.delete(taskId);
    const { attached, due } = adopt(set, this.#attached, this.#ended, sandboxes, self);
    this.#due = new Set([...due, ...this.#broken]);
    this.#broken = new Set();
    this.#deviceless = [...this.#attached.values()].filter(({ taskId }) => !attached.has(taskId));
    for (const { taskId } of this.#deviceless) this.#setAttached(taskId, undefined);
    for (const [taskId, task] of attached)
      if (this.#attached.get(taskId) !== task) this.#setAttached(taskId, task);
  }

  #setAttached(taskId: string, task: TaskAssignment | undefined): void {
    if (task === undefined) this.#attached.delete(taskId);
    else this.#attached.set(taskId, task);
    this.#localRevision += 1;
  }

  /** Of containers that run: what has changed of the networks that they are on. */
  async #rewire(set: AssignmentSet): Promise<void> {
    if (this.#due.size === 0) return;
    const { hostDump } = await this.#kernel.observed();
    await this.#wiring.run(set, this.#self(set, hostDump), this.#due, async (task, added) => {
      this.#setAttached(task.taskId, task);
      this.#tracker.attached(added);
      return this.resolvConfFor(task.taskId);
    });
  }

  async #attachNow(taskId: string, netnsPath: string, signal: AbortSignal): Promise<TaskAssignment> {
    signal.throwIfAborted();
    const set = this.#set;
    const task = set?.tasks.get(taskId);
    if (set === undefined || task === undefined) throw new NotFoundError(`no task ${taskId} on this node`);
    const reading = await this.#kernel.observed();
    await requireAttachable(task, set, reading.sandboxes, this.#attached.values());
    // The namespace is the node's own, or has its interfaces from another container.
    if (hasForeignNetwork(task.spec.container.runtime)) return task;
    const self = this.#self(set, reading.hostDump);
    requireTunnels(task, set, self);
    const joins = this.#outside.joinsOf(taskId);
    const { batches, added } = attachPlan(task, set, self, netnsPath, joins);
    await this.#kernel.extend(batches, added);
    this.#ended.delete(taskId);
    this.#setAttached(taskId, task);
    this.#tracker.attached(added);
    this.#outside.moved(task);
    return task;
  }

  async #repairLoop(everyMs: number): Promise<void> {
    if (everyMs === 0) return;
    const signal = this.#closing.signal;
    for (let first = true, tookMs = 0; !signal.aborted; ) {
      try {
        await delay(Math.max(everyMs, tookMs * REPAIR_SPARING), signal);
        const startedMs = performance.now();
        await this.#work.run(async () => this.#kernel.forget());
        const set = this.#set;
        if (set === undefined) continue;
        this.#broken = await this.#wiring.broken([...this.#attached.values()], set);
        await this.#reconcile(signal);
        tookMs = performance.now() - startedMs;
        await this.#work.run(async () => this.#foreignPorts.look((await this.#kernel.observed()).host));
        await this.#work.run(() => this.#tell(set));
        const { hostDump } = await this.#kernel.observed();
        if (first && localTasks(set, this.#self(set, hostDump)).length > 0) {
          first = false;
          await warnOfForwardDrop(this.#options.logger);
        }
      } catch (error) {
        if (!isAbort(error))
          this.#options.logger.error({ error: describeError(error) }, 'network repair failed');
      }
    }
  }
}
