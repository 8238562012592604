/**
 * The node records that sessions change: new nodes, ready, unknown, down. Every write is guarded by the version that was
 * read and decided anew when it is stale. Nothing is written when nothing changed (invariant 10).
 */
import { describeError, UnavailableError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import { backoffMs } from '../../shared/lib/backoff.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import type {
  Logger,
  Node,
  NodeCertificate,
  NodeDescription,
  NodeRole,
  NetworkReport,
  TunnelKeys,
} from '../../shared/model/index.ts';
import { sameData } from '../../shared/wire/assignment-diff.ts';
import { StaleError, type Store } from '../store/store.ts';

/** What the record tells of a session. */
export interface OpenSession {
  readonly id: string;
  readonly nodeId: string;
  readonly warning: string | undefined;
  readonly signal: AbortSignal;
  readonly certificate?: NodeCertificate | undefined;
}

export interface NewNode {
  readonly id: string;
  readonly role: NodeRole;
  readonly certificate: NodeCertificate;
}

export class NodeRecords {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #managerId: string;
  readonly #mayJudgeFor: (managerId: string) => boolean;

  /** `mayJudgeFor`: whether this manager judges the nodes of another, which is gone. */
  constructor(
    store: Store,
    managerId: string,
    clock: Clock,
    logger: Logger,
    mayJudgeFor: (managerId: string) => boolean = () => false,
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#logger = logger;
    this.#managerId = managerId;
    this.#mayJudgeFor = mayJudgeFor;
  }

  /** True when its newest session was with a manager that is gone, and this one judges for it. */
  isOrphan(node: Node): boolean {
    const managerId = managerOf(node);
    return managerId !== undefined && managerId !== this.#managerId && this.#mayJudgeFor(managerId);
  }

  /** True when the node's newest session was with this manager, or it never had one. */
  isOurs(node: Node): boolean {
    return node.session === undefined || node.session.startsWith(`${this.#managerId}.`);
  }

