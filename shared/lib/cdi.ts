/** PURE. Names of devices that CDI describes, what users ask of them, and which of a node's devices that is. */
import type { DeviceRequest, NodeDevices } from '../model/device-request.ts';

/** The specification's letters (SPEC.md, "Kind" and "CDI Devices"). */
const VENDOR = /^[A-Za-z](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$/;
const CLASS = /^[A-Za-z](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9_.:-]{0,126}[A-Za-z0-9])?$/;

/** The device that stands for all of its kind, by convention. */
const ALL = 'all';

export function isKind(text: string): boolean {
  const [vendor = '', name = '', ...rest] = text.split('/');
  return VENDOR.test(vendor) && CLASS.test(name) && rest.length === 0;
}

export function isDeviceName(text: string): boolean {
  return NAME.test(text);
}

/** `vendor.com/class=name`, taken apart; undefined for what is no such name. */
export function parseDevice(text: string): { readonly kind: string; readonly name: string } | undefined {
  const at = text.indexOf('=');
  const kind = text.slice(0, Math.max(at, 0));
  const name = text.slice(at + 1);
  return isKind(kind) && isDeviceName(name) ? { kind, name } : undefined;
}

/** True of what can only be meant as such a name: a device's path begins with a slash. */
export function looksLikeDevice(text: string): boolean {
  return /^[^/=][^=]*\/[^=]*=/.test(text);
}

/** What Docker's words for GPUs stand for. */
const GPU_KINDS: Readonly<Record<string, readonly string[]>> = {
  '': ['nvidia.com/gpu', 'amd.com/gpu'],
  nvidia: ['nvidia.com/gpu'],
  amd: ['amd.com/gpu'],
};

/** Docker's word for these kinds; none for several. */
export function gpuDriver(kinds: readonly string[]): string {
  const found = Object.entries(GPU_KINDS).find(([, own]) => own.join() === kinds.join());
  return found?.[0] ?? '';
}

/** Of a driver's parts; a device described by CDI comes with all of them. */
const CAPABILITIES: ReadonlySet<string> = new Set([
  ...['gpu', 'nvidia', 'amd'],
  ...['compute', 'compat32', 'graphics', 'utility', 'video', 'display', 'ngx'],
]);

/** As the Docker Engine API (DeviceRequests) and compose files have it. */
export interface AskedDevices {
  readonly driver: string;
  /** -1 is all; 0 and undefined say nothing. */
  readonly count: number | undefined;
  readonly ids: readonly string[];
  /** One of these sets is enough. */
  readonly capabilities: readonly (readonly string[])[];
}

/** Throws TypeError that says what is wrong and what is allowed. */
export function deviceRequests({ driver, count = 0, ids, capabilities }: AskedDevices): DeviceRequest[] {
  if (count < -1) throw new TypeError(`count ${count}: a number of devices, or -1 for all, is expected`);
  if (count !== 0 && ids.length > 0)
    throw new TypeError('a count and device IDs: one of the two is expected');
  if (driver === 'cdi') {
    if (ids.length === 0) throw new TypeError('driver cdi needs device IDs such as vendor.com/class=name');
    return namedRequests(ids);
  }
  const kinds = GPU_KINDS[driver];
  if (kinds === undefined) throw new TypeError(`driver '${driver}': cdi, nvidia, amd or none is expected`);
  const wanted = gpuKinds(kinds, capabilities);
  if (ids.length > 0) return gpusByName(wanted, ids);
  if (count === 0) throw new TypeError('a count (-1 for all) or device IDs are expected');
  return [{ kinds: wanted, count }];
}

function gpusByName(kinds: readonly string[], ids: readonly string[]): DeviceRequest[] {
  const named = ids.filter((id) => id.includes('/'));
  const plain = ids.filter((id) => !id.includes('/'));
  const bad = plain.find((id) => !isDeviceName(id));
  if (bad !== undefined)
    throw new TypeError(`'${bad}' is no name of a device: such as 0 or GPU-1a2b is expected`);
  return [...(plain.length === 0 ? [] : [{ kinds, names: plain }]), ...namedRequests(named)];
}

/** Of the sets that name a GPU; vendors may be among the words. */
function gpuKinds(kinds: readonly string[], capabilities: AskedDevices['capabilities']): readonly string[] {
  const unknown = capabilities.flat().find((word) => !CAPABILITIES.has(word));
  if (unknown !== undefined)
    throw new TypeError(`capability '${unknown}': ${[...CAPABILITIES].join(', ')} are known`);
  const set = capabilities.find((words) => words.includes('gpu'));
  if (set === undefined)
    throw new TypeError('capabilities: gpu is expected among them (other devices: driver cdi)');
  return kinds.filter((kind) =>
    ['nvidia', 'amd'].every((vendor) => !set.includes(vendor) || kind.startsWith(vendor)),
  );
}

