/**
 * Which standalone containers the newest assignments name. Such a container outlives its tasks: its files stay for as long
 * as any task of this node claims them, and go with the last.
 */
import type { AssignmentSet } from '../../shared/model/index.ts';
import { standaloneMode } from '../container/standalone.ts';

export class ContainerClaims {
  #claimed: ReadonlySet<string> = new Set();
  /** Of every task that has been assigned and is not forgotten yet. */
  readonly #containers = new Map<string, string>();

  /** The newest set that a manager sent. */
  take(set: Pick<AssignmentSet, 'tasks'>): void {
    const claimed = new Set<string>();
    for (const task of set.tasks.values()) {
      const mode = standaloneMode(task);
      if (mode === undefined) continue;
      claimed.add(mode.containerId);
      this.#containers.set(task.taskId, mode.containerId);
    }
    this.#claimed = claimed;
  }

  /** Some task of the newest set has the container. */
  isClaimed(containerId: string): boolean {
    return this.#claimed.has(containerId);
  }

  /** The standalone container of a task. */
  containerOf(taskId: string): string | undefined {
    return this.#containers.get(taskId);
  }

  forget(taskId: string): void {
    this.#containers.delete(taskId);
  }
}
