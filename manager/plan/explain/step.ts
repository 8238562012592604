/** What would help a task that waits, as data that a test can apply, with words for people. */
import type { Affinity } from '../../../shared/model/index.ts';
import type { Constraint } from '../constraint.ts';

export type Change =
  | { readonly kind: 'join-node' }
  /** Its machine or its agent is away. */
  | { readonly kind: 'start-node'; readonly nodeId: string }
  | { readonly kind: 'activate-node'; readonly nodeId: string }
  | { readonly kind: 'add-label'; readonly nodeId: string; readonly label: string; readonly value: string }
  | { readonly kind: 'remove-label'; readonly nodeId: string; readonly label: string }
  | { readonly kind: 'remove-constraint'; readonly text: string }
  | { readonly kind: 'use-platform'; readonly os: string; readonly arch: string }
  | { readonly kind: 'drop-affinity'; readonly affinity: Affinity }
  | { readonly kind: 'reserve-cpu'; readonly nanoCpus: number }
  | { readonly kind: 'reserve-memory'; readonly memoryBytes: number }
  /** Nothing is left on the node: no smaller reservation would do. */
  | { readonly kind: 'free-room'; readonly nodeId: string }
  | { readonly kind: 'free-port'; readonly nodeId: string; readonly port: string }
  | { readonly kind: 'raise-max-replicas'; readonly count: number }
  /** In words only. */
  | { readonly kind: 'other' };

export interface Step {
  readonly change: Change;
  readonly text: string;
}

const MIB = 1024 * 1024;

/** "512 MiB", "1.5 GiB": rounded down, so that what is said to be free is. */
export function memoryText(bytes: number): string {
  if (bytes < MIB) return `${Math.max(0, Math.floor(bytes))} bytes`;
  const [size, unit] = bytes >= 1024 * MIB ? [bytes / (1024 * MIB), 'GiB'] : [bytes / MIB, 'MiB'];
  return `${Math.floor(size * 10) / 10} ${unit}`;
}

/** CPUs with at most three places, rounded down. */
export function cpuText(nanoCpus: number): string {
  return String(Math.floor(Math.max(0, nanoCpus) / 1e6) / 1000);
}

/** The value as it was written: the constraint has it in lower case, as it is compared. */
export function writtenValue({ text, operator }: Constraint): string {
  return text.slice(text.indexOf(operator) + operator.length).trim();
}
