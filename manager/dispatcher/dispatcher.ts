/**
 * The sessions of all nodes that are connected to this manager: who is here, what each was told, what each said. It
 * joins the pure parts (tracker, withdrawals, failure detector) with sockets and the store.
 */
import type { WebSocket } from 'ws';
import { describeError } from '../../shared/errors/index.ts';
import { isAbort } from '../../shared/lib/abort.ts';
import { newId } from '../../shared/lib/ids.ts';
import type { Node, NodeDescription, TaskUsage, TunnelKeys } from '../../shared/model/index.ts';
import { isEmptyDiff } from '../../shared/wire/assignment-diff.ts';
import { CLOSE } from '../../shared/wire/frames.ts';
import type { Change } from '../store/store.ts';
import type { SessionCounts } from './counts.ts';
import type { DispatcherOptions } from './dispatcher-options.ts';
import { AssignmentTracker, type Flush } from './assignment-tracker.ts';
import { FailureDetector, type Verdict } from './failure-detector.ts';
import { NetworkReports } from './network-reports.ts';
import { NodeSession, type SessionEvents, type StatusFrame } from './node-session.ts';
import { type Caller, type Guest, Reception } from './reception.ts';
import { Refusals } from './refusals.ts';
import { clockOffsetMs, shifted } from './report-times.ts';
import { Orphans, ORPHANS_LOOK_MS } from './orphans.ts';
import { Pacing } from './pace.ts';
import { StatusIntake } from './status-intake.ts';
import { viewOf } from './store-view.ts';
import { aboutManagers, DOWN_MESSAGES, ORPHAN_MESSAGE, withStarted } from './what-nodes-are-told.ts';
import { UsageIntake } from './usage-intake.ts';
import { managerKey, Withdrawals } from './withdrawal.ts';
import { WithdrawalAnswers } from './withdrawal-links.ts';

/** A timer may come a moment before a clock says that it is time. */
const TIMER_SLACK_MS = 5;

export class Dispatcher implements SessionEvents {
  readonly #options: DispatcherOptions;
  readonly #sessions = new Map<string, NodeSession>();
  readonly #tracker: AssignmentTracker;
  readonly #withdrawals: Withdrawals;
  readonly #detector: FailureDetector;
  readonly #orphans: Orphans;
  readonly #intake: StatusIntake;
  readonly #reception: Reception;
  readonly #refusals: Refusals;
  readonly usages: UsageIntake;
  readonly networks: NetworkReports;
  /** To other managers. */
  readonly answers: WithdrawalAnswers;
  readonly #pacing: Pacing;
  #ticking: NodeJS.Timeout;
  readonly #undo: (() => void)[] = [];
  readonly #sent = { full: 0, change: 0 };
  readonly #down = { silent: 0, disconnected: 0, 'never-heard': 0 };
  #flushScheduled = false;
  #firstFlush = true;

