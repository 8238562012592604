/** What a container is told when it asks for a name. */
import { subnetsOf } from '../../shared/lib/network-subnets.ts';
import { cidrContains, parseAddress, parseCidr } from '../../shared/lib/cidr.ts';
import { cidr6Contains, parseCidr6 } from '../../shared/lib/cidr6.ts';
import { address4, address6 } from '../../shared/lib/network-ipv6.ts';
import type { NetworkNames } from './dns-names.ts';
import { parseSrv, portsFor, type SrvName, type Target, targetsOf } from './dns-srv.ts';

export interface Question {
  /** With or without the final dot, in any case. */
  readonly name: string;
  readonly type: string;
}

export type Answer =
  | { readonly kind: 'addresses'; readonly addresses: readonly string[] }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'targets'; readonly targets: readonly Target[] }
  /** The name exists but has nothing of this type. */
  | { readonly kind: 'empty' }
  /** The name does not exist. */
  | { readonly kind: 'unknown' }
  /** Not the cluster's: ask the host's resolvers. */
  | { readonly kind: 'elsewhere' };

/**
 * `networks` are those of the asker, in order; the first that knows the name answers. `random` is a fraction in [0, 1)
 * at each call, to spread the load over the addresses of a list.
 */
export function answer(question: Question, networks: readonly NetworkNames[], random: () => number): Answer {
  const name = question.name.toLowerCase().replace(/\.$/, '');
  const address = reverseAddress(name);
  if (address !== undefined) return answerReverse(address, question.type, networks);
  const number6 = reverseAddress6(name);
  if (number6 !== undefined) return answerReverse6(number6, question.type, networks);
  const srv = parseSrv(name);
  if (srv !== undefined) return answerSrv(srv, question.type, networks, random);
  for (const network of networks) {
    const addresses = lookUp(name, network) ?? lookUp(withoutNetwork(name, network), network);
    if (addresses === undefined) continue;
    const asked = ofType(question.type, addresses, network);
    return asked.length === 0 ? { kind: 'empty' } : { kind: 'addresses', addresses: shuffled(asked, random) };
  }
  // "tasks" is no top-level domain: what is asked below it concerns a service that is not here.
  if (name.startsWith('tasks.') && !name.slice(6).includes('.')) return { kind: 'unknown' };
  return { kind: 'elsewhere' };
}

/** Of these addresses, those that are asked for: each has one of IPv6 where its network has. */
function ofType(type: string, addresses: readonly string[], { network }: NetworkNames): readonly string[] {
  const ipv6 = (): string[] => addresses.flatMap((address) => address6(network, address) ?? []);
  if (type === 'AAAA') return ipv6();
  return type === 'A' ? addresses : type === 'ANY' ? [...addresses, ...ipv6()] : [];
}

/** Of a service that is not here others may know. */
function answerSrv(
  srv: SrvName,
  type: string,
  networks: readonly NetworkNames[],
  random: () => number,
): Answer {
  for (const network of networks) {
    for (const name of [srv.service, withoutNetwork(srv.service, network)]) {
      const tasks = name?.startsWith('tasks.') === true;
      const entry = name === undefined ? undefined : network.services.get(tasks ? name.slice(6) : name);
      if (entry === undefined) continue;
      const ports = portsFor(srv, entry.ports);
      if (ports.length === 0) return { kind: 'unknown' };
      const targets = targetsOf(entry, ports, tasks, network);
      if ((type !== 'SRV' && type !== 'ANY') || targets.length === 0) return { kind: 'empty' };
      return { kind: 'targets', targets: shuffled(targets, random) };
    }
  }
  return { kind: 'elsewhere' };
}

/** Undefined: the network does not know the name. Empty: it knows it, and nothing serves. */
function lookUp(name: string | undefined, network: NetworkNames): readonly string[] | undefined {
  if (name === undefined) return undefined;
  const service = network.services.get(name);
  if (service !== undefined) return service.vip === undefined ? service.serving : [service.vip];
  if (name.startsWith('tasks.')) return network.services.get(name.slice(6))?.serving;
  return network.tasks.get(name);
}

/** `web.front` asks for `web` on the network `front`. */
function withoutNetwork(name: string, { network }: NetworkNames): string | undefined {
  const suffix = `.${network.name.toLowerCase()}`;
  return name.endsWith(suffix) ? name.slice(0, -suffix.length) : undefined;
}

/** The address in d.c.b.a.in-addr.arpa (RFC 1035, 3.5). */
function reverseAddress(name: string): string | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name);
  if (match === null || match.slice(1).some((part) => Number(part) > 255)) return undefined;
  return match
    .slice(1)
    .reverse()
    .map((part) => String(Number(part)))
    .join('.');
}

/** The address in the nibbles of ip6.arpa (RFC 3596, 2.5). */
function reverseAddress6(name: string): bigint | undefined {
  const match = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name);
  if (match?.[1] === undefined) return undefined;
  return BigInt(`0x${match[1].split('.').reverse().join('')}`);
}

function answerReverse6(address: bigint, type: string, networks: readonly NetworkNames[]): Answer {
  for (const { network, reverse } of networks) {
    const { subnet6 } = network;
    if (subnet6 === undefined || !cidr6Contains(parseCidr6(subnet6), address)) continue;
    const name = reverse.get(address4(network, address) ?? '');
    if (name === undefined) return { kind: 'unknown' };
    return type === 'PTR' || type === 'ANY' ? { kind: 'name', name } : { kind: 'empty' };
  }
  return { kind: 'elsewhere' };
}

function answerReverse(address: string, type: string, networks: readonly NetworkNames[]): Answer {
  const known = networks.map((network) => network.reverse.get(address)).find((name) => name !== undefined);
  if (known !== undefined)
    return type === 'PTR' || type === 'ANY' ? { kind: 'name', name: known } : { kind: 'empty' };
  const number = parseAddress(address);
  const ours = networks
    .flatMap(({ network }) => subnetsOf(network))
    .some(({ subnet }) => cidrContains(parseCidr(subnet), number));
  return ours ? { kind: 'unknown' } : { kind: 'elsewhere' };
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const list = [...items];
  for (let i = list.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j] as T, list[i] as T];
  }
  return list;
}
