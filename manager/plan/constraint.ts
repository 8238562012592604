/** Placement constraints: `node.labels.zone==a`. Only == and !=, values compared without case, as Swarm has them. */
import { cidrContains, parseAddress, parseCidr } from '../../shared/lib/cidr.ts';
import type { Node } from '../../shared/model/index.ts';

export interface Constraint {
  /** As written, for messages. */
  readonly text: string;
  readonly key: string;
  readonly operator: '==' | '!=';
  /** Lower case. */
  readonly value: string;
}

const FIELDS = ['node.id', 'node.hostname', 'node.ip', 'node.role', 'node.platform.os', 'node.platform.arch'];
const NODE_LABEL = 'node.labels.';
const ENGINE_LABEL = 'engine.labels.';

/** Throws TypeError that names the expression and says what is wrong with it. */
export function parseConstraint(text: string): Constraint {
  const match = /^\s*([^\s=!<>]+)\s*(==|!=)\s*(\S(?:.*\S)?)\s*$/.exec(text);
  const [, rawKey, operator, value] = match ?? [];
  if (rawKey === undefined || value === undefined || (operator !== '==' && operator !== '!=')) {
    throw new TypeError(`invalid constraint "${text}": expected KEY==VALUE or KEY!=VALUE`);
  }
  const key = normalKey(rawKey);
  if (key === undefined) {
    const known = [...FIELDS, `${NODE_LABEL}NAME`, `${ENGINE_LABEL}NAME`].join(', ');
    throw new TypeError(`invalid constraint "${text}": unknown key "${rawKey}" (known: ${known})`);
  }
  if (key === 'node.ip') assertIpValue(text, value);
  return { text: text.trim(), key, operator, value: value.toLowerCase() };
}

/** True when the node meets it. A node without the attribute compares as the empty string. */
export function meetsConstraint(node: Node, constraint: Constraint): boolean {
  const equal =
    constraint.key === 'node.ip'
      ? isInside(node.description?.address, constraint.value)
      : attributeOf(node, constraint.key).toLowerCase() === valueOf(constraint);
  return equal === (constraint.operator === '==');
}

/** The value of an attribute (the left side of a constraint, or a spread preference) on a node; '' when it has none. */
export function attributeOf(node: Node, key: string): string {
  if (key.startsWith(NODE_LABEL)) return node.spec.labels[key.slice(NODE_LABEL.length)] ?? '';
  if (key.startsWith(ENGINE_LABEL)) {
    return node.description?.engineLabels[key.slice(ENGINE_LABEL.length)] ?? '';
  }
  switch (key) {
    case 'node.id':
      return node.id;
    case 'node.hostname':
      return node.description?.hostname ?? '';
    case 'node.ip':
      return node.description?.address ?? '';
    case 'node.role':
      return node.spec.role;
    case 'node.platform.os':
      return node.description?.os ?? '';
    case 'node.platform.arch':
      return normalArch(node.description?.arch ?? '');
    default:
      return '';
  }
}

/** Go's and the kernel's names of a processor mean the same: amd64 is x86_64, arm64 is aarch64. */
export function normalArch(arch: string): string {
  const lower = arch.toLowerCase();
  if (lower === 'amd64') return 'x86_64';
  return lower === 'arm64' ? 'aarch64' : lower;
}

function valueOf(constraint: Constraint): string {
  return constraint.key === 'node.platform.arch' ? normalArch(constraint.value) : constraint.value;
}

function normalKey(key: string): string | undefined {
  const lower = key.toLowerCase();
  if (FIELDS.includes(lower)) return lower;
  for (const prefix of [NODE_LABEL, ENGINE_LABEL]) {
    if (lower.startsWith(prefix) && key.length > prefix.length) return prefix + key.slice(prefix.length);
  }
  return undefined;
}

function assertIpValue(text: string, value: string): void {
  try {
    if (value.includes('/')) parseCidr(value);
    else parseAddress(value);
  } catch {
    throw new TypeError(`invalid constraint "${text}": "${value}" is no IPv4 address or CIDR`);
  }
}

function isInside(address: string | undefined, value: string): boolean {
  if (address === undefined) return false;
  try {
    return cidrContains(parseCidr(value.includes('/') ? value : `${value}/32`), parseAddress(address));
  } catch {
    return false;
  }
}
