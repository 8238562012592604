/** Network of the Docker Engine API <-> ours. */
import { z } from 'zod';
import { InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import { gateway6 } from '../../../shared/lib/network-ipv6.ts';
import { isLocal } from '../../../shared/lib/network-outside.ts';
import { splitPools } from '../../../shared/lib/network-pools.ts';
import {
  type Labels,
  type Network,
  type NetworkSpec,
  type SubnetChoice,
} from '../../../shared/model/index.ts';
import { choicesOf, chosenSubnets } from '../../../shared/lib/subnet-choice.ts';
import { requireAllow } from '../ops/allow-lists.ts';
import { parseStrict } from '../http/unsupported.ts';
import { driverName, readDriver, requireIpv6, requireOptions, scopeOf } from './network-driver.ts';
import { defined, given, labelsOf, timeText, zFlag, zLabels, zText } from './common.ts';

const zPool = z.object({ Subnet: zText, Gateway: zText, IPRange: zText, AuxiliaryAddresses: zLabels });

export const zNetwork = z.object({
  Name: z.string({ error: 'a network needs a Name' }),
  // Since 1.44 always checked.
  CheckDuplicate: zFlag,
  Driver: zText,
  Scope: z.enum(['', 'swarm', 'local'], { error: "networks have the scope 'swarm' or 'local'" }).nullish(),
  Internal: zFlag,
  Attachable: zFlag,
  Ingress: zFlag,
  EnableIPv4: zFlag,
  EnableIPv6: zFlag,
  IPAM: z
    .object({
      Driver: z.enum(['', 'default'], { error: "the IPAM driver is 'default'" }).nullish(),
      Config: z.array(zPool).nullish(),
    })
    .nullish(),
  Options: zLabels,
  Labels: zLabels,
  ConfigOnly: zFlag,
});

const VXLAN_OPTION = 'com.docker.network.driver.overlay.vxlanid_list';
export interface DecodedNetwork {
  readonly spec: NetworkSpec;
  readonly warnings: readonly string[];
}

export function decodeNetworkSpec(value: unknown): DecodedNetwork {
  const raw = parseStrict(zNetwork, value, 'network');
  if (raw.Ingress === true) {
    throw new UnsupportedError(
      'network: not supported by Shoal: Ingress (the ingress network is made by Shoal)',
    );
  }
  if (raw.ConfigOnly === true) throw new UnsupportedError('network: not supported by Shoal: ConfigOnly');
  if (raw.EnableIPv4 === false)
    throw new UnsupportedError('network: not supported by Shoal: EnableIPv4 = false');
  const driver = readDriver(given(raw.Driver) ?? 'overlay', raw.Scope ?? '');
  if (raw.EnableIPv6 === true) requireIpv6(driver);
  const subnets = splitPools((raw.IPAM?.Config ?? []).map(decodePool));
  if (typeof subnets === 'string') throw new InvalidError(`network: IPAM.Config: ${subnets}`);
  const spec = defined({
    name: raw.Name,
    labels: labelsOf(raw.Labels),
    ...driver,
    internal: raw.Internal ?? false,
    attachable: raw.Attachable ?? false,
    ingress: false,
    ...subnets,
    ipv6: raw.EnableIPv6 === true ? true : undefined,
    driverOptions: labelsOf(raw.Options),
  }) as NetworkSpec;
  requireOptions(spec);
  requireAllow(spec);
  return { spec, warnings: [] };
}

/** Of the only one all may be missing: the manager chooses. */
function decodePool(raw: z.output<typeof zPool>): Partial<SubnetChoice> {
  return defined({
    subnet: given(raw.Subnet),
    gateway: given(raw.Gateway),
    addressRange: given(raw.IPRange),
    reservedAddresses: given(raw.AuxiliaryAddresses),
  });
}

function encodePool({ subnet, gateway, addressRange, reservedAddresses }: SubnetChoice): object {
  return defined({
    Subnet: subnet,
    IPRange: addressRange,
    Gateway: gateway,
    AuxiliaryAddresses: reservedAddresses,
  });
}

function ipv6Pools({ spec, allocation }: Network): SubnetChoice[] {
  const subnet = allocation?.subnet6 ?? spec.subnet6;
  if (subnet === undefined) return [];
  const gateway = allocation === undefined ? spec.gateway6 : gateway6(allocation);
  return [gateway === undefined ? { subnet } : { subnet, gateway }];
}

export function encodeNetwork(network: Network, version: number) {
  const { spec, allocation } = network;
  const subnets = [
    ...(allocation === undefined ? choicesOf(spec) : chosenSubnets(network)),
    ...ipv6Pools(network),
  ];
  const vxlan: Labels =
    allocation === undefined || isLocal(spec) ? {} : { [VXLAN_OPTION]: String(allocation.vni) };
  return {
    Name: spec.name,
    Id: network.id,
    Created: timeText(network.createdAtMs),
    Version: version,
    Scope: scopeOf(spec),
    Driver: driverName(spec),
    EnableIPv4: true,
    EnableIPv6: spec.ipv6 === true || allocation?.subnet6 !== undefined,
    IPAM: {
      Driver: 'default',
      Options: null,
      Config: subnets.map(encodePool),
    },
    Internal: spec.internal,
    Attachable: spec.attachable,
    Ingress: spec.ingress,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: {} as Record<string, object>,
    Options: { ...vxlan, ...spec.driverOptions },
    Labels: spec.labels,
    ...(network.error === undefined ? {} : { Error: network.error }),
  };
}
