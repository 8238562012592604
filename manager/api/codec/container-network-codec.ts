/** A single container's networks and ports in the Docker Engine API: NetworkMode, EndpointsConfig, PortBindings. */
import type { z } from 'zod';
import { InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import { isAddress } from '../../../shared/lib/cidr.ts';
import { readHostAddress } from '../../../shared/lib/host-address.ts';
import { parseMacAddress } from '../../../shared/lib/mac-address.ts';
import { PORT_MAX } from '../../../shared/lib/published-port.ts';
import type { NetworkAttachment, PublishedPort } from '../../../shared/model/index.ts';
import { given } from './common.ts';
import { decodeLinks, encodeLinks } from './links-codec.ts';
import type { RawCreate, RawHostConfig, zEndpoint } from './container-create-schema.ts';

export interface DecodedNetworks {
  /** By name or id, as the client said. */
  readonly networks: readonly NetworkAttachment[];
  /** In place of all others. */
  readonly nodeNetwork?: 'host' | 'none';
  /** By name or id: the container whose network it has. */
  readonly networkOf?: string;
  /** Of its device on `bridge`. */
  readonly macAddress?: string;
}

/** Without a network of its own a container has the way out alone, which `bridge` and `default` are. */
const OWN: readonly string[] = ['', 'default', 'bridge'];

export function decodeNetworks(config: RawCreate, host: RawHostConfig): DecodedNetworks {
  const mode = host.NetworkMode ?? '';
  const endpoints = config.NetworkingConfig?.EndpointsConfig ?? {};
  const named = Object.entries(endpoints).filter(([name]) => !OWN.includes(name));
  const networkOf = peerOf(mode);
  if (networkOf !== undefined) {
    requireNothingOfItsOwn(config, host, named.find(([name]) => name !== mode)?.[0]);
    return { networks: [], networkOf };
  }
  if (mode === 'host' || mode === 'none' || config.NetworkDisabled === true) {
    const nodeNetwork = mode === 'host' ? 'host' : 'none';
    const other = named.find(([name]) => name !== mode);
    if (other !== undefined)
      throw new InvalidError(`network ${other[0]} can not be combined with network ${nodeNetwork}`);
    requireNoDevice(config, host, nodeNetwork);
    return { networks: [], nodeNetwork };
  }
  const attached = new Map(named.map(([name, endpoint]) => [name, decodeEndpoint(endpoint)]));
  // The mode comes first: it is the network that leads out.
  const names = [...new Set([...(OWN.includes(mode) ? [] : [mode]), ...attached.keys()])];
  const [first, ...others] = names.map((network) => ({
    network,
    ...(attached.get(network) ?? { aliases: [] }),
  }));
  const own = ownDevice(config, host, first === undefined);
  return first === undefined
    ? { networks: [], ...own }
    : { networks: [withContainers(first, config, host), ...others] };
}

/** Of a container on `bridge`: of what a network would have it takes the MAC address alone. */
function ownDevice(
  config: RawCreate,
  host: RawHostConfig,
  alone: boolean,
): Pick<DecodedNetworks, 'macAddress'> {
  const endpoints = Object.entries(config.NetworkingConfig?.EndpointsConfig ?? {});
  const [given] = endpoints.filter(([name]) => OWN.includes(name)).map(([, raw]) => decodeEndpoint(raw));
  if (given?.address !== undefined) throw ownAddressElsewhere();
  const linked = (given?.links ?? []).length > 0 || (alone && (host.Links ?? []).length > 0);
  if (linked)
    throw new UnsupportedError(
      'HostConfig.Links: not supported by Shoal on network bridge, where containers do not reach one another: ' +
        'name a network (docker run --network NET --link NAME:ALIAS)',
    );
  if (!alone) {
    if (given?.macAddress === undefined) return {};
    throw new InvalidError(
      'network bridge can not be combined with other networks: leave its MacAddress out',
    );
  }
  const macAddress = sameMac(given?.macAddress, config);
  return macAddress === undefined ? {} : { macAddress };
}

/** What is said of the container at large, which means its first network. */
function withContainers(first: NetworkAttachment, config: RawCreate, host: RawHostConfig): NetworkAttachment {
  const macAddress = sameMac(first.macAddress, config);
  const texts = [
    ...(first.links === undefined ? [] : (encodeLinks(first.links) ?? [])),
    ...(host.Links ?? []),
  ];
  const links = decodeLinks(texts);
  return {
    ...first,
    ...(macAddress === undefined ? {} : { macAddress }),
    ...(links.length === 0 ? {} : { links }),
  };
}

function sameMac(ofNetwork: string | undefined, { MacAddress }: RawCreate): string | undefined {
  const own = decodeMac(MacAddress);
  if (own !== undefined && ofNetwork !== undefined && own !== ofNetwork)
    throw new InvalidError(
      'the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty',
    );
  return ofNetwork ?? own;
}

function decodeMac(text: string | null | undefined): string | undefined {
  if (text === undefined || text === null || text === '') return undefined;
  const address = parseMacAddress(text);
  if (address !== undefined) return address;
  throw new InvalidError(
    `MacAddress: invalid MAC address ${text}: that of one device is expected, such as 02:42:ac:11:00:02`,
  );
}

/** Throws InvalidError for what only a device of the container's own could have. */
function requireNoDevice(config: RawCreate, host: RawHostConfig, mode: string): void {
  const endpoints = Object.values(config.NetworkingConfig?.EndpointsConfig ?? {});
  const conflict = (what: string): InvalidError =>
    new InvalidError(`conflicting options: ${what} and the network mode ${mode}`);
  const macs = [config.MacAddress, ...endpoints.map((one) => one?.MacAddress)];
  if (macs.some((mac) => (mac ?? '') !== '')) throw conflict('mac-address');
  const links = [host.Links, ...endpoints.map((one) => one?.Links)];
  if (links.some((list) => (list ?? []).length > 0)) throw conflict('links');
  if (endpoints.some((one) => (one?.IPAMConfig?.IPv4Address ?? '') !== '')) throw ownAddressElsewhere();
}

/** The container that a mode `container:NAME` names. */
export function peerOf(mode: string | null | undefined): string | undefined {
  return /^container:(.+)$/.exec(mode ?? '')?.[1];
}

/** Throws InvalidError, in Docker's words, for what the other container's network decides. */
function requireNothingOfItsOwn(config: RawCreate, host: RawHostConfig, network: string | undefined): void {
  const conflict = (what: string): InvalidError =>
    new InvalidError(`conflicting options: ${what} and the container type network mode`);
  if (network !== undefined) throw conflict(`network ${network}`);
  requireNoDevice(config, host, 'container');
  if ((config.Hostname ?? '') !== '') throw conflict('hostname');
  if ((host.ExtraHosts ?? []).length > 0) throw conflict('custom host-to-IP mapping');
  const resolvers = [host.Dns, host.DnsOptions, host.DnsSearch];
  if (resolvers.some((list) => (list ?? []).length > 0)) throw conflict('dns');
  if (Object.keys(host.PortBindings ?? {}).length > 0 || host.PublishAllPorts === true)
    throw conflict('port publishing');
  if (Object.keys(config.ExposedPorts ?? {}).length > 0) throw conflict('port exposing');
}

/** `--ip` on a network that is the node's own. */
export function ownAddressElsewhere(): InvalidError {
  return new InvalidError(
    'user specified IP address is supported on user defined networks only (IPAMConfig.IPv4Address)',
  );
}

/** What a client says of a container on one network. Throws InvalidError for an address that is none, and a link that names nothing. */
export function decodeEndpoint(raw: z.output<typeof zEndpoint>): Omit<NetworkAttachment, 'network'> {
  const priority = given(raw?.GwPriority);
  const macAddress = decodeMac(raw?.MacAddress);
  const links = decodeLinks(raw?.Links ?? []);
  const rest = {
    aliases: raw?.Aliases ?? [],
    ...(macAddress === undefined ? {} : { macAddress }),
    ...(links.length === 0 ? {} : { links }),
    ...(priority === undefined ? {} : { wayOutPriority: priority }),
  };
  const address = raw?.IPAMConfig?.IPv4Address ?? '';
  if (address === '') return rest;
  if (!isAddress(address))
    throw new InvalidError(
      `IPAMConfig.IPv4Address: invalid address ${address}: such as 10.0.0.9 is expected`,
    );
  return { ...rest, address };
}

/** "80/tcp" to its parts; "80" is tcp. Throws InvalidError. */
export function parsePort(text: string): { targetPort: number; protocol: PublishedPort['protocol'] } {
  const match = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(text);
  const targetPort = Number(match?.[1]);
  if (match === null || targetPort < 1 || targetPort > PORT_MAX)
    throw new InvalidError(`invalid port specification: "${text}": such as 80/tcp is expected`);
  return { targetPort, protocol: (match[2] ?? 'tcp') as PublishedPort['protocol'] };
}

interface Binding {
  readonly HostIp?: string | null | undefined;
  readonly HostPort?: string | null | undefined;
}

/** Some clients send :: beside 0.0.0.0 for all addresses. */
function merged(bindings: readonly Binding[]): readonly Binding[] {
  const has = (ip: string, { HostPort }: Binding): boolean =>
    bindings.some((one) => one.HostIp === ip && (one.HostPort ?? '') === (HostPort ?? ''));
  return bindings.flatMap((one) => {
    if (one.HostIp === '::' && has('0.0.0.0', one)) return [];
    return [one.HostIp === '0.0.0.0' && has('::', one) ? { ...one, HostIp: '' } : one];
  });
}

/** A number, a range to choose one of, or nothing. Throws InvalidError. */
function decodeHostPort(text: string, target: string): Pick<PublishedPort, 'publishedPort' | 'among'> {
  const match = /^(\d{0,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? first);
  const isRange = match?.[2] !== undefined;
  if (match === null || last > PORT_MAX || last < first || (isRange && first < 1))
    throw new InvalidError(
      `HostConfig.PortBindings: invalid port specification: "${text}" for ${target}: ` +
        `a number, or a range such as 8000-8010, up to ${PORT_MAX} is expected`,
    );
  return first === last ? { publishedPort: first } : { publishedPort: 0, among: [first, last] };
}

/** Ports are published on every node, with the numbers asked for or ones that the manager chooses. */
export function decodePorts(host: RawHostConfig): PublishedPort[] {
  return Object.entries(host.PortBindings ?? {}).flatMap(([text, bindings]) => {
    const port = parsePort(text);
    return merged(bindings ?? []).map((binding): PublishedPort => {
      const address = binding.HostIp ?? '';
      const reading = readHostAddress(address);
      if ('problem' in reading)
        throw new InvalidError(
          `HostConfig.PortBindings: invalid address ${address} for ${text}: ${reading.problem}`,
        );
      const { hostIp } = reading;
      return {
        ...port,
        ...decodeHostPort(binding.HostPort ?? '', text),
        mode: 'ingress',
        ...(hostIp === undefined ? {} : { hostIp }),
      };
    });
  });
}

/** What -P publishes: what the client and the image expose, but for what is published already. */
export function withExposed(ports: readonly PublishedPort[], exposed: Iterable<string>): PublishedPort[] {
  const published = new Set(ports.map((port) => `${port.targetPort}/${port.protocol}`));
  const more: PublishedPort[] = [];
  for (const text of new Set(exposed)) {
    const port = parsePort(text);
    const key = `${port.targetPort}/${port.protocol}`;
    if (published.has(key)) continue;
    published.add(key);
    more.push({ ...port, publishedPort: 0, mode: 'ingress' });
  }
  return [...ports, ...more];
}
