/** Mode.Cron of a service, Shoal's own: taken as the labels that say the same, so that there is one truth. */
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import type { Labels } from '../../../shared/model/index.ts';
import { sameJson } from '../../plan/reconcile/dirty.ts';
import { CRON_PREFIX, readCronLabels } from '../../stack/cron.ts';
import { formatDuration } from '../../stack/units.ts';
import { given, zText, zWhole } from './common.ts';

/** Docker clients do not know it: they are shown the labels, and a job without completions. */
export const zCronMode = z
  .object({
    Schedule: zText.describe('Five fields, or six with seconds first'),
    TimeZone: zText.describe('An IANA name; UTC by default'),
    Concurrency: z.enum(['', 'allow', 'forbid', 'replace']).nullish(),
    CatchUp: zWhole.describe('Nanoseconds; a minute by default'),
    History: zWhole.describe('Runs that are kept; 5 by default'),
  })
  .nullish();

/** By the last part of the label's name. */
const FIELDS: Readonly<Record<string, string>> = {
  schedule: 'Schedule',
  timezone: 'TimeZone',
  concurrency: 'Concurrency',
  'catch-up': 'CatchUp',
  history: 'History',
};

/** The labels with those that the field means. Throws InvalidError, also for labels that say something else. */
export function withCronField(labels: Labels, raw: z.output<typeof zCronMode>): Labels {
  if (raw === null || raw === undefined) return labels;
  const catchUp = given(raw.CatchUp);
  const values = {
    schedule: given(raw.Schedule),
    timezone: given(raw.TimeZone),
    concurrency: given(raw.Concurrency),
    'catch-up': catchUp === undefined ? undefined : formatDuration(catchUp),
    history: given(raw.History)?.toString(),
  };
  const meant: Record<string, string> = {};
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined) meant[CRON_PREFIX + name] = value;
  }
  if (values.schedule === undefined) throw problem('Mode.Cron.Schedule', 'is missing');
  const field = readCronLabels(meant);
  if (field.kind === 'problem') {
    throw problem(`Mode.Cron.${FIELDS[field.field.slice(CRON_PREFIX.length)] ?? ''}`, field.message);
  }
  const labelled = readCronLabels(labels);
  if (labelled.kind === 'none') return { ...labels, ...meant };
  if (labelled.kind === 'problem') throw problem(`Labels.${labelled.field}`, labelled.message);
  if (!sameJson(labelled, field)) {
    throw problem('Mode.Cron', `says something else than the labels ${CRON_PREFIX}*: give one of the two`);
  }
  return labels;
}

function problem(field: string, message: string): InvalidError {
  return new InvalidError(`invalid service spec: ${field}: ${message}`);
}
