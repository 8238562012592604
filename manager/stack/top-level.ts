/** The top level's `networks` and `volumes`. */
import { volumeMount } from '../../shared/lib/local-volume.ts';
import { ENCRYPTED_OPTION, readEncrypted } from '../../shared/lib/network-encrypted.ts';
import { splitPools } from '../../shared/lib/network-pools.ts';
import { MTU_OPTION, readMtu } from '../../shared/lib/network-mtu.ts';
import { choiceProblem } from '../../shared/lib/subnet-choice.ts';
import { type Labels, type NetworkSpec, STACK_LABEL, type SubnetChoice } from '../../shared/model/index.ts';
import { allowLabels, checkAllow } from './allow-keys.ts';
import type { StackVolume } from './mounts.ts';
import type { Position } from './problem.ts';
import { defined, labels, Section } from './section.ts';
import type { MapEntry, Value } from './value.ts';

export interface StackNetwork {
  /** The file's name for it. */
  readonly key: string;
  /** The cluster's name for it: `<stack>_<key>`, or what `name` says. */
  readonly name: string;
  /** Absent: external, it must be there already. */
  readonly spec?: NetworkSpec;
  readonly at: Position;
}

const NAME = /^[a-zA-Z0-9._-]+$/;
const IPV4_TOO = 'not supported: each network has IPv4, and IPv6 beside it by enable_ipv6';

/** All networks that the file declares, and `default` when a service needs it. `keys` are the file's services. */
export function readNetworks(
  top: Section,
  stack: string,
  needsDefault: boolean,
  keys: ReadonlySet<string>,
): Map<string, StackNetwork> {
  const networks = new Map<string, StackNetwork>();
  for (const entry of entriesOf(top, 'networks')) {
    const section = sectionOf(top, entry);
    if (section === undefined) continue;
    networks.set(entry.name, readNetwork(section, entry, stack, keys));
  }
  if (needsDefault && !networks.has('default')) {
    const name = `${stack}_default`;
    networks.set('default', { key: 'default', name, spec: emptySpec(stack, name), at: top.map });
  }
  return networks;
}

function emptySpec(stack: string, name: string): NetworkSpec {
  return {
    name,
    labels: { [STACK_LABEL]: stack },
    driver: 'overlay',
    internal: false,
    attachable: false,
    ingress: false,
    driverOptions: {},
  };
}

function readNetwork(
  section: Section,
  entry: MapEntry,
  stack: string,
  keys: ReadonlySet<string>,
): StackNetwork {
  const external = readExternal(section);
  const name = external.name ?? section.text('name') ?? (external.is ? entry.name : `${stack}_${entry.name}`);
  const driver = section.text('driver');
  const options = labels(section, 'driver_opts');
  const spec = {
    ...emptySpec(stack, name),
    internal: section.flag('internal') ?? false,
    attachable: section.flag('attachable') ?? false,
    labels: { ...labels(section, 'labels'), ...allowLabels(section), [STACK_LABEL]: stack },
    driverOptions: options,
    ...(section.flag('enable_ipv6') === true ? { ipv6: true as const } : {}),
    ...readSubnets(section),
  };
  const at = entry.at;
  // The other value of each is what is so anyway.
  if (section.flag('enable_ipv4') === false) section.problems.error(at, `${at.key}.enable_ipv4`, IPV4_TOO);
  section.end();
  checkAllow(section, spec.labels, keys);
  if (external.is) {
    return { key: entry.name, name, at };
  }
  if (driver !== undefined && driver !== 'overlay' && driver !== 'default') {
    section.problems.error(
      at,
      `${at.key}.driver`,
      `'${driver}' is not supported: networks of a stack are overlay networks (of bridge, each node has its own: docker run)`,
    );
  }
  const known = new Map<string, unknown>([
    [MTU_OPTION, readMtu(options)],
    [ENCRYPTED_OPTION, readEncrypted(options)],
  ]);
  for (const option of Object.keys(options)) {
    const problem = known.has(option) ? known.get(option) : 'not supported';
    if (typeof problem === 'string') section.problems.error(at, `${at.key}.driver_opts.${option}`, problem);
  }
  return { key: entry.name, name, spec, at };
}

function readSubnets(section: Section): Exclude<ReturnType<typeof splitPools>, string> {
  const ipam = section.section('ipam');
  if (ipam === undefined) return {};
  const driver = ipam.text('driver') ?? 'default';
  if (driver !== 'default')
    ipam.problems.error(ipam.map, `${ipam.map.key}.driver`, `'${driver}' is not supported`);
  const configs = ipam.list('config')?.items ?? [];
  ipam.end({ options: { severity: 'error', message: 'not supported: the manager gives the addresses' } });
  const subnets = splitPools(configs.map((config) => readPool(ipam, config)));
  if (typeof subnets !== 'string') return subnets;
  ipam.problems.error(ipam.map, `${ipam.map.key}.config`, subnets);
  return {};
}

