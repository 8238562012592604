/**
 * The agent's link: one session at a time with one of the managers, reconnected with back-off. What a session carries is
 * only a copy: after a reconnect the manager sends the full set, and the agent its unconfirmed statuses.
 */
import { describeError, InvalidError } from '../../shared/errors/index.ts';
import { delay, isAbort } from '../../shared/lib/abort.ts';
import { assertNever } from '../../shared/lib/assert-never.ts';
import { backoffMs } from '../../shared/lib/backoff.ts';
import { steadyClock } from '../../shared/lib/clock.ts';
import type {
  AssignmentSet,
  Logger,
  NodeDescription,
  NetworkReport,
  TaskStatus,
  TaskUsage,
  TunnelKeys,
} from '../../shared/model/index.ts';
import { applyDiff, listsToSet } from '../../shared/wire/assignment-diff.ts';
import { type AgentFrame, type ManagerFrame, PROTOCOL } from '../../shared/wire/frames.ts';
import type { Link, LinkHandlers, LinkOptions } from './link.ts';
import { explainRefusal, isCertificateRefused } from './refused-certificate.ts';
import { RequestServer } from './request-server.ts';
import { type Connect, connectWebSocket, SessionSocket } from './session-socket.ts';
import { StatusQueue } from './status-queue.ts';

export const RECONNECT_BASE_MS = 50;
/** Well below three times the silence after which a node is down: a manager that restarts waits that long. */
export const RECONNECT_MAX_MS = 2000;
/** A session that lasted so long was a good one: the next attempt comes at once. */
const STEADY_AFTER_MS = 5000;

/** What belongs to one session and ends with it. */
interface Session {
  readonly socket: SessionSocket;
  readonly requests: RequestServer;
  set: AssignmentSet | undefined;
  seq: number;
}

export class SessionLink implements Link {
  readonly #options: LinkOptions;
  readonly #handlers: LinkHandlers;
  readonly #logger: Logger;
  readonly #connect: Connect;
  readonly #queue = new StatusQueue();
  #managers: readonly string[];
  #session: Session | undefined;
  #welcomed = false;
  /** Whether the session that ended last was opened at all. */
  #wasWelcomed = false;
  #sendScheduled = false;
  #network: NetworkReport | undefined;
  /** Newer than what a session's hello may have told, which is described before. */
  #keys: TunnelKeys | undefined;

  constructor(
    options: LinkOptions,
    handlers: LinkHandlers,
    logger: Logger,
    connect: Connect = connectWebSocket,
  ) {
    this.#options = options;
    this.#managers = options.managers;
    this.#handlers = handlers;
    this.#logger = logger;
    this.#connect = connect;
  }

  get connected(): boolean {
    return this.#welcomed;
  }

  report(status: TaskStatus): void {
    this.#queue.add(status);
    this.#scheduleSend();
  }

