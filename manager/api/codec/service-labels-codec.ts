/** What labels of a service ask for. Each throws InvalidError with the label and what is allowed. */
import { InvalidError } from '../../../shared/errors/index.ts';
import type { Autoscale, Labels, Placement, ServiceMode, ServiceSpec } from '../../../shared/model/index.ts';
import { readAutoscaleLabels, type Scalable } from '../../stack/autoscale.ts';
import { CRON_PREFIX, readCronLabels } from '../../stack/cron.ts';
import { readMoveLabels } from '../../stack/move-labels.ts';
import { readPlacementLabels } from '../../stack/placement-labels.ts';
import { PRIORITY_LABEL, readPriority } from '../../stack/priority.ts';
import { readTrafficLabels, type Traffic } from '../../stack/traffic-labels.ts';
import { DEADLINE_LABEL, readUpdateDeadline } from '../../stack/update-deadline.ts';

function refuse(label: string, message: string): never {
  throw new InvalidError(`invalid service spec: Labels.${label}: ${message}`);
}

export function decodePlacementLabels(labels: Labels): Pick<Placement, 'strategy' | 'affinities'> {
  const reading = readPlacementLabels(labels);
  if (reading.kind === 'problem') refuse(reading.field, reading.message);
  return reading.placement;
}

export function decodeMoveLabels(spec: ServiceSpec): Pick<ServiceSpec, 'drain' | 'rebalanceEveryMs'> {
  const reading = readMoveLabels(spec);
  if (reading.kind === 'problem') refuse(reading.field, reading.message);
  return reading.moves;
}

export function decodeTrafficLabels(spec: ServiceSpec): Traffic {
  const reading = readTrafficLabels(spec);
  if (reading.kind === 'problem') refuse(reading.field, reading.message);
  return reading.traffic;
}

export function decodeDeadline(labels: Labels): number | undefined {
  const deadline = readUpdateDeadline(labels);
  if (typeof deadline === 'string') refuse(DEADLINE_LABEL, deadline);
  return deadline;
}

export function decodePriority(labels: Labels): number | undefined {
  const priority = readPriority(labels);
  if (typeof priority === 'string') refuse(PRIORITY_LABEL, priority);
  return priority;
}

export function decodeAutoscale(labels: Labels, spec: Scalable): Autoscale | undefined {
  const reading = readAutoscaleLabels(labels, spec);
  if (reading.kind === 'problem') refuse(reading.field, reading.message);
  return reading.kind === 'autoscale' ? reading.autoscale : undefined;
}

/** A job's labels may say when it runs. */
export function withSchedule(mode: ServiceMode, labels: Labels): ServiceMode {
  const cron = readCronLabels(labels);
  if (cron.kind === 'none') return mode;
  if (cron.kind === 'problem') refuse(cron.field, cron.message);
  if (mode.kind !== 'replicated-job' || mode.totalCompletions > 1)
    refuse(`${CRON_PREFIX}schedule`, 'needs Mode.ReplicatedJob with at most one completion');
  return cron.mode;
}