  constructor(options: DispatcherOptions) {
    const { store, nodeDownAfterMs } = options;
    this.#options = options;
    this.#pacing = new Pacing(nodeDownAfterMs, options.steadyMs());
    this.#tracker = new AssignmentTracker(viewOf(store, options.vault, options.logger));
    this.#withdrawals = new Withdrawals(options.withdrawTimeoutMs);
    this.#detector = new FailureDetector({ ...this.#pacing.pace, nowMs: options.steadyMs() });
    this.#orphans = new Orphans({
      nodes: () => store.all('nodes').values(),
      isOrphan: (node) => options.records.isOrphan(node),
      detector: this.#detector,
      isHere: (nodeId) => this.#sessions.has(nodeId),
    });
    this.#intake = new StatusIntake(store, options.logger, options.clock);
    this.usages = new UsageIntake(store, options.logger);
    this.#refusals = options.refusals ?? new Refusals(options.logger, options.steadyMs);
    this.#reception = new Reception(store, this.#refusals, options.clock, options.logger);
    this.networks = new NetworkReports(options.records, (work) => this.#background(work));
    this.answers = new WithdrawalAnswers({
      sentRevision: () => (this.#flushScheduled ? -1 : store.revision),
      awaited: (taskId) => this.#withdrawals.awaitsNode(taskId),
      patienceMs: options.withdrawTimeoutMs,
      steadyMs: options.steadyMs,
    });
    this.#flush();
    this.#undo.push(store.onChange((changes) => this.#onChange(changes)));
    this.#ticking = setInterval(() => this.#tick(), this.#pacing.pace.tickMs);
    this.#undo.push(() => clearInterval(this.#ticking));
    const looking = setInterval(() => this.#orphans.look(options.steadyMs()), ORPHANS_LOOK_MS);
    this.#undo.push(() => clearInterval(looking));
    this.#expectKnownNodes();
  }

  get counts(): SessionCounts {
    const { counts: statuses } = this.#intake;
    const { counts: usages } = this.usages;
    return {
      sessions: this.#sessions.size,
      assignments: this.#sent,
      statuses,
      usages,
      nodesDown: this.#down,
      repairs: this.networks.repairs,
    };
  }

  session(nodeId: string): NodeSession | undefined {
    return this.#sessions.get(nodeId);
  }

  /** A socket whose certificate names the node. */
  onSocket(socket: WebSocket, caller: Caller): void {
    this.#reception.receive(socket, caller, (guest) => this.#open(guest));
  }

  /** Those that are open. */
  sessions(): Iterable<NodeSession> {
    return this.#sessions.values();
  }

  /** A new node has its record; it should come. */
  expect(nodeId: string): void {
    if (!this.#sessions.has(nodeId)) this.#detector.expect(nodeId, this.#options.steadyMs());
  }

  close(): void {
    for (const undo of this.#undo) undo();
    this.sendAway('the manager stops');
  }

  /** Ends all sessions: nodes go to another manager, or come back. */
  sendAway(reason: string): void {
    for (const session of [...this.#sessions.values()]) session.close(CLOSE.goingAway, reason);
  }

  heard(session: NodeSession): void {
    this.#detector.heard(session.nodeId, this.#options.steadyMs());
  }

  acked(session: NodeSession, seq: number): void {
    this.#release(this.#withdrawals.handle({ kind: 'acked', nodeId: session.nodeId, seq }));
  }

  /** Another manager speaks for all of its nodes. */
  otherConfirmed(managerId: string, seq: number): void {
    this.#release(this.#withdrawals.handle({ kind: 'acked', nodeId: managerKey(managerId), seq }));
  }

  otherLost(managerId: string): void {
    this.#release(this.#withdrawals.handle({ kind: 'closed', nodeId: managerKey(managerId) }));
  }

  statuses(session: NodeSession, { id, statuses, sentAtMs }: StatusFrame): void {
    const offsetMs = clockOffsetMs(sentAtMs, this.#options.clock.now());
    const reports = statuses.map((status) => shifted(status, offsetMs));
    this.#background(
      this.#intake.take(session.nodeId, reports, session.signal).then(() => session.confirmStatuses(id)),
    );
  }

  rekeyed(session: NodeSession, keys: TunnelKeys): void {
    if (!this.#reception.mayHave(keys, session)) return;
    this.#background(this.#options.records.rekeyed(session.nodeId, keys, session.signal));
  }

  usage(session: NodeSession, tasks: readonly TaskUsage[]): void {
    this.usages.take(session.nodeId, tasks, this.#options.clock.now());
    this.#options.onUsage?.(session.nodeId, tasks);
  }

  broken({ nodeId }: NodeSession, how: string): void {
    this.#refusals.add('frame', { nodeId, error: how });
  }

  closed(session: NodeSession): void {
    if (this.#sessions.get(session.nodeId) !== session) return;
    this.usages.forget(session.nodeId);
    this.networks.repairs.delete(session.nodeId);
    this.#options.onUsage?.(session.nodeId, []);
    this.#sessions.delete(session.nodeId);
    this.#detector.closed(session.nodeId, this.#options.steadyMs());
    this.#release(this.#withdrawals.handle({ kind: 'closed', nodeId: session.nodeId }));
    this.#options.logger.info({ nodeId: session.nodeId, sessionId: session.id }, 'session closed');
  }

  #open(guest: Guest): void {
    const { managerId, logger, steadyMs, onOpened } = this.#options;
    const { nodeId, node, warning, description } = guest;
    this.#sessions.get(nodeId)?.close(CLOSE.replaced, 'a newer session of this node replaces this one');
    const session = new NodeSession(`${managerId}.${newId()}`, guest, this, logger);
    this.#sessions.set(nodeId, session);
    this.#detector.heard(nodeId, steadyMs());
    this.#welcome(session, node);
    this.#sendFull(session);
    logger.info({ nodeId, sessionId: session.id, hostname: description.hostname }, 'session opened');
    if (warning !== undefined) logger.warn({ nodeId, hostname: description.hostname, warning }, 'odd node');
    this.#record(session, description);
    onOpened?.(session);
  }

  #welcome(session: NodeSession, { index: nodeIndex }: Node): void {
    const about = aboutManagers(this.#options.store);
    const { beatMs } = this.#pacing.pace;
    session.send({ type: 'welcome', sessionId: session.id, nodeIndex, beatMs, ...about });
  }

  /** All nodes are told where managers are now. */
  #welcomeAll(): void {
    for (const session of this.#sessions.values()) {
      const node = this.#options.store.get('nodes', session.nodeId);
      if (node !== undefined) this.#welcome(session, node);
    }
  }

  #record(session: NodeSession, description: NodeDescription): void {
    this.#background(this.#options.records.opened(session, description));
  }

  #sendFull(session: NodeSession): void {
    this.#flush();
    const set = this.#tracker.full(session.nodeId);
    this.#sent.full += 1;
    const seq = session.sendFull(withStarted(set, this.#tracker));
    const withdrawn = this.#tracker.notServing(set);
    this.#withdrawals.handle({ kind: 'sent', nodeId: session.nodeId, seq, withdrawn, serving: [] });
  }

  #onChange(changes: readonly Change[]): void {
    this.#tracker.note(changes);
    for (const change of changes) {
      if (change.table === 'nodes') this.#onNodeChange(change.key, change.after);
      else if (change.table === 'cluster' && change.after !== undefined)
        this.#adoptPace(this.#pacing.set(change.after.nodeDownAfterMs, this.#sessions.size));
    }
    if (changes.some((change) => change.table === 'managers')) this.#welcomeAll();
    if (this.#tracker.hasChanges) this.#scheduleFlush();
  }

  /** Another pace holds at once: nodes are welcomed again, with the new beat. */
  #adoptPace(isAnother: boolean): void {
    if (!isAnother) return;
    const { pace } = this.#pacing;
    this.#options.logger.info({ ...pace, sessions: this.#sessions.size }, 'another pace of heartbeats');
    this.#detector.adjust(pace);
    clearInterval(this.#ticking);
    this.#ticking = setInterval(() => this.#tick(), pace.tickMs);
    this.#welcomeAll();
    // Until they beat faster they may be late once.
    for (const session of this.#sessions.values()) this.heard(session);
  }

  /** What is written of a node, by us or by others. */
  #onNodeChange(nodeId: string, node: Node | undefined): void {
    const session = this.#sessions.get(nodeId);
    this.#reception.note(nodeId, node, (id) => this.#sessions.get(id));
    if (node === undefined) {
      session?.close(CLOSE.nodeRemoved, 'the node was removed from the cluster');
      this.#detector.forget(nodeId);
    } else if (session !== undefined && node.session === session.id) {
      session.recorded = true;
      if (node.status !== 'ready') this.#claim(session, node);
    } else if (session?.recorded === true) {
      session.close(CLOSE.replaced, 'the node has a newer session with another manager');
      this.#detector.forget(nodeId);
    }
  }

  /** A verdict that was under way when the session opened does not stand. */
  #claim(session: NodeSession, node: Node): void {
    if (node.description === undefined) return;
    this.#record(session, node.description);
  }

  /** One flush for all changes of this turn of the loop. */
  #scheduleFlush(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushScheduled = false;
    while (this.#tracker.hasChanges || this.#firstFlush) {
      const released: string[] = [];
      this.#tracker.flush((flush) => {
        for (const session of this.#sessionsOf(flush.nodes)) this.#sendChange(session, flush);
        released.push(...this.#hold(flush.newlyHeld));
      });
      this.#firstFlush = false;
      for (const taskId of released) this.#tracker.release(taskId);
    }
    this.answers.look();
  }

  *#sessionsOf(nodes: ReadonlySet<string> | 'all'): Iterable<NodeSession> {
    if (nodes === 'all') return yield* this.#sessions.values();
    for (const nodeId of nodes) {
      const session = this.#sessions.get(nodeId);
      if (session !== undefined) yield session;
    }
  }

  #sendChange(session: NodeSession, flush: Flush): void {
    // Before its first full set, a session is told nothing: the full set will say it.
    if (session.seq === 0) return;
    const diff = flush.diffOf(session.nodeId);
    if (isEmptyDiff(diff)) return;
    const seq = session.sendChange(diff);
    this.#sent.change += 1;
    this.#withdrawals.handle({ kind: 'sent', nodeId: session.nodeId, seq, ...flush.servingOf(diff) });
  }

  #hold(taskIds: readonly string[]): readonly string[] {
    const { steadyMs, withdrawTimeoutMs } = this.#options;
    const nowMs = steadyMs();
    // A deadline of its own: how often a tick comes follows from the patience with nodes, which may be minutes.
    if (taskIds.length > 0) setTimeout(() => this.#expireHolds(), withdrawTimeoutMs + TIMER_SLACK_MS).unref();
    this.#askOthers(taskIds);
    return taskIds.flatMap((taskId) =>
      this.#withdrawals.handle({ kind: 'hold', taskId, nowMs, unseen: this.#firstFlush }),
    );
  }

  /** About the tasks of this manager's own nodes: of others their managers ask. */
  #askOthers(taskIds: readonly string[]): void {
    const { askOthers, store } = this.#options;
    const own = taskIds.filter((id) => this.#sessions.has(store.get('tasks', id)?.nodeId ?? ''));
    if (askOthers === undefined || own.length === 0) return;
    for (const { managerId, seq } of askOthers(own, store.revision)) {
      const nodeId = managerKey(managerId);
      this.#withdrawals.handle({ kind: 'sent', nodeId, seq, withdrawn: own, serving: [] });
    }
  }

  #release(taskIds: readonly string[]): void {
    this.answers.look();
    for (const taskId of taskIds) {
      const waitMs = this.#tracker.withdrawWaitMs(taskId);
      if (waitMs === 0) this.#tracker.release(taskId);
      else setTimeout(() => this.#releaseNow(taskId), waitMs).unref();
    }
    if (this.#tracker.hasChanges) this.#scheduleFlush();
  }

  /** After its wait. A task that has ended meanwhile is held no more. */
  #releaseNow(taskId: string): void {
    if (this.#options.signal.aborted) return;
    this.#tracker.release(taskId);
    if (this.#tracker.hasChanges) this.#scheduleFlush();
  }

  #tick(): void {
    const nowMs = this.#options.steadyMs();
    for (const verdict of this.#detector.tick(nowMs)) this.#markDown(verdict);
    this.#adoptPace(this.#pacing.look(this.#sessions.size, nowMs));
    this.#expireHolds();
  }

  #expireHolds(): void {
    this.#release(this.#withdrawals.handle({ kind: 'tick', nowMs: this.#options.steadyMs() }));
  }

  #markDown({ nodeId, reason }: Verdict): void {
    const { records, logger, signal, steadyMs } = this.#options;
    if (reason !== 'silent' && records.isAwaited(nodeId)) return this.#detector.closed(nodeId, steadyMs());
    const message = this.#orphans.has(nodeId) ? ORPHAN_MESSAGE : DOWN_MESSAGES[reason];
    logger.warn({ nodeId, reason }, 'node is down');
    this.#down[reason] += 1;
    this.#sessions.get(nodeId)?.close(CLOSE.goingAway, message);
    // Closing it started a new wait, which has nothing more to say.
    this.#detector.forget(nodeId);
    this.#background(records.down(nodeId, message, () => !this.#sessions.has(nodeId), signal));
  }

  /** Nodes that were ready before this manager started: unknown until they are heard. */
  #expectKnownNodes(): void {
    const { store, records, steadyMs, signal } = this.#options;
    for (const node of store.all('nodes').values()) {
      if (node.status === 'down' || !records.isOurs(node)) continue;
      this.#detector.expect(node.id, steadyMs());
      if (node.status === 'ready')
        this.#background(records.unknown(node.id, () => !this.#sessions.has(node.id), signal));
    }
  }

  /** Work that nobody waits for: its failure is logged, its abort is none. */
  #background(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (isAbort(error)) return;
      this.#options.logger.error({ error: describeError(error) }, 'dispatcher: background work failed');
    });
  }
}
