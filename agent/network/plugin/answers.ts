/** What network plugins answer, checked: nothing of it is believed that could concern anything but the plugin's own network. */
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import { cidrContains, cidrsOverlap, isAddress, parseAddress, parseCidr } from '../../../shared/lib/cidr.ts';
import { subnetOf } from '../../../shared/lib/network-subnets.ts';
import type { NetworkAssignment } from '../../../shared/model/index.ts';
import type { Joined } from '../container-scope.ts';
import type { NamespaceDump } from '../observe.ts';

const text = z.string().max(256).nullish();

const zActivation = z.object({ Implements: z.array(z.string().max(64)).max(16).nullish() });
const zCapabilities = z.object({ Scope: text });
const zEndpoint = z.object({
  Interface: z.object({ Address: text, AddressIPv6: text, MacAddress: text }).nullish(),
});
const zRoute = z.object({
  Destination: z.string().max(64),
  RouteType: z.number().int().nullish(),
  NextHop: text,
});
const zJoin = z.object({
  InterfaceName: z.object({ SrcName: text, DstPrefix: text }).nullish(),
  Gateway: text,
  GatewayIPv6: text,
  StaticRoutes: z.array(zRoute).max(64).nullish(),
});

const DEVICE = /^(?!\.{1,2}$)[^\s/:]{1,15}$/;
const SHOALS = /^s[uw][0-9a-f]{6}/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
/** RouteType of a destination that is on the wire, without a next hop. */
const CONNECTED = 1;
/** Where a route of a plugin would take what is the node's, or the name server's. */
const RESERVED = ['127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'].map(parseCidr);

export function implementsNetworks(answer: unknown): boolean {
  return read(zActivation, answer, 'Plugin.Activate').Implements?.includes('NetworkDriver') === true;
}

/** Throws for what says that it is one network on all nodes: who keeps it together there is Docker's Swarm. */
export function requireLocal(answer: unknown): void {
  const { Scope } = read(zCapabilities, answer, 'NetworkDriver.GetCapabilities');
  if (Scope !== 'local')
    throw new InvalidError(`its scope is '${Scope ?? ''}': plugins of the scope local are supported`);
}

/** The MAC address that it wants the interface to have. Throws when it gives another address than it was told. */
export function readEndpoint(answer: unknown, address: string): string | undefined {
  const { Address, AddressIPv6, MacAddress } =
    read(zEndpoint, answer, 'NetworkDriver.CreateEndpoint').Interface ?? {};
  const given = Address ?? '';
  if (given !== '' && given !== address)
    throw new InvalidError(`it gives the address ${given}, and was told ${address}`);
  if ((AddressIPv6 ?? '') !== '') throw new InvalidError('it gives an IPv6 address, and was told none');
  const mac = MacAddress ?? '';
  if (mac === '') return undefined;
  if (!MAC.test(mac) || (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1)
    throw new InvalidError(`it gives '${mac}', which is no MAC address of an interface`);
  return mac.toLowerCase();
}

export function readJoin(answer: unknown, network: NetworkAssignment, address: string): Joined {
  const { InterfaceName, Gateway, GatewayIPv6, StaticRoutes } = read(zJoin, answer, 'NetworkDriver.Join');
  const device = InterfaceName?.SrcName ?? '';
  if (!DEVICE.test(device)) throw new InvalidError(`it names '${device}', which is no device's name`);
  if ((GatewayIPv6 ?? '') !== '')
    throw new InvalidError('it gives a gateway of IPv6, and was told no address of it');
  const gateway = (Gateway ?? '').replace(/\/\d+$/, '');
  if (gateway !== '') requireNeighbour('gateway', gateway, network, address);
  const routes = (StaticRoutes ?? []).map((route) => readRoute(route, network, address));
  return { device, routes, ...(gateway === '' ? {} : { gateway }) };
}

function readRoute(
  { Destination, RouteType, NextHop }: z.output<typeof zRoute>,
  network: NetworkAssignment,
  address: string,
): Joined['routes'][number] {
  const range = cidrOf(Destination);
  if (range === undefined || range.bits < 1 || RESERVED.some((one) => cidrsOverlap(one, range)))
    throw new InvalidError(`it routes ${Destination}, which can not be routed to it`);
  const via = NextHop ?? '';
  if (RouteType === CONNECTED) {
    if (via !== '') throw new InvalidError(`its route to ${Destination} is on the wire, and has a next hop`);
    return { dst: Destination };
  }
  requireNeighbour('next hop', via, network, address);
  return { dst: Destination, via };
}

function cidrOf(text: string): ReturnType<typeof parseCidr> | undefined {
  try {
    return parseCidr(text);
  } catch {
    return undefined;
  }
}

function requireNeighbour(what: string, text: string, network: NetworkAssignment, own: string): void {
  const subnet = parseCidr(subnetOf(network, own).subnet);
  if (isAddress(text) && text !== own && cidrContains(subnet, parseAddress(text))) return;
  throw new InvalidError(`its ${what} '${text}' is no other address of the network`);
}

/**
 * Throws unless the device was made for this: it is new, is nobody's yet, and nothing hangs on it. A container must
 * not get a device of the node's because a plugin says so. `before`: indexes of the devices before it was asked.
 */
export function requireOwnDevice(
  device: string,
  before: ReadonlySet<number>,
  { links, addresses }: NamespaceDump,
): void {
  const refuse = (why: string): never => {
    throw new InvalidError(`it names the device ${device}, ${why}`);
  };
  const link = links.find(({ name }) => name === device);
  if (link?.index === undefined) return refuse('which is not there');
  if (SHOALS.test(device)) return refuse("which is one of Shoal's");
  if (before.has(link.index)) return refuse('which was there before it was asked for one');
  if (link.kind === undefined) return refuse("which is the machine's");
  if (link.master !== undefined) return refuse('which is part of another one');
  if (addresses.some(({ dev }) => dev === device)) return refuse('which has addresses of the node');
  if (links.some(({ below }) => below === link.index && below !== undefined && link.kind !== 'veth'))
    return refuse('which is below another one');
}

function read<T extends z.ZodType>(schema: T, answer: unknown, what: string): z.output<T> {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new InvalidError(
    `its answer to ${what} is wrong: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`,
  );
}
