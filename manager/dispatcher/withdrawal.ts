/**
 * Invariant 11, withdraw before signal: a task that is to stop keeps running until every connected node has confirmed
 * that no traffic of its own leads there any more, or until a deadline. Pure: events in, releases out.
 */
export type WithdrawalEvent =
  /** A frame went to a node: in it these tasks stopped serving, those serve. */
  | {
      readonly kind: 'sent';
      readonly nodeId: string;
      readonly seq: number;
      readonly withdrawn: readonly string[];
      readonly serving: readonly string[];
    }
  /** The node has done what all frames up to `seq` say. */
  | { readonly kind: 'acked'; readonly nodeId: string; readonly seq: number }
  /** The node's session is over: nobody waits for it. */
  | { readonly kind: 'closed'; readonly nodeId: string }
  /** The task is to stop. `unseen`: who was told that it serves is not known (told by an earlier manager). */
  | { readonly kind: 'hold'; readonly taskId: string; readonly nowMs: number; readonly unseen: boolean }
  | { readonly kind: 'tick'; readonly nowMs: number };

/** Another manager is waited for like a node: it confirms for all of its nodes. */
export function managerKey(managerId: string): string {
  return `${MANAGER_PREFIX}${managerId}`;
}

const MANAGER_PREFIX = 'manager:';

interface Hold {
  readonly deadlineMs: number;
  readonly unseen: boolean;
}

export class Withdrawals {
  readonly #timeoutMs: number;
  readonly #holds = new Map<string, Hold>();
  /** Task -> node -> the frame that withdraws it there, until the node acknowledges it. */
  readonly #unconfirmed = new Map<string, Map<string, number>>();

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** The tasks whose own node may be told now. Each is given once. */
  handle(event: WithdrawalEvent): readonly string[] {
    switch (event.kind) {
      case 'sent':
        for (const taskId of event.withdrawn) this.#expect(taskId, event.nodeId, event.seq);
        for (const taskId of event.serving) this.#confirm(taskId, event.nodeId);
        return [];
      case 'acked':
        return this.#confirmWhere((nodeId, seq) => nodeId === event.nodeId && seq <= event.seq);
      case 'closed':
        return this.#confirmWhere((nodeId) => nodeId === event.nodeId);
      case 'hold':
        this.#holds.set(event.taskId, {
          deadlineMs: event.nowMs + this.#timeoutMs,
          unseen: event.unseen,
        });
        return this.#releaseIfConfirmed(event.taskId);
      case 'tick':
        return this.#expire(event.nowMs);
    }
  }

  /** True while a node, other managers apart, has not confirmed that it leads nothing there. */
  awaitsNode(taskId: string): boolean {
    const nodes = this.#unconfirmed.get(taskId);
    return nodes !== undefined && [...nodes.keys()].some((key) => !key.startsWith(MANAGER_PREFIX));
  }

  #expect(taskId: string, nodeId: string, seq: number): void {
    const nodes = this.#unconfirmed.get(taskId) ?? new Map<string, number>();
    this.#unconfirmed.set(taskId, nodes.set(nodeId, seq));
  }

  #confirm(taskId: string, nodeId: string): void {
    const nodes = this.#unconfirmed.get(taskId);
    nodes?.delete(nodeId);
    if (nodes?.size === 0) this.#unconfirmed.delete(taskId);
  }

  #confirmWhere(matches: (nodeId: string, seq: number) => boolean): readonly string[] {
    const released: string[] = [];
    for (const [taskId, nodes] of this.#unconfirmed) {
      const confirmed = [...nodes].filter(([nodeId, seq]) => matches(nodeId, seq));
      for (const [nodeId] of confirmed) this.#confirm(taskId, nodeId);
      if (confirmed.length > 0) released.push(...this.#releaseIfConfirmed(taskId));
    }
    return released;
  }

  #releaseIfConfirmed(taskId: string): readonly string[] {
    const hold = this.#holds.get(taskId);
    if (hold === undefined || hold.unseen || this.#unconfirmed.has(taskId)) return [];
    this.#holds.delete(taskId);
    return [taskId];
  }

  #expire(nowMs: number): readonly string[] {
    const expired = [...this.#holds].filter(([, hold]) => hold.deadlineMs <= nowMs).map(([taskId]) => taskId);
    for (const taskId of expired) this.#holds.delete(taskId);
    return expired;
  }
}