/** One request for each kind, in the order of its first device. Throws TypeError for what is no name. */
export function namedRequests(devices: readonly string[]): DeviceRequest[] {
  const byKind = new Map<string, string[]>();
  for (const device of devices) {
    const parsed = parseDevice(device);
    if (parsed === undefined)
      throw new TypeError(`'${device}' is no name of a device: such as vendor.com/class=name is expected`);
    byKind.set(parsed.kind, [...(byKind.get(parsed.kind) ?? []), parsed.name]);
  }
  return [...byKind].map(([kind, names]) => ({ kinds: [kind], names }));
}

/** What is wrong with a request; undefined: nothing. */
export function requestProblem({ kinds, names, count }: DeviceRequest): string | undefined {
  const kind = kinds.find((one) => !isKind(one));
  if (kind !== undefined || kinds.length === 0)
    return `'${kind ?? ''}' is no kind of device: such as vendor.com/class is expected`;
  const name = names?.find((one) => !isDeviceName(one));
  if (name !== undefined) return `'${name}' is no name of a device: letters, digits, _ - . : are allowed`;
  if ((names === undefined) === (count === undefined)) return 'names or a count: one of the two is expected';
  if (names?.length === 0) return 'a name is missing';
  if (count !== undefined && (!Number.isSafeInteger(count) || count === 0 || count < -1))
    return `count ${count}: a number of devices, or -1 for all, is expected`;
  return undefined;
}

type Choice = { readonly devices: readonly string[] } | { readonly problem: string };

/** Which of the node's devices are meant, each once and with its kind, or why it has not what is asked for. */
export function chooseDevices(requests: readonly DeviceRequest[], node: NodeDevices | undefined): Choice {
  const has = node ?? { names: [] };
  const chosen = new Set<string>();
  for (const request of requests) {
    const choice = chooseOne(request, has);
    if ('problem' in choice) return choice;
    for (const device of choice.devices) chosen.add(device);
  }
  return { devices: [...chosen] };
}

function chooseOne({ kinds, names, count = -1 }: DeviceRequest, node: NodeDevices): Choice {
  const kind =
    kinds.find((one) => node.names.some((device) => device.startsWith(`${one}=`))) ?? kinds[0] ?? '';
  const all = node.names.filter((device) => device.startsWith(`${kind}=`));
  if (names !== undefined) {
    const devices = names.map((name) => `${kind}=${name}`);
    const missing = devices.find((device) => !all.includes(device));
    return missing === undefined ? { devices } : { problem: whyMissing(missing, node) };
  }
  if (all.length === 0) return { problem: noneOf(kinds, node) };
  if (count === -1 && all.includes(`${kind}=${ALL}`)) return { devices: [`${kind}=${ALL}`] };
  const single = singleDevices(kind, all);
  if (count === -1) return { devices: single };
  if (single.length >= count) return { devices: single.slice(0, count) };
  return { problem: `${single.length} of ${count} CDI devices ${kind}` };
}

/** What there is once of each: where the same devices have numbers and other names, the numbers. */
function singleDevices(kind: string, all: readonly string[]): readonly string[] {
  const names = all.map((device) => device.slice(kind.length + 1)).filter((name) => name !== ALL);
  const numbers = names.filter((name) => /^\d+$/.test(name)).toSorted((a, b) => Number(a) - Number(b));
  return (numbers.length > 0 ? numbers : names).map((name) => `${kind}=${name}`);
}

function noneOf(kinds: readonly string[], node: NodeDevices): string {
  const own = node.problems?.find(({ of }) => kinds.some((kind) => of.startsWith(`${kind}=`)));
  return own === undefined
    ? `no CDI device ${kinds.join(' or ')}${otherProblem(node)}`
    : whyMissing(own.of, node);
}

function whyMissing(device: string, node: NodeDevices): string {
  const own = node.problems?.find(({ of }) => of === device);
  return own === undefined
    ? `no CDI device ${device}${otherProblem(node)}`
    : `CDI device ${device}: ${own.why}`;
}

/** It may be in a file that can not be used. */
function otherProblem({ problems = [] }: NodeDevices): string {
  const file = problems.find(({ of }) => of.startsWith('/'));
  return file === undefined ? '' : ` (${file.of}: ${file.why})`;
}
