/** Tasks that are moved although they run: off drained nodes first, and when there is nothing of that, to level the nodes. */
import type { Task } from '../../../shared/model/index.ts';
import type { SlotAction } from './actions.ts';
import type { ServiceContext } from './context.ts';
import { decideDrain } from './drain.ts';
import { decideRebalance } from './rebalance.ts';
import type { SlotOutcome } from './slot.ts';
import type { UpdateDecision } from './update.ts';

export interface MovesDecision {
  readonly slots: ReadonlyMap<string, readonly SlotAction[]>;
  readonly level: readonly Task[] | undefined;
  readonly wakeAt: number | undefined;
  /** Attempts may fail, and are counted. */
  readonly active: boolean;
}

export const NO_MOVES: MovesDecision = {
  slots: new Map(),
  level: undefined,
  wakeAt: undefined,
  active: false,
};

export function decideMoves(
  context: ServiceContext,
  outcomes: readonly SlotOutcome[],
  update: UpdateDecision,
): MovesDecision {
  const drain = decideDrain(context, outcomes, update);
  if (drain.active) return { ...drain, level: undefined };
  if (update.active) return NO_MOVES;
  const rebalance = decideRebalance(context, outcomes);
  return { ...NO_MOVES, ...rebalance, active: context.spec.rebalanceEveryMs !== undefined };
}
