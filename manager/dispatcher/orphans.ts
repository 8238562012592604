/**
 * Nodes whose manager is gone: the manager that leads judges them, after the patience that a restarted manager has with its own,
 * for they may be on their way to another manager.
 */
import type { Node } from '../../shared/model/index.ts';
import type { FailureDetector } from './failure-detector.ts';

/** How often it is looked for nodes whose manager is gone. */
export const ORPHANS_LOOK_MS = 1_000;

export interface OrphansOptions {
  readonly nodes: () => Iterable<Node>;
  readonly isOrphan: (node: Node) => boolean;
  readonly detector: Pick<FailureDetector, 'expect' | 'forget'>;
  /** The node has a session here. */
  readonly isHere: (nodeId: string) => boolean;
}

export class Orphans {
  readonly #options: OrphansOptions;
  readonly #watched = new Set<string>();

  constructor(options: OrphansOptions) {
    this.#options = options;
  }

  has(nodeId: string): boolean {
    return this.#watched.has(nodeId);
  }

  /** To be called now and then: takes up those that are orphans now, lets go those that are none any more. */
  look(nowMs: number): void {
    const { nodes, isOrphan, detector, isHere } = this.#options;
    const gone = new Set(this.#watched);
    for (const node of nodes()) {
      if (isHere(node.id) || node.status === 'down' || !isOrphan(node)) continue;
      gone.delete(node.id);
      if (this.#watched.has(node.id)) continue;
      this.#watched.add(node.id);
      detector.expect(node.id, nowMs);
    }
    for (const nodeId of gone) {
      this.#watched.delete(nodeId);
      if (!isHere(nodeId)) detector.forget(nodeId);
    }
  }
}