  reportUsage(tasks: readonly TaskUsage[]): void {
    if (this.#welcomed) this.#session?.socket.send({ type: 'usage', tasks: [...tasks] });
  }

  /** Said now, and again to each manager that a session begins with. */
  reportNetwork(report: NetworkReport): void {
    this.#network = report;
    if (this.#welcomed) this.#session?.socket.send({ type: 'network', report: copied(report) });
  }

  tellKeys(keys: TunnelKeys): void {
    this.#keys = keys;
    if (this.#welcomed) this.#session?.socket.send({ type: 'tunnel-keys', keys });
  }

  async run(signal: AbortSignal): Promise<void> {
    let [manager] = this.#managers;
    for (let attempt = 0; !signal.aborted; manager = this.#after(manager)) {
      if (manager === undefined) throw new InvalidError('the agent knows no manager');
      const startedMs = performance.now();
      const reason = await explainRefusal(await this.#runSession(manager, attempt, signal), manager, signal);
      if (signal.aborted) return;
      const steady = this.#wasWelcomed && performance.now() - startedMs > STEADY_AFTER_MS;
      attempt = steady ? 0 : attempt + 1;
      const refused = isCertificateRefused(reason);
      this.#logger.warn({ manager, reason: describeError(reason), attempt }, 'session ended, trying again');
      if (refused) await this.#options.onRefused?.(signal);
      await delay(backoffMs(attempt, RECONNECT_BASE_MS, RECONNECT_MAX_MS, Math.random()), signal).catch(
        ignoreAbort,
      );
    }
  }

  /** Resolves with why the session ended. */
  async #runSession(manager: string, attempt: number, signal: AbortSignal): Promise<unknown> {
    const { nodeId, tls, clock = steadyClock } = this.#options;
    const description = await this.#describe(manager);
    const socket = new SessionSocket(this.#connect(manager, tls, attempt), {
      onOpen: () =>
        socket.send({ type: 'hello', protocol: PROTOCOL, nodeId, description, sentAtMs: clock.now() }),
      onFrame: (frame) => this.#onFrame(session, frame),
      onData: (frame) => requests.onData(frame),
      onUnknown: (field) =>
        this.#logger.warn({ manager, field }, 'a newer manager says what this version does not do'),
    });
    const requests = new RequestServer(this.#handlers, (frame) => socket.send(frame), this.#logger);
    const session: Session = { socket, requests, set: undefined, seq: 0 };
    this.#session = session;
    const reason = await socket.ended(signal);
    this.#session = undefined;
    this.#wasWelcomed = this.#welcomed;
    this.#welcomed = false;
    this.#queue.reset();
    requests.close();
    return reason;
  }

  async #describe(manager: string): Promise<NodeDescription> {
    const { description, describe } = this.#options;
    try {
      return (await describe?.(manager)) ?? description;
    } catch (error) {
      this.#logger.warn({ manager, error: describeError(error) }, 'how this machine is could not be read');
      return description;
    }
  }

  #onFrame(session: Session, frame: ManagerFrame): void {
    switch (frame.type) {
      case 'welcome':
        // Also said in the middle of a session, of which the manager knows what was said.
        if (!this.#welcomed && this.#network !== undefined)
          session.socket.send({ type: 'network', report: copied(this.#network) });
        this.#welcomed = true;
        if (this.#keys !== undefined) this.tellKeys(this.#keys);
        session.socket.beat(frame.beatMs);
        this.#forgetRemoved(frame.removedManagers);
        if (frame.managers !== undefined) this.#learn(frame.managers, frame.nodeIndex);
        this.#logger.info({ sessionId: frame.sessionId, beatMs: frame.beatMs }, 'session opened');
        return this.#scheduleSend();
      case 'full':
        return this.#assign(session, frame, listsToSet(frame.set));
      case 'change':
        return this.#assign(session, frame, applyChange(session, frame));
      case 'status-ack':
        this.#queue.acked(frame.id);
        return this.#scheduleSend();
      case 'request':
        return session.requests.onRequest(frame);
      case 'cancel':
        return session.requests.onCancel(frame.id);
      case 'credit':
        return session.requests.onCredit(frame.id, frame.bytes);
      case 'input-end':
        return session.requests.onInputEnd(frame.id);
      default:
        return assertNever(frame);
    }
  }

  /** The next to be tried: another one, if there is any, however the list has changed. */
  #after(manager: string): string | undefined {
    return this.#managers[(this.#managers.indexOf(manager) + 1) % this.#managers.length];
  }

  /** Each node in an order of its own, so that those of a lost manager go to all others; what it was given stays. */
  #learn(managers: readonly string[], nodeIndex: number): void {
    const from = managers.length === 0 ? 0 : nodeIndex % managers.length;
    const known = new Set([...managers.slice(from), ...managers.slice(0, from), ...this.#options.managers]);
    if (known.size === this.#managers.length && this.#managers.every((one) => known.has(one))) return;
    this.#managers = [...known];
    this.#options.onManagers?.(managers);
  }

  #forgetRemoved(ids: readonly string[] | undefined): void {
    const { tls, onRemovedManagers } = this.#options;
    const known = tls.removedManagers ?? [];
    if (ids === undefined || (ids.length === known.length && ids.every((id) => known.includes(id)))) return;
    onRemovedManagers?.(ids);
  }

  #assign(
    session: Session,
    { seq, type }: { readonly seq: number; readonly type: 'full' | 'change' },
    set: AssignmentSet,
  ): void {
    session.set = set;
    session.seq = seq;
    const acknowledge = (): void => {
      // Of a session that is over nobody waits for an acknowledgement.
      if (this.#session === session) session.socket.send({ type: 'ack', seq });
    };
    this.#handlers.onAssignments(set, acknowledge, type === 'full');
  }

  /** Statuses of one turn of the loop go in one frame; while one is under way, the next gathers. */
  #scheduleSend(): void {
    if (this.#sendScheduled || !this.#welcomed) return;
    this.#sendScheduled = true;
    setImmediate(() => {
      this.#sendScheduled = false;
      if (!this.#welcomed || this.#session === undefined) return;
      const batch = this.#queue.next();
      if (batch !== undefined) {
        const { clock = steadyClock } = this.#options;
        const statuses = [...batch.statuses];
        this.#session.socket.send({ type: 'status', id: batch.id, statuses, sentAtMs: clock.now() });
      }
    });
  }
}

/** Throws InvalidError when a change was missed: the session ends, and the next starts with a full set. */
function applyChange(session: Session, frame: Extract<ManagerFrame, { type: 'change' }>): AssignmentSet {
  if (session.set === undefined || frame.seq !== session.seq + 1) {
    throw new InvalidError(`change ${frame.seq} follows ${session.seq}: a change was missed`);
  }
  return applyDiff(session.set, frame);
}

/** The frames' arrays may be written to, the report's not. */
function copied(report: NetworkReport): Extract<AgentFrame, { type: 'network' }>['report'] {
  return structuredClone<unknown>(report) as Extract<AgentFrame, { type: 'network' }>['report'];
}

function ignoreAbort(error: unknown): void {
  if (!isAbort(error)) throw error;
}
