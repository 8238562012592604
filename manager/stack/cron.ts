/**
 * A job that runs on a schedule. It is written as labels of a service of mode replicated-job, since no Docker client has a
 * field for it: what a client reads and writes back keeps its labels.
 */
import { scheduleProblem, timeZoneProblem } from '../../shared/lib/cron.ts';
import type { CronMode, Labels } from '../../shared/model/index.ts';
import type { Section } from './section.ts';
import { parseDuration } from './units.ts';

export const CRON_PREFIX = 'shoal.cron.';
const DEFAULT_CATCH_UP_MS = 60_000;
/** A run that is less late than this is never given up: a change of leader may take so long. */
const MIN_CATCH_UP_MS = 1_000;
const CONCURRENCIES = ['allow', 'forbid', 'replace'] as const;

/** The last part of each label's name. */
const FIELDS = ['schedule', 'timezone', 'concurrency', 'catch-up', 'history'] as const;

export type CronReading =
  | { readonly kind: 'none' }
  | { readonly kind: 'cron'; readonly mode: CronMode }
  /** `field` is the label's name. */
  | { readonly kind: 'problem'; readonly field: string; readonly message: string };

export function readCronLabels(labels: Labels): CronReading {
  const given = Object.keys(labels).filter((name) => name.startsWith(CRON_PREFIX));
  if (given.length === 0) return { kind: 'none' };
  const unknown = given.find((name) => !FIELDS.some((field) => name === CRON_PREFIX + field));
  const names = FIELDS.map((field) => CRON_PREFIX + field).join(', ');
  if (unknown !== undefined) return problem(unknown, `is none of ${names}`);
  const field = (name: (typeof FIELDS)[number]): string | undefined => labels[CRON_PREFIX + name];
  const schedule = field('schedule');
  if (schedule === undefined) return problem(`${CRON_PREFIX}schedule`, 'is missing');
  const timeZone = field('timezone') ?? 'UTC';
  const nowhere = timeZoneProblem(timeZone);
  if (nowhere !== undefined) return problem(`${CRON_PREFIX}timezone`, nowhere);
  const wrong = scheduleProblem(schedule, timeZone);
  if (wrong !== undefined) return problem(`${CRON_PREFIX}schedule`, wrong);
  const concurrency = CONCURRENCIES.find((one) => one === (field('concurrency') ?? 'allow'));
  if (concurrency === undefined)
    return problem(`${CRON_PREFIX}concurrency`, `one of ${CONCURRENCIES.join(', ')} is expected`);
  const catchUp = field('catch-up');
  const catchUpNs = catchUp === undefined ? DEFAULT_CATCH_UP_MS * 1e6 : parseDuration(catchUp);
  if (catchUpNs === undefined || catchUpNs < MIN_CATCH_UP_MS * 1e6)
    return problem(`${CRON_PREFIX}catch-up`, 'a duration such as 90s or 1h is expected, at least 1s');
  const history = field('history') ?? '5';
  if (!/^[1-9]\d{0,2}$/.test(history))
    return problem(`${CRON_PREFIX}history`, 'a number of runs from 1 to 999 is expected');
  const catchUpMs = catchUpNs / 1e6;
  const mode = {
    kind: 'cron',
    schedule,
    timeZone,
    concurrency,
    catchUpMs,
    history: Number(history),
  } as const;
  return { kind: 'cron', mode };
}

function problem(field: string, message: string): CronReading {
  return { kind: 'problem', field, message };
}

/** `x-shoal-cron` of a service's deploy, as the labels that say the same. What is missing or wrong is told. */
export function readCronSection(deploy: Section): Labels {
  const section = deploy.section('x-shoal-cron');
  if (section === undefined) return {};
  const fields = FIELDS.map((name) => [name, section.text(name)] as const);
  section.end();
  const labels = Object.fromEntries(
    fields.flatMap(([name, text]) => (text === undefined ? [] : [[CRON_PREFIX + name, text]])),
  );
  if (Object.keys(labels).length === 0) section.expected(section.map, 'a schedule');
  return labels;
}
