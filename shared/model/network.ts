import type { Labels } from './service.ts';

/** What networks can be made of. */
export const NETWORK_DRIVERS = ['overlay', 'bridge', 'macvlan', 'plugin'] as const;
export type NetworkDriverName = (typeof NETWORK_DRIVERS)[number];

/** A subnet that a user chose. */
export interface SubnetChoice {
  readonly subnet: string;
  /** Absent: its first address. */
  readonly gateway?: string;
  /** CIDR of the part that addresses are given out of. Absent: all of it. */
  readonly addressRange?: string;
  /** Addresses that nobody gets, by the name that the user gave each. */
  readonly reservedAddresses?: Readonly<Record<string, string>>;
}

export interface NetworkSpec {
  readonly name: string;
  readonly labels: Labels;
  /**
   * `bridge`: each node has one of its own; what is on it reaches what is on it on the same node. `macvlan` and `plugin`:
   * each node puts what is on it on a network that is not Shoal's.
   */
  readonly driver: NetworkDriverName;
  /** Which one, of the driver `plugin`. */
  readonly plugin?: string;
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly ingress: boolean;
  /** CIDR; absent: the manager chooses. */
  readonly subnet?: string;
  readonly gateway?: string;
  readonly addressRange?: string;
  readonly reservedAddresses?: Readonly<Record<string, string>>;
  /** Beside that one, when users gave several. */
  readonly moreSubnets?: readonly SubnetChoice[];
  /** It has IPv6 beside IPv4. */
  readonly ipv6?: true;
  /** Of IPv6; absent: the manager chooses. */
  readonly subnet6?: string;
  readonly gateway6?: string;
  readonly driverOptions: Labels;
}

/** The record at /networks/<id>. */
export interface Network {
  readonly id: string;
  readonly spec: NetworkSpec;
  readonly createdAtMs: number;
  /** What allocate gave. Absent until then. */
  readonly allocation?: {
    readonly subnet: string;
    readonly gateway: string;
    readonly moreSubnets?: readonly { readonly subnet: string; readonly gateway: string }[];
    /** Of IPv6: what has an address of the others has the one at the same place of it (network-ipv6.ts). */
    readonly subnet6?: string;
    readonly vni: number;
  };
  /** Why allocation failed, for people. */
  readonly error?: string;
  /** It is about to be deleted: no service may refer to it any more. */
  readonly removing?: boolean;
}

/** The id of the routing mesh's network is fixed, so that two managers starting at once agree. */
export const INGRESS_NETWORK_ID = 'ingress0000000000000000000';

/** Another name for what is on the network, for who has the link alone. */
export interface NetworkLink {
  readonly name: string;
  readonly alias: string;
}

/** A service or a container on a network. */
export interface NetworkAttachment {
  /** Network id (specs as stored hold ids, not names). */
  readonly network: string;
  readonly aliases: readonly string[];
  /** Of a standalone container the only address that it takes there; of a service its virtual address. */
  readonly address?: string;
  /** The network with the highest is the way out, of those that have one. Absent: 0. */
  readonly wayOutPriority?: number;
  /** Of a standalone container: of its device there. Absent: any. */
  readonly macAddress?: string;
  /** Of a standalone container. */
  readonly links?: readonly NetworkLink[];
}
