/**
 * The sessions of all nodes that are connected to this manager: who is here, what each was told, what each said. It
 * joins the pure parts (tracker, withdrawals, failure detector) with sockets and the store.
 */
import type { WebSocket } from 'ws';
import { describeError } from '../../shared/errors/index.ts';
import { isAbort } from '../../shared/lib/abort.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import { newId } from '../../shared/lib/ids.ts';
import type {
  AssignmentSet,
  Logger,
  Node,
  NodeDescription,
  TaskAssignment,
  TaskUsage,
} from '../../shared/model/index.ts';
import { isEmptyDiff } from '../../shared/wire/assignment-diff.ts';
import { CLOSE } from '../../shared/wire/frames.ts';
import type { HeldCertificate } from '../ca/renewal.ts';
import type { Change, Store } from '../store/store.ts';
import type { Vault } from '../vault/seal.ts';
import type { DispatcherCounts } from './counts.ts';
import { AssignmentTracker, type Flush } from './assignment-tracker.ts';
import { FailureDetector, type Verdict } from './failure-detector.ts';
import { awaitHello, type Hello } from './handshake.ts';
import type { NodeRecords } from './node-records.ts';
import { NodeSession, type SessionEvents, type StatusFrame } from './node-session.ts';
import { clockOffsetMs, clockWarning, shifted } from './report-times.ts';
import { StatusIntake } from './status-intake.ts';
import { viewOf } from './store-view.ts';
import { UsageIntake } from './usage-intake.ts';
import { Withdrawals } from './withdrawal.ts';

/** A timer may come a moment before a clock says that it is time. */
const TIMER_SLACK_MS = 5;

export interface DispatcherOptions {
  readonly store: Store;
  readonly vault: Vault;
  readonly records: NodeRecords;
  readonly managerId: string;
  readonly nodeDownAfterMs: number;
  /** How long a task that is to stop waits for the confirmations of other nodes. */
  readonly withdrawTimeoutMs: number;
  /** A steady clock in milliseconds: time of day may jump. */
  readonly steadyMs: () => number;
  /** Time of day: what is written down. */
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** A session has opened. */
  readonly onOpened?: () => void;
}

/** Who has opened a socket, by its certificate. */
interface Caller {
  readonly socket: WebSocket;
  readonly nodeId: string;
  readonly certificate: HeldCertificate | undefined;
}

export class Dispatcher implements SessionEvents {
  readonly #options: DispatcherOptions;
  readonly #sessions = new Map<string, NodeSession>();
  readonly #tracker: AssignmentTracker;
  readonly #withdrawals: Withdrawals;
  readonly #detector: FailureDetector;
  readonly #intake: StatusIntake;
  readonly usages: UsageIntake;
  #nodeDownAfterMs: number;
  #beatMs: number;
  #ticking: NodeJS.Timeout;
  readonly #undo: (() => void)[] = [];
  readonly #sent = { full: 0, change: 0 };
  readonly #down = { silent: 0, disconnected: 0, 'never-heard': 0 };
  #flushScheduled = false;
  #firstFlush = true;

