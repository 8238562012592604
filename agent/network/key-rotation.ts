/** PURE. When a node's key for encrypted networks is followed by another one. */

export interface Key {
  readonly slot: 0 | 1;
  readonly madeAtMs: number;
}

/** At most one of `next` and `old`: there are two slots. */
export interface KeyState {
  /** By which this node sends, and is sent to. */
  readonly active: Key;
  /** Made and told, not used yet. */
  readonly next?: Key;
  /** Not used any more, but some node may not know that. */
  readonly old?: Key;
}

export type KeyStep = 'make' | 'activate' | 'drop';

export const REPLACE_AFTER_MS = 24 * 3600 * 1000;
/** A node that hears nothing of its managers for so long loses what is encrypted until it does. */
export const SETTLE_MS = 5 * 60 * 1000;

/** `heardForMs`: for how long managers have told the state as it is; undefined: they do not yet. */
export function nextStep(
  { active, next, old }: KeyState,
  nowMs: number,
  heardForMs: number | undefined,
): KeyStep | undefined {
  if (next !== undefined || old !== undefined) {
    if (heardForMs === undefined || heardForMs < SETTLE_MS) return undefined;
    return next === undefined ? 'drop' : 'activate';
  }
  // A clock that was set back by more makes it due as well.
  return Math.abs(nowMs - active.madeAtMs) >= REPLACE_AFTER_MS ? 'make' : undefined;
}

export function stateAfter({ active, next }: KeyState, step: KeyStep, nowMs: number): KeyState {
  if (step === 'make') return { active, next: { slot: otherSlot(active), madeAtMs: nowMs } };
  if (step === 'activate' && next !== undefined) return { active: next, old: active };
  return { active };
}

export function otherSlot({ slot }: Key): 0 | 1 {
  return slot === 0 ? 1 : 0;
}
