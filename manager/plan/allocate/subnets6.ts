/** IPv6 subnets of networks. */
import { type Cidr6, cidrs6Overlap, formatCidr6, parseCidr6 } from '../../../shared/lib/cidr6.ts';
import {
  normalSubnet6,
  roomProblem,
  SHOAL_SUBNET6,
  subnet6Problem,
  uniqueLocalSubnet,
} from '../../../shared/lib/network-ipv6.ts';
import type { Network } from '../../../shared/model/index.ts';
import type { View } from '../view.ts';

type Allocation = NonNullable<Network['allocation']>;

interface Taken6 {
  readonly subnet: Cidr6;
  /** Who has it, for messages. */
  readonly owner: string;
}

const NUMBERS = 2 ** 16;

/** Whether ingress can have IPv6: not while a node's agent would not know what to do with it. */
export function mayHaveIpv6({ nodes }: View): boolean {
  const described = [...nodes.values()].flatMap(({ status, description }) =>
    description === undefined || status === 'down' ? [] : description,
  );
  return described.length > 0 && described.every(({ ipv6 }) => ipv6 !== undefined);
}

/** What networks and nodes have, and what is given in this plan. */
export class Subnets6 {
  readonly #clusterId: string;
  readonly #taken: Taken6[] = [];
  readonly #mayMesh: boolean;

  constructor(view: View) {
    this.#clusterId = view.cluster.clusterId;
    this.#mayMesh = mayHaveIpv6(view);
    for (const { allocation, spec } of view.networks.values()) this.#take(spec.name, allocation?.subnet6);
    for (const { description } of view.nodes.values()) {
      const { localSubnets = [], hostname = '' } = description ?? {};
      for (const text of localSubnets.filter((one) => one.includes(':')))
        this.#taken.push({
          subnet: parseCidr6(text),
          owner: `${text}, which node ${hostname} reaches without Shoal`,
        });
    }
  }

  /** The allocation with its IPv6 subnet, if the network is to have one; or why not. */
  complete({ spec }: Network, allocation: Allocation): { allocation: Allocation } | { error: string } {
    if (spec.ipv6 !== true && !(spec.ingress && this.#mayMesh)) return { allocation };
    const subnet6 = spec.subnet6 === undefined ? this.#free(allocation.vni) : normalOrProblem(spec.subnet6);
    if (typeof subnet6 !== 'string') return subnet6;
    const other = this.#taken.find(({ subnet }) => cidrs6Overlap(subnet, parseCidr6(subnet6)));
    if (other !== undefined) return { error: `subnet ${subnet6} overlaps with ${other.owner}` };
    const room = roomProblem(allocation, subnet6);
    if (room !== undefined) return { error: room };
    this.#take(spec.name, subnet6);
    return { allocation: { ...allocation, subnet6 } };
  }

  #take(name: string, subnet6: string | undefined): void {
    if (subnet6 !== undefined) this.#taken.push({ subnet: parseCidr6(subnet6), owner: `network ${name}` });
  }

  /** By the tunnel's number, which rests before it is used again, or the next one that is free. */
  #free(vni: number): string | { error: string } {
    const shoal = parseCidr6(SHOAL_SUBNET6);
    for (let i = 0; i < NUMBERS; i += 1) {
      const subnet = uniqueLocalSubnet(this.#clusterId, vni + i);
      const isFree = [shoal, ...this.#taken.map((one) => one.subnet)].every(
        (one) => !cidrs6Overlap(one, subnet),
      );
      if (isFree) return formatCidr6(subnet);
    }
    return { error: 'no free IPv6 subnet in the range of the cluster' };
  }
}

function normalOrProblem(text: string): string | { error: string } {
  const problem = subnet6Problem(text);
  return problem === undefined ? normalSubnet6(text) : { error: problem };
}
