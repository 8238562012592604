/**
 * What a newer version says and this one does not know is left out and named, instead of being refused. Only for peers that
 * are newer: from all others an unknown key is a mistake.
 */
import { z } from 'zod';
import { tryJson } from '../lib/try-json.ts';
import { VERSION } from '../lib/version.ts';
import { type Skew, versionSkew } from '../lib/version-skew.ts';

/** Told of each key that is left out, by its path without positions: `put.tasks.spec.colour`. */
export type Tolerate = (path: string) => void;

/** Objects within unions within objects: more rounds than any frame is deep. */
const MOST_ROUNDS = 20;

type Issue = z.core.$ZodIssue;
interface Unknown {
  readonly path: readonly PropertyKey[];
  readonly keys: readonly string[];
}

/** Takes the unknown keys out of `value`, which nobody else has, and returns whether that was all that was wrong. */
export function leaveOutUnknown(schema: z.ZodType, value: unknown, tolerate: Tolerate): boolean {
  for (let round = 0; round < MOST_ROUNDS; round += 1) {
    const parsed = schema.safeParse(value);
    if (parsed.success) return true;
    const unknown = parsed.error.issues.map((issue) => unknownOf(issue, []));
    for (const found of unknown) {
      if (found === undefined) return false;
      for (const one of found) remove(value, one, tolerate);
    }
  }
  return false;
}

/** Undefined when something else is wrong. Of a union the first alternative that is right but for such keys. */
function unknownOf(issue: Issue, above: readonly PropertyKey[]): readonly Unknown[] | undefined {
  const path = [...above, ...issue.path];
  if (issue.code === 'unrecognized_keys') return [{ path, keys: issue.keys }];
  if (issue.code !== 'invalid_union') return undefined;
  for (const alternative of issue.errors) {
    const found = alternative.map((inner) => unknownOf(inner, path));
    const all = found.flatMap((one) => one ?? []);
    if (found.length > 0 && found.every((one) => one !== undefined)) return all;
  }
  return undefined;
}

function remove(value: unknown, { path, keys }: Unknown, tolerate: Tolerate): void {
  let object = value as Record<PropertyKey, unknown> | undefined;
  for (const step of path) object = object?.[step] as Record<PropertyKey, unknown> | undefined;
  if (typeof object !== 'object' || object === null) return;
  for (const key of keys) {
    delete object[key];
    tolerate([...path.filter((step) => typeof step === 'string'), key].join('.'));
  }
}

/** A manager says its version as such, an agent in its description. */
const firstFrame = z.object({
  version: z.string().optional(),
  description: z.object({ engineVersion: z.string().optional() }).optional(),
});

/** How far a peer is apart, by its first frame, whatever else is in it. One that says no version is taken for one of ours. */
export function peerSkew(text: string): { readonly skew: Skew; readonly version: string } {
  const parsed = firstFrame.safeParse(tryJson(text));
  const version = parsed.data?.version ?? parsed.data?.description?.engineVersion ?? VERSION;
  return { skew: versionSkew(VERSION, version), version };
}
