/** Cron schedules: croner's dialect (five fields, or six with seconds first; @hourly, L, #, names), in a time zone. */
import { Cron } from 'croner';

const KEPT = 1000;

interface Entry {
  readonly cron: Cron;
  interval: Interval | undefined;
}

const parsed = new Map<string, Entry>();

/** What is wrong with the name of a time zone; undefined: nothing. */
export function timeZoneProblem(timeZone: string): string | undefined {
  try {
    Intl.DateTimeFormat('en', { timeZone });
    return undefined;
  } catch {
    return `'${timeZone}' is no time zone: a name of the IANA database is expected, such as Europe/Berlin`;
  }
}

/** What is wrong with a schedule in a time zone that there is, for people; undefined: nothing. */
export function scheduleProblem(schedule: string, timeZone: string): string | undefined {
  try {
    const never = parse(schedule, timeZone).cron.nextRun(new Date(0)) === null;
    return never ? `'${schedule}' never comes` : undefined;
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^Cron\w*: /, '') : String(error);
    return `'${schedule}' is no cron schedule: ${why}`;
  }
}

/** Between two times of a schedule; undefined: there is none on that side. */
interface Interval {
  readonly last: number | undefined;
  readonly next: number | undefined;
}

/** The first time after `afterMs`; undefined when there is none. A local time that a clock change skips comes right after it. */
export function nextTime(schedule: string, timeZone: string, afterMs: number): number | undefined {
  return intervalAt(schedule, timeZone, afterMs).next;
}

/** The last time that is not later than `atMs`. */
export function lastTime(schedule: string, timeZone: string, atMs: number): number | undefined {
  return intervalAt(schedule, timeZone, atMs).last;
}

/** Looking a time up takes half a millisecond, so the interval of the moment is remembered. */
function intervalAt(schedule: string, timeZone: string, atMs: number): Interval {
  const entry = parse(schedule, timeZone);
  const known = entry.interval;
  if (known !== undefined && (known.last ?? -Infinity) <= atMs && atMs < (known.next ?? Infinity))
    return known;
  const interval = {
    // Times are whole seconds, and those before the reference are looked for.
    last: entry.cron.previousRuns(1, new Date(atMs + 1))[0]?.getTime(),
    next: entry.cron.nextRun(new Date(atMs))?.getTime(),
  };
  entry.interval = interval;
  return interval;
}

function parse(schedule: string, timezone: string): Entry {
  const key = `${timezone} ${schedule}`;
  const known = parsed.get(key);
  if (known !== undefined) return known;
  const entry: Entry = {
    cron: new Cron(schedule, { timezone, paused: true, mode: '5-or-6-parts' }),
    interval: undefined,
  };
  if (parsed.size >= KEPT) parsed.clear();
  parsed.set(key, entry);
  return entry;
}