const POOL_KEYS = {
  subnet: 'subnet',
  gateway: 'gateway',
  addressRange: 'ip_range',
  reservedAddresses: 'aux_addresses',
} as const satisfies Record<keyof SubnetChoice, string>;

function readPool(ipam: Section, config: Value): Partial<SubnetChoice> {
  if (config.kind !== 'map') {
    ipam.expected(config, 'a mapping with a subnet');
    return {};
  }
  const pool = new Section(config, ipam.problems);
  const reserved = labels(pool, POOL_KEYS.reservedAddresses);
  const choice: Partial<SubnetChoice> = defined({
    subnet: pool.text(POOL_KEYS.subnet),
    gateway: pool.text(POOL_KEYS.gateway),
    addressRange: pool.text(POOL_KEYS.addressRange),
    reservedAddresses: Object.keys(reserved).length === 0 ? undefined : reserved,
  });
  pool.end();
  const { subnet } = choice;
  const problem =
    subnet === undefined || subnet.includes(':') ? undefined : choiceProblem({ ...choice, subnet });
  if (problem !== undefined) {
    const key = POOL_KEYS[problem.key];
    pool.problems.error(config.entries.get(key)?.at ?? config, `${config.key}.${key}`, problem.message);
  }
  return choice;
}

/** Volumes are made by the nodes that mount them; here they have a name and labels. */
export function readVolumes(top: Section, stack: string): Map<string, StackVolume> {
  const volumes = new Map<string, StackVolume>();
  for (const entry of entriesOf(top, 'volumes')) {
    const section = sectionOf(top, entry);
    if (section === undefined) continue;
    const external = readExternal(section);
    const name =
      external.name ?? section.text('name') ?? (external.is ? entry.name : `${stack}_${entry.name}`);
    const driver = section.text('driver') ?? 'local';
    const own: Labels = { ...labels(section, 'labels'), [STACK_LABEL]: stack };
    const options = readOptions(section);
    section.end();
    if (driver !== 'local') {
      section.problems.error(
        entry.at,
        `${entry.at.key}.driver`,
        `'${driver}' is not supported: the driver is local`,
      );
    }
    volumes.set(entry.name, external.is ? { name } : { name, labels: own, ...options });
  }
  return volumes;
}

/**
 * Options of the local driver. `{type: none, o: bind, device: /path}` is a directory of the node under a name; what else is
 * mounted, or limited, the nodes do.
 */
function readOptions(volume: Section): Pick<StackVolume, 'directory' | 'options'> {
  const options = labels(volume, 'driver_opts');
  if (Object.keys(options).length === 0) return {};
  const { type = '', o = '', device = '', ...others } = options;
  const words = new Set(o.split(','));
  const binds = words.delete('bind') || words.delete('rbind');
  const readOnly = words.delete('ro');
  for (const usual of ['', 'rw']) words.delete(usual);
  const isNone = ['', 'none', 'bind'].includes(type);
  if (isNone && binds && words.size === 0 && device.startsWith('/') && Object.keys(others).length === 0) {
    return { directory: { path: device, readOnly } };
  }
  try {
    volumeMount(options);
    return { options };
  } catch (error) {
    const at = volume.map.entries.get('driver_opts')?.at ?? volume.map;
    volume.problems.error(at, at.key, error instanceof Error ? error.message : String(error));
    return {};
  }
}

/** `external: true`, or the older `external: { name: NAME }`. */
export function readExternal(section: Section): { is: boolean; name: string | undefined } {
  const value = section.map.entries.get('external')?.value;
  if (value?.kind !== 'map') return { is: section.flag('external') === true, name: undefined };
  const older = section.section('external');
  const name = older?.text('name');
  older?.end();
  return { is: true, name };
}

export function* entriesOf(top: Section, name: string): Generator<MapEntry> {
  const section = top.section(name);
  for (const entry of section?.map.entries.values() ?? []) {
    if (entry.name.startsWith('x-')) continue;
    if (NAME.test(entry.name)) yield entry;
    else
      top.problems.error(
        entry.at,
        entry.at.key,
        `'${entry.name}' is no valid name: letters, digits, . _ - are allowed`,
      );
  }
}

/** The entry's mapping; nothing at all (`front:`) is an empty one. */
export function sectionOf(top: Section, entry: MapEntry): Section | undefined {
  const { value } = entry;
  if (value.kind === 'map') return new Section(value, top.problems);
  if (value.kind === 'scalar' && value.value === null) {
    return new Section(
      { kind: 'map', entries: new Map(), key: entry.at.key, line: entry.at.line, column: entry.at.column },
      top.problems,
    );
  }
  top.expected(value, 'a mapping');
  return undefined;
}