  constructor(options: DispatcherOptions) {
    const { store, nodeDownAfterMs } = options;
    this.#options = options;
    this.#nodeDownAfterMs = nodeDownAfterMs;
    this.#beatMs = beatMsFor(nodeDownAfterMs);
    const tickMs = tickMsFor(nodeDownAfterMs);
    this.#tracker = new AssignmentTracker(viewOf(store, options.vault, options.logger));
    this.#withdrawals = new Withdrawals(options.withdrawTimeoutMs);
    this.#detector = new FailureDetector({
      downAfterMs: nodeDownAfterMs,
      tickMs,
      nowMs: options.steadyMs(),
    });
    this.#intake = new StatusIntake(store, options.logger, options.clock);
    this.usages = new UsageIntake(store, options.logger);
    this.#flush();
    this.#undo.push(store.onChange((changes) => this.#onChange(changes)));
    this.#ticking = setInterval(() => this.#tick(), tickMs);
    this.#undo.push(() => clearInterval(this.#ticking));
    this.#expectKnownNodes();
  }

  get counts(): DispatcherCounts {
    const { counts: statuses } = this.#intake;
    const { counts: usages } = this.usages;
    return {
      sessions: this.#sessions.size,
      assignments: this.#sent,
      statuses,
      usages,
      nodesDown: this.#down,
    };
  }

  session(nodeId: string): NodeSession | undefined {
    return this.#sessions.get(nodeId);
  }

  /** A socket whose certificate names the node. */
  onSocket(socket: WebSocket, nodeId: string, certificate?: HeldCertificate): void {
    awaitHello(socket, nodeId, (hello) => this.#open({ socket, nodeId, certificate }, hello));
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
    for (const session of [...this.#sessions.values()]) session.close(CLOSE.goingAway, 'the manager stops');
  }

  heard(session: NodeSession): void {
    this.#detector.heard(session.nodeId, this.#options.steadyMs());
  }

  acked(session: NodeSession, seq: number): void {
    this.#release(this.#withdrawals.handle({ kind: 'acked', nodeId: session.nodeId, seq }));
  }

  statuses(session: NodeSession, { id, statuses, sentAtMs }: StatusFrame): void {
    const offsetMs = clockOffsetMs(sentAtMs, this.#options.clock.now());
    const reports = statuses.map((status) => shifted(status, offsetMs));
    this.#background(
      this.#intake.take(session.nodeId, reports, session.signal).then(() => session.confirmStatuses(id)),
    );
  }

  usage(session: NodeSession, tasks: readonly TaskUsage[]): void {
    this.usages.take(session.nodeId, tasks, this.#options.clock.now());
  }

  closed(session: NodeSession): void {
    if (this.#sessions.get(session.nodeId) !== session) return;
    this.usages.forget(session.nodeId);
    this.#sessions.delete(session.nodeId);
    this.#detector.closed(session.nodeId, this.#options.steadyMs());
    this.#release(this.#withdrawals.handle({ kind: 'closed', nodeId: session.nodeId }));
    this.#options.logger.info({ nodeId: session.nodeId, sessionId: session.id }, 'session closed');
  }

  #open({ socket, nodeId, certificate }: Caller, { description, sentAtMs }: Hello): void {
    const { store, managerId, logger, steadyMs, clock, onOpened } = this.#options;
    const node = store.get('nodes', nodeId);
    if (node === undefined) return socket.close(CLOSE.nodeRemoved, 'the node was removed from the cluster');
    this.#sessions.get(nodeId)?.close(CLOSE.replaced, 'a newer session of this node replaces this one');
    const warning = clockWarning(clockOffsetMs(sentAtMs, clock.now()));
    const identity = { id: `${managerId}.${newId()}`, nodeId, warning, certificate };
    const session = new NodeSession(socket, identity, this, logger);
    this.#sessions.set(nodeId, session);
    this.#detector.heard(nodeId, steadyMs());
    session.send({ type: 'welcome', sessionId: session.id, nodeIndex: node.index, beatMs: this.#beatMs });
    this.#sendFull(session);
    logger.info({ nodeId, sessionId: session.id, hostname: description.hostname }, 'session opened');
    if (warning !== undefined) logger.warn({ nodeId, hostname: description.hostname, warning }, 'odd node');
    this.#record(session, description);
    onOpened?.();
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
        this.#setPatience(change.after.nodeDownAfterMs);
    }
    if (this.#tracker.hasChanges) this.#scheduleFlush();
  }

  /** A changed setting holds at once: nodes are welcomed again, with the new beat. */
  #setPatience(nodeDownAfterMs: number): void {
    if (nodeDownAfterMs === this.#nodeDownAfterMs) return;
    this.#nodeDownAfterMs = nodeDownAfterMs;
    this.#beatMs = beatMsFor(nodeDownAfterMs);
    const tickMs = tickMsFor(nodeDownAfterMs);
    this.#detector.adjust({ downAfterMs: nodeDownAfterMs, tickMs });
    clearInterval(this.#ticking);
    this.#ticking = setInterval(() => this.#tick(), tickMs);
    for (const session of this.#sessions.values()) {
      const nodeIndex = this.#options.store.get('nodes', session.nodeId)?.index;
      if (nodeIndex === undefined) continue;
      session.send({ type: 'welcome', sessionId: session.id, nodeIndex, beatMs: this.#beatMs });
      // Until it beats faster it may be late once.
      this.heard(session);
    }
  }

  /** What is written of a node, by us or by others. */
  #onNodeChange(nodeId: string, node: Node | undefined): void {
    const session = this.#sessions.get(nodeId);
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
    return taskIds.flatMap((taskId) =>
      this.#withdrawals.handle({ kind: 'hold', taskId, nowMs, unseen: this.#firstFlush }),
    );
  }

  #release(taskIds: readonly string[]): void {
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
    this.#expireHolds();
  }

  #expireHolds(): void {
    this.#release(this.#withdrawals.handle({ kind: 'tick', nowMs: this.#options.steadyMs() }));
  }

  #markDown({ nodeId, reason }: Verdict): void {
    const { records, logger, signal } = this.#options;
    const message = DOWN_MESSAGES[reason];
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

/** Swarm's factor, too: two heartbeats in a row may be lost. Reading them is what an idle manager spends its time with. */
function beatMsFor(nodeDownAfterMs: number): number {
  return Math.max(10, Math.floor(nodeDownAfterMs / 3));
}

function tickMsFor(nodeDownAfterMs: number): number {
  return Math.max(5, Math.floor(nodeDownAfterMs / 8));
}

const DOWN_MESSAGES: Record<Verdict['reason'], string> = {
  silent: 'heartbeat failure',
  disconnected: 'the node disconnected',
  'never-heard': 'the node was not heard since the manager started',
};

/** An agent that has lost a container must know that its task is not to be started a second time (invariant 2). */
function withStarted(set: AssignmentSet, tracker: AssignmentTracker): AssignmentSet {
  const tasks = [...set.tasks].map(([id, task]): [string, TaskAssignment] => [
    id,
    tracker.hasStarted(id) ? { ...task, started: true } : task,
  ]);
  return { ...set, tasks: new Map(tasks) };
}
