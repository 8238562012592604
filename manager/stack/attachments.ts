/** `networks` of a service: what it is on, by which names, and which of them is its way out. */
import { isAddress, cidrContains, parseAddress, parseCidr } from '../../shared/lib/cidr.ts';
import { choicesOf } from '../../shared/lib/subnet-choice.ts';
import { type NetworkAttachment, nodeNetworkOf } from '../../shared/model/index.ts';
import type { Position } from './problem.ts';
import { defined, Section } from './section.ts';
import type { StackNetwork } from './top-level.ts';
import type { Value } from './value.ts';

type At = Position & { readonly key: string };
type Own = Omit<NetworkAttachment, 'network'>;

const NONE: Own = { aliases: [] };

/** Each network by the cluster's name for it; the short name of the service is an alias on all of them. */
export function readAttachments(
  key: string,
  service: Section,
  networks: ReadonlyMap<string, StackNetwork>,
): NetworkAttachment[] {
  const value = service.take('networks');
  const attachments: NetworkAttachment[] = [];
  const attach = (name: string, at: At, read: (network: StackNetwork) => Own): void => {
    const network = networks.get(name);
    if (network === undefined) {
      service.problems.error(at, at.key, `network '${name}' is not declared under the file's networks`);
      return;
    }
    const own = read(network);
    if (nodeNetworkOf(network.name) !== undefined) {
      if (own.aliases.length > 0)
        service.problems.warning(at, at.key, 'aliases have no effect on a network of the node');
      attachments.push({ network: network.name, aliases: [] });
    } else if (attachments.some((a) => a.network === network.name)) {
      service.problems.error(at, at.key, `network '${name}' is named twice`);
    } else attachments.push({ ...own, network: network.name, aliases: [...new Set([key, ...own.aliases])] });
  };
  if (value === undefined) attach('default', service.map, () => NONE);
  else if (value.kind === 'list') {
    for (const item of value.items) {
      const name = service.textOf(item);
      if (name !== undefined) attach(name, item, () => NONE);
    }
  } else if (value.kind === 'map') {
    for (const entry of value.entries.values())
      attach(entry.name, entry.at, (network) => readOwn(service, entry.value, network));
  } else service.expected(value, 'a list or a mapping');
  return attachments;
}

const ADDRESS_RULE = {
  severity: 'error',
  message: 'not supported: the manager gives each task an address of its own; services are reached by name',
} as const;
const ATTACHMENT_RULES = {
  ipv6_address: ADDRESS_RULE,
  link_local_ips: ADDRESS_RULE,
  mac_address: ADDRESS_RULE,
  driver_opts: { severity: 'error', message: 'not supported: networks are overlay networks without options' },
  interface_name: { severity: 'error', message: 'not supported: the interfaces are eth0, eth1, ...' },
  priority: {
    severity: 'warning',
    message: 'has no effect: all networks are joined before the container starts',
  },
} as const;

function readOwn(service: Section, value: Value, network: StackNetwork): Own {
  if (value.kind === 'scalar' && value.value === null) return NONE;
  if (value.kind !== 'map') {
    service.expected(value, 'a mapping');
    return NONE;
  }
  const section = new Section(value, service.problems);
  const aliases = section.texts('aliases') ?? [];
  const address = readAddress(section, network);
  const priority = section.whole('gw_priority', -2_147_483_648);
  section.end(ATTACHMENT_RULES);
  return { aliases, ...defined({ address, wayOutPriority: priority === 0 ? undefined : priority }) };
}

/** The service's virtual address. One that the manager chooses a subnet for can have it no more the next time. */
function readAddress(section: Section, network: StackNetwork): string | undefined {
  const address = section.text('ipv4_address');
  if (address === undefined) return undefined;
  const at = section.map.entries.get('ipv4_address')?.at ?? section.map;
  const refuse = (why: string): undefined => {
    section.problems.error(at, at.key, `${address}: ${why}`);
    return undefined;
  };
  if (nodeNetworkOf(network.name) !== undefined)
    return refuse('the node gives the addresses of this network');
  if (!isAddress(address)) return refuse('an IPv4 address such as 10.0.0.9 is expected');
  if (network.spec === undefined) return address;
  const subnets = choicesOf(network.spec).map(({ subnet }) => subnet);
  if (subnets.length === 0)
    return refuse(`network '${network.key}' needs a subnet of its own for that (ipam.config)`);
  return subnets.some((subnet) => has(subnet, address))
    ? address
    : refuse(`it is not in ${subnets.join(' or ')} of network '${network.key}'`);
}

/** False for a subnet that is none, which is said where it stands. */
function has(subnet: string, address: string): boolean {
  try {
    return cidrContains(parseCidr(subnet), parseAddress(address));
  } catch {
    return true;
  }
}
