/** What the kernel refuses keeps nothing else from being done: the last resort, when trying again has not helped. */
import type { Batch } from './plan.ts';

/** Each try is a call: of a namespace that is not there all would be refused. */
const MOST_REFUSALS = 64;

type Apply = (batches: readonly Batch[]) => Promise<void>;

/** Does what can be done of the batches, in order. Resolves with the first refusal, or undefined. */
export async function applyDespite(batches: readonly Batch[], apply: Apply): Promise<Error | undefined> {
  const refusals: Error[] = [];
  const attempt = async ({ netns, ops }: Batch): Promise<void> => {
    try {
      await apply([{ netns, ops }]);
    } catch (error) {
      refusals.push(error instanceof Error ? error : new Error(String(error)));
      if (ops.length < 2 || refusals.length >= MOST_REFUSALS) return;
      const middle = ops.length >> 1;
      await attempt({ netns, ops: ops.slice(0, middle) });
      await attempt({ netns, ops: ops.slice(middle) });
    }
  };
  for (const batch of batches) await attempt(batch);
  return refusals[0];
}
