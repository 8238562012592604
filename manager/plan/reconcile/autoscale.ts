/**
 * How many tasks a service has, by what they use: Kubernetes' rule (HorizontalPodAutoscaler), with its caution where
 * something is not known. A number, its reason and what has to be remembered; nothing is done here.
 */
import type { Autoscale } from '../../../shared/model/index.ts';
import { withinBounds } from '../../../shared/model/index.ts';

/** What one task uses, in percent of what it is measured by. */
export interface Use {
  readonly cpuPercent: number;
  /** Absent when nothing says how much the task is meant to have. */
  readonly memoryPercent?: number;
}

/** How many tasks would have been right, lately. `peaks`: what may still be the highest of the cool-down, falling. */
export interface Recommendations {
  readonly sinceMs: number;
  readonly lastMs: number;
  readonly peaks: readonly { readonly atMs: number; readonly replicas: number }[];
}

export interface ScaleInput {
  readonly autoscale: Autoscale;
  readonly current: number;
  /** Of the tasks that are there; undefined for one that is not up or of which nothing was heard. */
  readonly uses: readonly (Use | undefined)[];
  readonly changedAtMs: number | undefined;
  /** An update is under way: what is there now says little of what will do. */
  readonly updating: boolean;
  readonly history: Recommendations | undefined;
  readonly now: number;
}

export interface ScaleDecision {
  readonly replicas: number;
  /** For people: what the number was made of. */
  readonly reason: string;
  readonly history: Recommendations;
}

/** A mean that is so near to its target is left alone. */
const TOLERANCE = 0.1;
/** A change shows in what is used after this long: until then no more is added. */
const UP_PAUSE_MS = 15_000;
/** Nobody looked for so long (another manager led, say): what was before says nothing. */
const GAP_MS = 60_000;
/** Sums of percents are not exact. */
const EPSILON = 1e-9;

export function decideReplicas(input: ScaleInput): ScaleDecision {
  const { autoscale, current, now } = input;
  const { replicas: best, reason } = recommend(input);
  const history = remember(input.history, best, now, autoscale.coolDownMs);
  const stay = { replicas: current, reason, history };
  if (best > current) {
    if (isWithin(input.changedAtMs, now, Math.min(UP_PAUSE_MS, autoscale.coolDownMs))) return stay;
    return { ...stay, replicas: Math.min(best, Math.max(2 * current, current + 4)) };
  }
  const needed = Math.max(...history.peaks.map(({ replicas }) => replicas));
  const early =
    isWithin(input.changedAtMs, now, autoscale.coolDownMs) ||
    isWithin(history.sinceMs, now, autoscale.coolDownMs);
  return needed >= current || early || input.updating ? stay : { ...stay, replicas: needed };
}

/** A time that is still to come (the clock was set) is over, as it could be far. */
function isWithin(atMs: number | undefined, now: number, forMs: number): boolean {
  return atMs !== undefined && now - atMs >= 0 && now - atMs < forMs;
}

/** What would be right at this moment, within the bounds: the most that any of the targets asks for. */
function recommend(input: ScaleInput): { readonly replicas: number; readonly reason: string } {
  const { autoscale, current, uses } = input;
  const targets = [
    { name: 'cpu', percent: autoscale.cpuPercent, of: (use: Use) => use.cpuPercent },
    { name: 'memory', percent: autoscale.memoryPercent, of: (use: Use) => use.memoryPercent },
  ];
  const found = targets.flatMap(({ name, percent, of }) => {
    if (percent === undefined) return [];
    const known = uses.flatMap((use) => (use === undefined ? [] : (of(use) ?? [])));
    const mean = meanOf(known);
    if (mean === undefined) return [{ replicas: current, reason: `${name} use is not known` }];
    const reason = `mean ${name} use was ${Math.round(mean)} %, the target is ${percent} %`;
    return [{ replicas: withinBounds(replicasFor(known, current, percent), autoscale), reason }];
  });
  const first = { replicas: autoscale.min, reason: '' };
  return found.reduce((most, one) => (one.replicas > most.replicas || most === first ? one : most), first);
}

/** Undefined of none. */
export function meanOf(numbers: readonly number[]): number | undefined {
  return numbers.length === 0 ? undefined : numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
}

/**
 * As many as bring the mean to the target. Tasks of which nothing is known are thought idle when more would be started,
 * and just as busy as they should be when some would be stopped, so that not knowing never moves the number.
 */
function replicasFor(known: readonly number[], current: number, targetPercent: number): number {
  const sum = known.reduce((total, one) => total + one, 0);
  const ratio = sum / (known.length * targetPercent);
  const missing = Math.max(0, current - known.length);
  const full = sum + (ratio > 1 ? 0 : missing * targetPercent);
  const tasks = known.length + missing;
  const fullRatio = full / (tasks * targetPercent);
  if (isNear(ratio) || isNear(fullRatio) || ratio > 1 !== fullRatio > 1) return current;
  const replicas = Math.ceil(full / targetPercent - EPSILON);
  return ratio > 1 ? Math.max(current, replicas) : Math.min(current, replicas);
}

function isNear(ratio: number): boolean {
  return Math.abs(ratio - 1) <= TOLERANCE + EPSILON;
}

/** The history with one more recommendation; none of it is older than the cool-down. */
function remember(
  history: Recommendations | undefined,
  replicas: number,
  now: number,
  coolDownMs: number,
): Recommendations {
  const newest = { atMs: now, replicas };
  const follows = history !== undefined && now >= history.lastMs && now - history.lastMs <= GAP_MS;
  if (!follows) return { sinceMs: now, lastMs: now, peaks: [newest] };
  const peaks = history.peaks.filter((peak) => peak.replicas > replicas && now - peak.atMs < coolDownMs);
  return { sinceMs: history.sinceMs, lastMs: now, peaks: [...peaks, newest] };
}