  /** Somebody restarts its agent, and has said so: it may be without a session for a while. */
  isAwaited(nodeId: string): boolean {
    return (this.#store.get('nodes', nodeId)?.awaitedUntilMs ?? 0) > this.#clock.now();
  }

  /** The node whose key this is. */
  ofKey(keyDigest: string): Node | undefined {
    return [...this.#store.all('nodes').values()].find((node) => node.certificate?.keyDigest === keyDigest);
  }

  /**
   * Creates the record of a node that joins, with the smallest free index; none when there is one of this key: a join that
   * is repeated makes no second node. Resolves with the record's id.
   */
  async create({ id, role, certificate }: NewNode, signal: AbortSignal): Promise<string> {
    let found = id;
    await this.#retry(signal, async () => {
      // Two at once choose the same index: the second is told so, and finds the first here.
      const known = this.ofKey(certificate.keyDigest);
      found = known?.id ?? id;
      if (known !== undefined) return;
      const { index, expect } = this.#freeIndex();
      const nowMs = this.#clock.now();
      const node: Node = {
        id,
        spec: { role, availability: 'active', labels: {} },
        status: 'unknown',
        statusMessage: 'joined, not heard yet',
        statusAtMs: nowMs,
        createdAtMs: nowMs,
        updatedAtMs: nowMs,
        index,
        certificate: recorded(certificate),
      };
      await this.#store.commit(
        [
          { table: 'nodes', key: id, value: node, expect: 0 },
          // The name reserves the index: of two managers that chose the same one, one is told that it is stale.
          { table: 'names', key: indexName(index), value: { id }, expect },
        ],
        { signal },
      );
    });
    return found;
  }

  /** The node has got this certificate. */
  async certified(nodeId: string, certificate: NodeCertificate, signal: AbortSignal): Promise<void> {
    await this.#update(nodeId, signal, (node) => ({ ...node, certificate: recorded(certificate) }));
  }

  /** The node has opened this session. */
  async opened(session: OpenSession, description: NodeDescription): Promise<void> {
    await this.#update(session.nodeId, session.signal, (node) => ({
      ...withStatus(node, 'ready', this.#clock.now(), session.warning),
      session: session.id,
      description,
      ...(session.certificate === undefined ? {} : { certificate: recorded(session.certificate) }),
    }));
  }

  /** The node has said on which of its ports others listen, its addresses, which other networks it can be on, which devices it has, and so on. */
  async networksAre(
    nodeId: string,
    { takenPorts, addresses, drivers, devices, confinement }: Omit<NetworkReport, 'repairs'>,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#update(nodeId, signal, (node) => {
      const { takenPorts: _ports, addresses: _own, drivers: _drivers, devices: _devices, ...more } = node;
      const { confinement: _, ...rest } = more;
      return {
        ...rest,
        ...(takenPorts.length === 0 ? {} : { takenPorts }),
        ...(addresses === undefined ? {} : { addresses }),
        ...(drivers === undefined ? {} : { drivers }),
        ...(devices === undefined ? {} : { devices }),
        ...(confinement === undefined ? {} : { confinement }),
      };
    });
  }

  /** The node has other keys for encrypted networks. */
  async rekeyed(nodeId: string, tunnelKeys: TunnelKeys, signal: AbortSignal): Promise<void> {
    await this.#update(nodeId, signal, (node) =>
      node.description === undefined ? node : { ...node, description: { ...node.description, tunnelKeys } },
    );
  }

  /** Its time is up. Does nothing when it came back meanwhile, here (`absent` says) or at another manager. */
  async down(nodeId: string, message: string, absent: () => boolean, signal: AbortSignal): Promise<void> {
    await this.#update(nodeId, signal, (node) =>
      node.status === 'down' || !(this.isOurs(node) || this.isOrphan(node)) || !absent()
        ? node
        : withStatus(node, 'down', this.#clock.now(), message),
    );
  }

  /** This manager has just started and does not know. Does nothing once the node has come. */
  async unknown(nodeId: string, absent: () => boolean, signal: AbortSignal): Promise<void> {
    await this.#update(nodeId, signal, (node) =>
      node.status !== 'ready' || !this.isOurs(node) || !absent()
        ? node
        : withStatus(node, 'unknown', this.#clock.now(), 'the manager restarted'),
    );
  }

  async #update(nodeId: string, signal: AbortSignal, change: (node: Node) => Node): Promise<void> {
    await this.#retry(signal, async () => {
      const node = this.#store.get('nodes', nodeId);
      if (node === undefined) return;
      const expect = this.#store.version('nodes', nodeId);
      const next = change(node);
      if (sameData(next, node)) return;
      const value = { ...next, updatedAtMs: this.#clock.now() };
      await this.#store.commit([{ table: 'nodes', key: nodeId, value, expect }], { signal });
    });
  }

  /** Runs `work` until it succeeds: again soon when it was stale, later when the store can not be reached. */
  async #retry(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        signal.throwIfAborted();
        const isStale = error instanceof StaleError;
        if (!isStale && !(error instanceof UnavailableError)) throw error;
        if (!isStale) this.#logger.warn({ error: describeError(error) }, 'node record not written yet');
        await delay(backoffMs(attempt, isStale ? 5 : 100, 2000, Math.random()), signal);
      }
    }
  }

  /** The smallest index from 1 whose name is free, or held by a node that is gone. */
  #freeIndex(): { index: number; expect: number } {
    for (let index = 1; ; index += 1) {
      const holder = this.#store.get('names', indexName(index));
      if (holder !== undefined && this.#store.get('nodes', holder.id) !== undefined) continue;
      return { index, expect: this.#store.version('names', indexName(index)) };
    }
  }
}

/** The manager that has the node's newest session. */
export function managerOf(node: Node): string | undefined {
  return node.session?.slice(0, node.session.indexOf('.'));
}

function indexName(index: number): string {
  return `node-index:${index}`;
}

/** What the record keeps of a certificate. */
function recorded({ keyDigest, issuer, trust, endsAtMs }: NodeCertificate): NodeCertificate {
  return { keyDigest, issuer, trust, endsAtMs };
}

/** The node with another status, the time of the change, and the message of this change alone. */
function withStatus(node: Node, status: Node['status'], nowMs: number, statusMessage?: string): Node {
  const { statusMessage: _, ...rest } = node;
  const statusAtMs = node.status === status ? node.statusAtMs : nowMs;
  return { ...rest, status, statusAtMs, ...(statusMessage === undefined ? {} : { statusMessage }) };
}
