/** Which slots go when a service is scaled down. */
import type { Node } from '../../../shared/model/index.ts';
import { isUp, isWanted } from '../states.ts';
import type { Slot } from './context.ts';

/**
 * Slots that do not run go first, then those on drained nodes, then those on the nodes that hold most of the service; among
 * equals the highest number. `count` <= 0: none.
 */
export function chooseVictims(slots: readonly Slot[], count: number): Set<Slot> {
  if (count <= 0) return new Set();
  const ranked = [...slots].sort((a, b) => a.slot - b.slot);
  const onNode = new Map<string, number>();
  const weight = new Map<Slot, number>();
  for (const slot of ranked) {
    const node = nodeOfRunning(slot);
    if (node === undefined || node.spec.availability === 'drain') {
      weight.set(slot, node === undefined ? Number.POSITIVE_INFINITY : Number.MAX_VALUE);
      continue;
    }
    const nodeId = node.id;
    // The n-th of its node weighs n: taking the heaviest first levels the nodes.
    const nth = (onNode.get(nodeId) ?? 0) + 1;
    onNode.set(nodeId, nth);
    weight.set(slot, nth);
  }
  ranked.sort((a, b) => compareWeights(weight.get(b) ?? 0, weight.get(a) ?? 0) || b.slot - a.slot);
  return new Set(ranked.slice(0, count));
}

function compareWeights(a: number, b: number): number {
  return a === b ? 0 : a - b;
}

function nodeOfRunning(slot: Slot): Node | undefined {
  return slot.tasks.find(
    ({ task, status, node }) => isWanted(task) && isUp(status) && node?.status !== 'down',
  )?.node;
}
