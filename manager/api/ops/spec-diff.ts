/** What is different between two specs, field by field. */
import type { ServiceSpec } from '../../../shared/model/index.ts';
import { encodeDependsOn } from '../codec/dependency-codec.ts';
import { encodeServiceSpec } from '../codec/service-spec-codec.ts';

export interface Difference {
  /** Path in the Docker API's ServiceSpec: TaskTemplate.ContainerSpec.Image. */
  readonly path: string;
  /** Absent: there was, or is to be, none. */
  readonly from?: unknown;
  readonly to?: unknown;
}

/** All of a spec that users can say. */
export function shownSpec(spec: ServiceSpec): object {
  return { ...encodeServiceSpec(spec), DependsOn: encodeDependsOn(spec) };
}

/** Leaves that differ; lists are compared as a whole. */
export function differences(from: unknown, to: unknown, path = ''): Difference[] {
  if (isObject(from) && isObject(to)) {
    const keys = new Set([...Object.keys(from), ...Object.keys(to)]);
    return [...keys].flatMap((key) => {
      const below = path === '' ? key : `${path}.${key}`;
      return differences(from[key], to[key], below);
    });
  }
  if (JSON.stringify(from) === JSON.stringify(to)) return [];
  return [{ path, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) }];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
