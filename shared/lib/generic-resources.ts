/** Generic resources as people write them (`gpu=2`, `gpu=GPU-a`) and as containers read them. */
import { isDeviceName, isKind } from './cdi.ts';
import type { DeviceRequest } from '../model/device-request.ts';
import type { GenericResource } from '../model/generic-resource.ts';

const KIND = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const NAME = /^[^\s,=]{1,128}$/;
export const MAX_GENERIC_COUNT = 1_000_000;

/** What is wrong with a kind; undefined: nothing. */
export function kindProblem(kind: string): string | undefined {
  if (KIND.test(kind) || isKind(kind)) return undefined;
  return `'${kind}' is no kind of resource: letters, digits, _, . and -, at most 64, the first a letter or digit`;
}

/** What is wrong with the kinds of a list, each of which is named once in it. */
export function kindsProblem(kinds: readonly string[]): string | undefined {
  const variables = new Map<string, string>();
  for (const kind of kinds) {
    const problem = kindProblem(kind);
    if (problem !== undefined) return problem;
    const other = variables.get(kind.toUpperCase());
    if (other === kind) return `${kind} is named twice`;
    // A container reads both from one variable.
    if (other !== undefined) return `${other} and ${kind} differ in case only`;
    variables.set(kind.toUpperCase(), kind);
  }
  return undefined;
}

/**
 * `KIND=COUNT`, or `KIND=NAME` once for each, as dockerd's node-generic-resources has them. Throws TypeError that says what
 * is wrong and what is allowed.
 */
export function parseGenericResources(terms: readonly string[]): GenericResource[] {
  const values = new Map<string, string[]>();
  for (const term of terms) {
    const [, kind = '', value] = /^([^=]*)=([^=]+)$/.exec(term) ?? [];
    if (value === undefined) throw new TypeError(`'${term}': KIND=COUNT or KIND=NAME is expected`);
    values.set(kind, [...(values.get(kind) ?? []), value]);
  }
  const problem = kindsProblem([...values.keys()]);
  if (problem !== undefined) throw new TypeError(problem);
  return [...values].map(([kind, given]) => readValues(kind, given));
}

function readValues(kind: string, values: readonly string[]): GenericResource {
  const [first = ''] = values;
  if (isKind(kind)) return { kind, names: deviceNames(kind, values) };
  const counts = values.filter((value) => /^[+-]?\d+$/.test(value));
  if (counts.length > 0) {
    if (values.length > 1)
      throw new TypeError(`${kind}: one count or names are expected, not ${values.join(', ')}`);
    const count = Number(first);
    if (count >= 1 && count <= MAX_GENERIC_COUNT) return { kind, count };
    throw new TypeError(`${kind}=${first}: a count is a whole number from 1 to ${MAX_GENERIC_COUNT}`);
  }
  const bad = values.find((value) => !NAME.test(value));
  if (bad !== undefined)
    throw new TypeError(`${kind}=${bad}: a name has no space, comma or =, and at most 128 characters`);
  return { kind, names: onceEach(kind, values) };
}

/** Of a kind of CDI's a number is a name, too: 0 is the first GPU. */
function deviceNames(kind: string, values: readonly string[]): readonly string[] {
  const bad = values.find((value) => !isDeviceName(value));
  if (bad !== undefined)
    throw new TypeError(`${kind}=${bad}: the name of a CDI device is expected, such as 0`);
  return onceEach(kind, values);
}

function onceEach(kind: string, values: readonly string[]): readonly string[] {
  const twice = values.find((value, at) => values.indexOf(value) !== at);
  if (twice !== undefined) throw new TypeError(`${kind}=${twice} is given twice`);
  return values;
}

/** `DOCKER_RESOURCE_GPU=GPU-a,GPU-b`, or the number: what swarmkit tells a container of what its task was given. */
export function genericEnvironment(given: readonly GenericResource[]): string[] {
  return given.map((resource) => {
    const value = 'names' in resource ? resource.names.join(',') : String(resource.count);
    return `DOCKER_RESOURCE_${resource.kind.toUpperCase().replaceAll('/', '_')}=${value}`;
  });
}

/** Of a kind of CDI's the container is given the devices themselves. */
export function grantedDevices(given: readonly GenericResource[]): DeviceRequest[] {
  return given.flatMap((resource) =>
    isKind(resource.kind) && 'names' in resource ? [{ kinds: [resource.kind], names: resource.names }] : [],
  );
}
