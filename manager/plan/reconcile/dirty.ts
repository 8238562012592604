/** Which change of a spec makes running tasks outdated, and which does not (scale, labels, policies). */
import type { Node, ServiceSpec } from '../../../shared/model/index.ts';
import { usesIngress } from '../../../shared/model/index.ts';
import { meetsConstraint, parseConstraint } from '../constraint.ts';

/**
 * True when a container made for `have` is not what `want` asks for. Replicas, labels of the service, update and restart
 * policy, mesh ports and virtual addresses (they live outside of the container) do not count; placement is judged by fitsConstraints.
 */
export function specOutdated(have: ServiceSpec, want: ServiceSpec): boolean {
  if (have === want) return false;
  return !sameJson(template(have), template(want));
}

function template(spec: ServiceSpec): unknown {
  return [
    spec.container,
    spec.limits,
    spec.reservations,
    spec.mode.kind === 'container' ? spec.networks : spec.networks.map(({ address: _vip, ...own }) => own),
    usesIngress(spec),
    spec.ports.filter((port) => port.mode === 'host'),
    spec.forceUpdate,
    spec.logDriver,
  ];
}

/** True when the node meets all constraints. One that can not be parsed is met by no node. */
export function fitsConstraints(node: Node, constraints: readonly string[]): boolean {
  return constraints.every((text) => {
    try {
      return meetsConstraint(node, parseConstraint(text));
    } catch {
      return false;
    }
  });
}

/** Equality of plain data, in which an absent and an undefined property are the same. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = a as Readonly<Record<string, unknown>>;
  const right = b as Readonly<Record<string, unknown>>;
  const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
  for (const key of keys) if (!sameJson(left[key], right[key])) return false;
  return true;
}
