/** PURE. Where the ports of a service are: `_http._tcp.web` by the port's name, `_80._tcp.web` by its number (RFC 2782). */
import { address6 } from '../../shared/lib/network-ipv6.ts';
import type { ServicePort } from '../../shared/model/index.ts';
import type { NetworkNames, ServiceEntry } from './dns-names.ts';

export interface Target {
  /** Of the service, or of one of its tasks; its address is told besides. */
  readonly name: string;
  readonly port: number;
  readonly address: string;
  readonly address6?: string;
}

export interface SrvName {
  /** A port's name or number. */
  readonly port: string;
  readonly protocol: string;
  /** `web`, `tasks.web`, `web.front`. */
  readonly service: string;
}

/** Undefined for a name of another form. In lower case. */
export function parseSrv(name: string): SrvName | undefined {
  const match = /^_([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\._(tcp|udp|sctp)\.(.+)$/.exec(name);
  const [, port = '', protocol = '', service = ''] = match ?? [];
  return match === null ? undefined : { port, protocol, service };
}

/** The ports that the name asks for: those of that name, else the one of that number. */
export function portsFor({ port, protocol }: SrvName, ports: readonly ServicePort[]): number[] {
  const own = ports.filter((one) => one.protocol === protocol);
  const named = own.filter((one) => one.name?.toLowerCase() === port);
  const found = named.length > 0 ? named : own.filter((one) => String(one.targetPort) === port);
  return [...new Set(found.map(({ targetPort }) => targetPort))];
}

/** A service with a VIP is one target, unless its tasks are asked for; each serving task is one otherwise. */
export function targetsOf(
  entry: ServiceEntry,
  ports: readonly number[],
  tasks: boolean,
  { reverse, network }: NetworkNames,
): Target[] {
  const addresses = entry.vip === undefined || tasks ? entry.serving : [entry.vip];
  return addresses.flatMap((address) => {
    const name = reverse.get(address);
    const own = address6(network, address);
    const ipv6 = own === undefined ? {} : { address6: own };
    return name === undefined ? [] : ports.map((port) => ({ name, port, address, ...ipv6 }));
  });
}
