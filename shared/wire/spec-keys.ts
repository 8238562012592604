/**
 * What this version knows of a service's spec and of its networks, and what one spec or network uses of that, as keys:
 * `container.runtime.pidOf`, `network.mtu`, and with its value where only some are taken, `mode.kind=cron`. A node says which it
 * knows beyond those that all know, so that it gets no task that it would run without a part of it. New fields need nothing
 * but to be in the schema; labels that nodes heed, and new kinds of values in a text, are said here.
 */
import type { z } from 'zod';
import { BANDWIDTH_LABELS } from '../lib/bandwidth.ts';
import { ALLOW_FROM_LABEL } from '../lib/allow-list.ts';
import { networkRow } from '../lib/network-row.ts';
import { NEW_ADDRESS_KEYS, newAddressKey } from '../lib/port-keys.ts';
import type { Network, ServiceSpec } from '../model/index.ts';
import { networkSchema } from './assignment-schema.ts';
import { BASE_KEYS } from './base-spec-keys.ts';
import { serviceSpecSchema } from './service-schema.ts';

type Schema = z.core.$ZodTypes;

function defOf(schema: z.core.$ZodType): Schema['_zod']['def'] {
  return (schema as Schema)['_zod'].def;
}

const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);

/** Calls `found` for all keys of the schema, or for those that `values` use. */
function walk(
  schema: z.core.$ZodType,
  path: string,
  values: readonly unknown[] | undefined,
  found: (key: string) => void,
): void {
  const def = defOf(schema);
  switch (def.type) {
    case 'optional':
    case 'nullable':
      return walk(def.innerType, path, values, found);
    case 'array':
      return walk(def.element, path, values?.flat(1), found);
    case 'union':
      for (const option of def.options) walk(option, path, values, found);
      return;
    case 'enum':
    case 'literal': {
      const known = def.type === 'enum' ? Object.values(def.entries) : def.values;
      for (const value of known)
        if (values === undefined || values.includes(value)) found(`${path}=${String(value)}`);
      return;
    }
    case 'object':
      for (const [key, inner] of Object.entries(def.shape)) {
        const below = values?.flatMap((value) => {
          const member = (value as Record<string, unknown> | null)?.[key];
          return member === undefined ? [] : [member];
        });
        if (below?.length === 0) continue;
        found(join(path, key));
        walk(inner, join(path, key), below, found);
      }
      return;
    default:
  }
}

/** Keys of this version that are not among those that every version knows. Sorted. */
export function newSpecKeys(base: ReadonlySet<string> = BASE_KEYS): string[] {
  const keys = new Set<string>();
  const add = (key: string): void => void (base.has(key) || keys.add(key));
  walk(serviceSpecSchema, '', undefined, add);
  walk(networkSchema, 'network', undefined, add);
  for (const { path, label } of HEEDED) add(join(path, label));
  NEW_ADDRESS_KEYS.forEach(add);
  return [...keys].toSorted();
}

/** Labels that a node acts on; the schema takes any. */
const HEEDED = [
  { path: 'labels', label: ALLOW_FROM_LABEL },
  ...BANDWIDTH_LABELS.map((label) => ({ path: 'container.labels', label }) as const),
] as const;

const used = new WeakMap<ServiceSpec | Network, readonly string[]>();

/** Those of them that this spec uses. */
export function newKeysOf(spec: ServiceSpec): readonly string[] {
  const known = used.get(spec);
  if (known !== undefined) return known;
  const keys = new Set<string>();
  walk(serviceSpecSchema, '', [spec], (key) => void (BASE_KEYS.has(key) || keys.add(key)));
  for (const { path, label } of HEEDED) {
    const labels = path === 'labels' ? spec.labels : spec.container.labels;
    if (labels[label] !== undefined) keys.add(join(path, label));
  }
  for (const { hostIp } of spec.ports) {
    const key = newAddressKey(hostIp);
    if (key !== undefined) keys.add(key);
  }
  const list = [...keys];
  used.set(spec, list);
  return list;
}

/** Those that a network uses, as nodes are told of it. None before it has its subnet: till then nothing is on it. */
export function newKeysOfNetwork(network: Network): readonly string[] {
  const known = used.get(network);
  if (known !== undefined) return known;
  const keys = new Set<string>();
  const row = networkRow(network);
  if (row !== undefined)
    walk(networkSchema, 'network', [row], (key) => void (BASE_KEYS.has(key) || keys.add(key)));
  const list = [...keys];
  used.set(network, list);
  return list;
}
