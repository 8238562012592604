/** The subnets that users choose for a network, with what they say of the addresses in them. */
import type { Network, NetworkSpec, SubnetChoice } from '../model/network.ts';
import { type Cidr, cidrContains, cidrSize, cidrsOverlap, parseAddress, parseCidr } from './cidr.ts';
import { overlapOf, type Subnet, subnetsOf } from './network-subnets.ts';

/** None when the manager is to choose one. */
export function choicesOf(spec: Pick<NetworkSpec, keyof SubnetChoice | 'moreSubnets'>): SubnetChoice[] {
  const { subnet, gateway, addressRange, reservedAddresses, moreSubnets = [] } = spec;
  if (subnet === undefined) return [];
  const first = {
    subnet,
    ...(gateway === undefined ? {} : { gateway }),
    ...(addressRange === undefined ? {} : { addressRange }),
    ...(reservedAddresses === undefined ? {} : { reservedAddresses }),
  };
  return [first, ...moreSubnets];
}

/** What a network has, with what was chosen for it: allocations are in the order of the choices. */
export function chosenSubnets({
  spec,
  allocation,
}: Pick<Network, 'spec' | 'allocation'>): (Subnet & SubnetChoice)[] {
  if (allocation === undefined) return [];
  const choices = choicesOf(spec);
  return subnetsOf(allocation).map((subnet, index) => ({ ...choices[index], ...subnet }));
}

/** The subnets, or parts of them, that addresses are given out of by themselves. */
export function givenFrom(network: Pick<Network, 'spec' | 'allocation'>): string[] {
  return chosenSubnets(network).map(({ subnet, addressRange }) => addressRange ?? subnet);
}

export interface ChoiceProblem {
  /** Where it is: of which field. */
  readonly key: keyof SubnetChoice;
  readonly message: string;
}

/** Subnets of which containers can not have addresses, and why. */
const UNUSABLE: readonly (readonly [string, string])[] = [
  ['0.0.0.0/8', "its addresses are nobody's"],
  ['127.0.0.0/8', "its addresses are each host's own"],
  ['169.254.0.0/16', 'its addresses are link-local, and the nodes use them'],
  ['224.0.0.0/4', 'its addresses are for multicast'],
  ['240.0.0.0/4', 'its addresses are reserved, and the nodes use them'],
];

/** What is wrong with one subnet that a user chose, and with what was chosen in it. */
export function choiceProblem(choice: SubnetChoice): ChoiceProblem | undefined {
  const { subnet: text, gateway, addressRange, reservedAddresses = {} } = choice;
  let subnet: Cidr;
  try {
    subnet = parseCidr(text);
  } catch (error) {
    return { key: 'subnet', message: ipv4Only(error) };
  }
  if (subnet.bits < 8 || subnet.bits > 29)
    return { key: 'subnet', message: `subnet ${text}: a prefix from /8 to /29 is expected` };
  const unusable = UNUSABLE.find(([other]) => cidrsOverlap(parseCidr(other), subnet));
  if (unusable !== undefined)
    return { key: 'subnet', message: `subnet ${text} can not be used: ${unusable[1]}` };
  if (gateway !== undefined) {
    const problem = insideProblem(choice, subnet, 'gateway', gateway);
    if (problem !== undefined) return { key: 'gateway', message: problem };
  }
  const range = addressRange === undefined ? undefined : rangeProblem(text, subnet, addressRange);
  if (range !== undefined) return { key: 'addressRange', message: range };
  for (const [name, address] of Object.entries(reservedAddresses)) {
    const problem = insideProblem(choice, subnet, `auxiliary address ${name}:`, address);
    if (problem !== undefined) return { key: 'reservedAddresses', message: problem };
  }
  return undefined;
}

/** What is wrong with all of them, one after the other and together. */
export function choicesProblem(spec: NetworkSpec): string | undefined {
  const { gateway, addressRange, reservedAddresses } = spec;
  const choices = choicesOf(spec);
  if (choices.length === 0) {
    if (gateway !== undefined) return 'a gateway needs a subnet';
    if (addressRange !== undefined) return 'a range of addresses needs a subnet';
    return reservedAddresses === undefined ? undefined : 'auxiliary addresses need a subnet';
  }
  for (const [index, choice] of choices.entries()) {
    const problem = choiceProblem(choice);
    if (problem !== undefined) return problem.message;
    const before = choices.slice(0, index).map(({ subnet }) => subnet);
    const overlap = overlapOf([choice.subnet], before);
    if (overlap !== undefined) return `subnet ${overlap[0]} overlaps with ${overlap[1]} of the same network`;
  }
  return undefined;
}

/** Why nobody can have this address of the network, whoever has which now. */
export function addressProblem(
  network: Pick<Network, 'spec' | 'allocation'>,
  address: string,
): string | undefined {
  const value = parseAddress(address);
  const own = chosenSubnets(network).find(({ subnet }) => cidrContains(parseCidr(subnet), value));
  if (own === undefined) return 'it is not in the subnet';
  if (isEdge(parseCidr(own.subnet), value) || parseAddress(own.gateway) === value)
    return "it is the subnet's own, its gateway or its last one";
  const name = Object.entries(own.reservedAddresses ?? {}).find(
    ([, text]) => parseAddress(text) === value,
  )?.[0];
  return name === undefined ? undefined : `it is reserved as ${name}`;
}

function insideProblem(
  { subnet: text }: SubnetChoice,
  subnet: Cidr,
  what: string,
  address: string,
): string | undefined {
  try {
    const value = parseAddress(address);
    if (!cidrContains(subnet, value)) return `${what} ${address} is not in subnet ${text}`;
    return isEdge(subnet, value)
      ? `${what} ${address} is the first or the last address of subnet ${text}, which nobody can have`
      : undefined;
  } catch (error) {
    return `${what} ${ipv4Only(error)}`;
  }
}

/** The network's own address and the broadcast address. */
function isEdge(subnet: Cidr, address: number): boolean {
  return address === subnet.base || address === subnet.base + cidrSize(subnet) - 1;
}

function rangeProblem(text: string, subnet: Cidr, range: string): string | undefined {
  try {
    const { base, bits } = parseCidr(range);
    return bits >= subnet.bits && cidrContains(subnet, base)
      ? undefined
      : `range ${range} is not in subnet ${text}`;
  } catch (error) {
    return `range ${ipv4Only(error)}`;
  }
}

function ipv4Only(error: unknown): string {
  return error instanceof TypeError ? `${error.message} (IPv4 subnets are supported)` : String(error);
}
