/** Devices of a service: the node's own by their paths, and those that files of the node describe (CDI), GPUs among them. */
import { type AskedDevices, deviceRequests, looksLikeDevice, namedRequests } from '../../shared/lib/cdi.ts';
import type { DeviceMapping, DeviceRequest } from '../../shared/model/index.ts';
import { pairs, Section } from './section.ts';
import type { Value } from './value.ts';

interface Devices {
  readonly devices: readonly DeviceMapping[] | undefined;
  readonly deviceRequests: readonly DeviceRequest[] | undefined;
}

export function readDevices(service: Section): Devices {
  const items = service.list('devices')?.items ?? [];
  const found = items.flatMap((item) => readDevice(service, item) ?? []);
  const named = found.filter(({ source }) => looksLikeDevice(source)).map(({ source }) => source);
  const requests = [
    ...(named.length === 0
      ? []
      : attempt(service, service.map.entries.get('devices')?.value, () => namedRequests(named))),
    ...readGpus(service),
    ...readReserved(service),
  ];
  return {
    devices: nonEmpty(found.filter(({ source }) => !looksLikeDevice(source))),
    deviceRequests: nonEmpty(requests),
  };
}

function nonEmpty<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length === 0 ? undefined : list;
}

/** `all`, or a list of what is wanted. */
function readGpus(service: Section): DeviceRequest[] {
  const value = service.take('gpus');
  if (value === undefined) return [];
  if (value.kind === 'scalar' && value.text === 'all')
    return deviceRequests({ driver: '', count: -1, ids: [], capabilities: [['gpu']] });
  if (value.kind === 'list') return value.items.flatMap((item) => readRequest(service, item, ['gpu']));
  service.expected(value, 'all or a list');
  return [];
}

/** `deploy.resources.reservations.devices`, which deploy.ts leaves to this. */
function readReserved(service: Section): DeviceRequest[] {
  const reservations = service.section('deploy')?.section('resources')?.section('reservations');
  const items = reservations?.list('devices')?.items ?? [];
  return items.flatMap((item) => readRequest(service, item, undefined));
}

function readRequest(service: Section, item: Value, usual: readonly string[] | undefined): DeviceRequest[] {
  if (item.kind !== 'map') {
    service.expected(item, 'a mapping with capabilities, and count or device_ids,');
    return [];
  }
  const entry = new Section(item, service.problems);
  const capabilities = entry.texts('capabilities') ?? usual;
  const driver = entry.text('driver') ?? '';
  const ids = entry.texts('device_ids') ?? [];
  const count = readCount(entry, ids);
  const options = pairs(entry, 'options');
  entry.end();
  if (options.size > 0)
    service.problems.error(
      item,
      item.key,
      'options are not supported: drivers are CDI files, which take none',
    );
  // The specification wants them of every reservation.
  if (capabilities === undefined) {
    service.problems.error(item, item.key, 'capabilities is missing');
    return [];
  }
  const sets = [
    usual === undefined || capabilities.includes('gpu') ? capabilities : [...capabilities, ...usual],
  ];
  const asked: AskedDevices = { driver, count, ids, capabilities: sets };
  return attempt(service, item, () => deviceRequests(asked));
}

/** All, where nothing is said. */
function readCount(entry: Section, ids: readonly string[]): number | undefined {
  const value = entry.map.entries.get('count')?.value;
  if (value?.kind === 'scalar' && value.text === 'all') {
    entry.take('count');
    return -1;
  }
  const count = entry.whole('count', 1);
  return count ?? (ids.length > 0 ? undefined : -1);
}

function attempt(service: Section, at: Value | undefined, read: () => DeviceRequest[]): DeviceRequest[] {
  try {
    return read();
  } catch (error) {
    const place = at ?? service.map;
    service.problems.error(place, place.key, error instanceof Error ? error.message : String(error));
    return [];
  }
}

/** "/dev/a", "/dev/a:/dev/b", "/dev/a:/dev/b:rw", "vendor.com/class=name", or `{source, target, permissions}`. */
function readDevice(service: Section, item: Value): DeviceMapping | undefined {
  if (item.kind === 'map') {
    const long = new Section(item, service.problems);
    const source = long.text('source');
    const device = { source, target: long.text('target'), access: long.text('permissions') };
    long.end();
    if (!long.has('source')) service.problems.error(item, item.key, 'source is missing');
    if (source === undefined) return undefined;
    return { source, target: device.target ?? source, access: device.access ?? 'rwm' };
  }
  const text = service.textOf(item);
  if (text === undefined) return undefined;
  // A name of CDI may have colons.
  if (looksLikeDevice(text)) return { source: text, target: text, access: 'rwm' };
  const [source = '', second, third, ...rest] = text.split(':');
  if (rest.length > 0) {
    service.problems.error(
      item,
      item.key,
      `'${text}': SOURCE, SOURCE:TARGET or SOURCE:TARGET:rwm is expected`,
    );
    return undefined;
  }
  const onlyAccess = third === undefined && second !== undefined && /^[rwm]+$/.test(second);
  const target = onlyAccess ? source : (second ?? source);
  return { source, target, access: (onlyAccess ? second : third) ?? 'rwm' };
}
