/** The labels by which services and networks say who may open connections to whom. */
import type { AllowRule } from '../model/allow.ts';
import type { Labels } from '../model/service.ts';
import { STACK_LABEL } from '../model/stack.ts';

/** Of a service. */
export const ALLOW_FROM_LABEL = 'shoal.allow-from';
/** Of a network. */
export const ALLOW_LABEL = 'shoal.allow';
/** The whole list of those that let nobody in. */
const NONE = 'none';
const ANY = '*';
const MOST_RULES = 200;
const PROTOCOLS = ['tcp', 'udp', 'sctp', 'icmp'] as const;
/** Names of services, and of single containers. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;
const WHAT = `a service's name or * is expected, then if not all ports :PORT, :FIRST-LAST or :PORT/udp (tcp, udp, sctp), or :icmp`;

export type AllowReading = readonly AllowRule[] | string | undefined;

/** Of a service. Undefined: it says nothing, and everybody may; a text: what is wrong with it. */
export function readAllowFrom(labels: Labels): AllowReading {
  return readList(labels, ALLOW_FROM_LABEL, (entry) => readRule(entry, labels[STACK_LABEL]));
}

/** Of a network. */
export function readAllow(labels: Labels): AllowReading {
  const stack = labels[STACK_LABEL];
  return readList(labels, ALLOW_LABEL, (entry) => {
    const [from = '', to, ...more] = entry.split('>').map((part) => part.trim());
    if (to === undefined || more.length > 0) return `'${entry}': FROM>TO or FROM>TO:PORT is expected`;
    const names = namesOf(from, stack);
    if (typeof names === 'string') return names;
    const rule = readRule(to, stack);
    if (typeof rule === 'string') return rule;
    const { from: target, ...ports } = rule;
    return {
      ...(names === undefined ? {} : { from: names }),
      ...(target === undefined ? {} : { to: target }),
      ...ports,
    };
  });
}

/** Names that rules give to services, each as it was written. */
export function namesInRules(rules: readonly AllowRule[]): string[] {
  const names = rules.flatMap(({ from, to }) => [from, to].flatMap((one) => one?.at(-1) ?? []));
  return [...new Set(names)];
}

function readList(labels: Labels, label: string, read: (entry: string) => AllowRule | string): AllowReading {
  const text = labels[label];
  if (text === undefined) return undefined;
  if (text.trim() === NONE) return [];
  const entries = text.split(',').map((entry) => entry.trim());
  if (entries.length > MOST_RULES) return `at most ${MOST_RULES} entries are possible`;
  const rules: AllowRule[] = [];
  for (const entry of entries) {
    if (entry === '') return `a list separated by commas is expected, or ${NONE}`;
    const rule = read(entry);
    if (typeof rule === 'string') return rule;
    rules.push(rule);
  }
  return rules;
}

/** `NAME`, `NAME:PORTS`. */
function readRule(entry: string, stack: string | undefined): AllowRule | string {
  const colon = entry.indexOf(':');
  const names = namesOf(colon < 0 ? entry : entry.slice(0, colon), stack);
  if (typeof names === 'string') return names;
  const from = names === undefined ? {} : { from: names };
  if (colon < 0) return from;
  const ports = readPorts(entry.slice(colon + 1));
  return ports === undefined ? `'${entry}': ${WHAT}` : { ...from, ...ports };
}

/** Undefined: any. */
function namesOf(text: string, stack: string | undefined): readonly string[] | string | undefined {
  if (text === ANY) return undefined;
  if (!NAME.test(text)) return `'${text}': ${WHAT}`;
  return stack === undefined ? [text] : [`${stack}_${text}`, text];
}

function readPorts(text: string): Pick<AllowRule, 'protocol' | 'ports'> | undefined {
  const whole = PROTOCOLS.find((one) => one === text);
  if (whole !== undefined) return { protocol: whole };
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(text);
  if (match === null) return undefined;
  const protocol = PROTOCOLS.find((one) => one === match[3]) ?? 'tcp';
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  if (first < 1 || last < first || last > 65_535) return undefined;
  return { protocol, ports: [first, last] };
}
