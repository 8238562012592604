/** Network of the Docker Engine API <-> ours. */
import { z } from 'zod';
import { InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import { ENCRYPTED_OPTION, readEncrypted } from '../../../shared/lib/network-encrypted.ts';
import { MTU_OPTION, readMtu } from '../../../shared/lib/network-mtu.ts';
import type { Labels, Network, NetworkSpec } from '../../../shared/model/index.ts';
import { requireAllow } from '../ops/allow-lists.ts';
import { parseStrict } from '../http/unsupported.ts';
import { defined, given, labelsOf, timeText, zFlag, zLabels, zText } from './common.ts';

export const zNetwork = z.object({
  Name: z.string({ error: 'a network needs a Name' }),
  // Since 1.44 always checked.
  CheckDuplicate: zFlag,
  Driver: zText,
  Scope: z.enum(['', 'swarm'], { error: "networks have the scope 'swarm'" }).nullish(),
  Internal: zFlag,
  Attachable: zFlag,
  Ingress: zFlag,
  EnableIPv4: zFlag,
  IPAM: z
    .object({
      Driver: z.enum(['', 'default'], { error: "the IPAM driver is 'default'" }).nullish(),
      Config: z.array(z.object({ Subnet: zText, Gateway: zText })).nullish(),
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
  const driver = given(raw.Driver) ?? 'overlay';
  if (driver !== 'overlay') {
    throw new InvalidError(
      `network driver '${driver}' is not supported: Shoal makes overlay networks (docker network create --driver overlay)`,
    );
  }
  const configs = raw.IPAM?.Config ?? [];
  if (configs.length > 1)
    throw new UnsupportedError('network: not supported by Shoal: more than one IPAM.Config');
  const spec = defined({
    name: raw.Name,
    labels: labelsOf(raw.Labels),
    driver: 'overlay' as const,
    internal: raw.Internal ?? false,
    attachable: raw.Attachable ?? false,
    ingress: false,
    subnet: given(configs[0]?.Subnet),
    gateway: given(configs[0]?.Gateway),
    driverOptions: labelsOf(raw.Options),
  }) as NetworkSpec;
  requireOptions(spec.driverOptions);
  requireAllow(spec.labels);
  return { spec, warnings: [] };
}

/** Throws for an option that would change what the network is, and for a value that can not be. */
function requireOptions(options: Labels): void {
  const refused = Object.keys(options).filter((key) => key !== MTU_OPTION && key !== ENCRYPTED_OPTION);
  if (refused.length > 0) {
    throw new UnsupportedError(`network: not supported by Shoal: driver option ${refused.join(', ')}`);
  }
  const mtu = readMtu(options);
  if (typeof mtu === 'string') throw new InvalidError(`network: driver option ${MTU_OPTION}: ${mtu}`);
  const encrypted = readEncrypted(options);
  if (typeof encrypted === 'string')
    throw new InvalidError(`network: driver option ${ENCRYPTED_OPTION}: ${encrypted}`);
}

export function encodeNetwork(network: Network, version: number) {
  const { spec, allocation } = network;
  const subnet = allocation?.subnet ?? spec.subnet;
  const gateway = allocation?.gateway ?? spec.gateway;
  const vxlan: Labels = allocation === undefined ? {} : { [VXLAN_OPTION]: String(allocation.vni) };
  return {
    Name: spec.name,
    Id: network.id,
    Created: timeText(network.createdAtMs),
    Version: version,
    Scope: 'swarm',
    Driver: 'overlay',
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: {
      Driver: 'default',
      Options: null,
      Config: subnet === undefined ? [] : [defined({ Subnet: subnet, Gateway: gateway })],
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
