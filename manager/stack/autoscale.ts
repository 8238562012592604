/**
 * A service that has as many tasks as its use asks for. It is written as labels, since no Docker client has a field for it:
 * what a client reads and writes back keeps its labels.
 */
import type { Autoscale, Labels, ServiceSpec } from '../../shared/model/index.ts';
import type { Section } from './section.ts';
import { parseDuration } from './units.ts';

const PREFIX = 'shoal.autoscale.';
const KEY = 'x-shoal-autoscale';
const DEFAULT_COOL_DOWN = '5m';
const MIN_COOL_DOWN_MS = 1_000;
const MAX_COOL_DOWN_MS = 24 * 3_600_000;
const MAX_REPLICAS = 1_000_000;
const MAX_PERCENT = 10_000;

/** The last part of each label's name. */
const FIELDS = ['min', 'max', 'cpu', 'memory', 'cool-down'] as const;
type Field = (typeof FIELDS)[number];

export type AutoscaleReading =
  | { readonly kind: 'none' }
  | { readonly kind: 'autoscale'; readonly autoscale: Autoscale }
  /** `field` is the label's name. */
  | { readonly kind: 'problem'; readonly field: string; readonly message: string };

/** What else of the spec decides whether it can be scaled by use. */
export type Scalable = Pick<ServiceSpec, 'limits' | 'reservations'> & { readonly mode: ServiceSpec['mode'] };

/** One thing wrong with a label. */
class LabelProblem extends Error {
  readonly field: string;

  constructor(field: Field, message: string) {
    super(message);
    this.field = PREFIX + field;
  }
}

export function readAutoscaleLabels(labels: Labels, spec: Scalable): AutoscaleReading {
  const given = Object.keys(labels).filter((name) => name.startsWith(PREFIX));
  if (given.length === 0) return { kind: 'none' };
  const unknown = given.find((name) => !FIELDS.some((field) => name === PREFIX + field));
  if (unknown !== undefined) {
    const names = FIELDS.map((field) => PREFIX + field).join(', ');
    return { kind: 'problem', field: unknown, message: `is none of ${names}` };
  }
  try {
    return { kind: 'autoscale', autoscale: readAutoscale(labels, spec) };
  } catch (error) {
    if (!(error instanceof LabelProblem)) throw error;
    return { kind: 'problem', field: error.field, message: error.message };
  }
}

function readAutoscale(labels: Labels, { mode, limits, reservations }: Scalable): Autoscale {
  const field = (name: Field): string | undefined => labels[PREFIX + name];
  if (mode.kind !== 'replicated') throw new LabelProblem('max', 'needs mode replicated');
  const min = readCount('min', field('min') ?? '1');
  const most = field('max');
  if (most === undefined) throw new LabelProblem('max', 'is missing: the most tasks that there may be');
  const max = readCount('max', most);
  if (min > max)
    throw new LabelProblem('min', `${min} is more than ${PREFIX}max, ${max}: at most that is expected`);
  const cpuPercent = readPercent('cpu', field('cpu'));
  const memoryPercent = readPercent('memory', field('memory'));
  if (cpuPercent === undefined && memoryPercent === undefined)
    throw new LabelProblem('cpu', `or ${PREFIX}memory is missing: a target such as 70, in percent`);
  if (memoryPercent !== undefined && (reservations.memoryBytes ?? limits.memoryBytes) === undefined)
    throw new LabelProblem('memory', 'is a percentage of a reservation or a limit of memory: neither is set');
  return {
    min,
    max,
    ...(cpuPercent === undefined ? {} : { cpuPercent }),
    ...(memoryPercent === undefined ? {} : { memoryPercent }),
    coolDownMs: readCoolDown(field('cool-down') ?? DEFAULT_COOL_DOWN),
  };
}

function readCount(name: Field, text: string): number {
  const count = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > MAX_REPLICAS)
    throw new LabelProblem(name, `'${text}': a whole number from 1 to ${MAX_REPLICAS} is expected`);
  return count;
}

function readPercent(name: Field, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const percent = /^\d{1,5}%?$/.test(text) ? Number.parseInt(text, 10) : 0;
  if (percent < 1 || percent > MAX_PERCENT)
    throw new LabelProblem(name, `'${text}': a whole number of percent from 1 to ${MAX_PERCENT} is expected`);
  return percent;
}

function readCoolDown(text: string): number {
  const ms = (parseDuration(text) ?? 0) / 1e6;
  if (ms < MIN_COOL_DOWN_MS || ms > MAX_COOL_DOWN_MS || !Number.isInteger(ms))
    throw new LabelProblem(
      'cool-down',
      `'${text}': a duration such as 90s or 5m is expected, from 1s to 24h`,
    );
  return ms;
}

/** `x-shoal-autoscale` of a service's deploy, as the labels that say the same. */
export function readAutoscaleSection(deploy: Section): Labels {
  const section = deploy.section(KEY);
  if (section === undefined) return {};
  const fields = FIELDS.map((name) => [name, section.text(name)] as const);
  section.end();
  const labels = Object.fromEntries(
    fields.flatMap(([name, text]) => (text === undefined ? [] : [[PREFIX + name, text]])),
  );
  if (Object.keys(labels).length === 0) section.expected(section.map, 'max and a target');
  return labels;
}

/** What the labels of a deploy ask for; mistakes are told where they are. */
export function readAutoscaling(
  deploy: Section | undefined,
  labels: Labels,
  spec: Scalable,
): { readonly autoscale?: Autoscale } {
  const reading = readAutoscaleLabels(labels, spec);
  if (reading.kind === 'none' || deploy === undefined) return {};
  if (reading.kind === 'autoscale') return { autoscale: reading.autoscale };
  const key = deploy.has(KEY) ? KEY : 'labels';
  const at = deploy.map.entries.get(key)?.at ?? deploy.map;
  deploy.problems.error(at, `${deploy.map.key}.${key}`, `${reading.field}: ${reading.message}`);
  return {};
}
