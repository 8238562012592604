/** PURE. What nodes are told of a network. */
import type { NetworkAssignment } from '../model/assignment.ts';
import type { Network } from '../model/network.ts';
import { readAllow } from './allow-list.ts';
import { isEncrypted } from './network-encrypted.ts';
import { ICC_OPTION, readMtu } from './network-mtu.ts';
import { isLocal, outsideOf } from './network-outside.ts';

/** Undefined until the network has its subnet. */
export function networkRow(network: Network): NetworkAssignment | undefined {
  if (network.allocation === undefined) return undefined;
  // Those of a plugin are its own.
  const options = network.spec.driver === 'plugin' ? {} : network.spec.driverOptions;
  const mtu = readMtu(options);
  const allow = readAllow(network.spec.labels);
  const outside = outsideOf(network.spec);
  return {
    networkId: network.id,
    name: network.spec.name,
    ...network.allocation,
    internal: network.spec.internal,
    ingress: network.spec.ingress,
    ...(isLocal(network.spec) ? { local: true as const } : {}),
    ...(options[ICC_OPTION] === 'false' ? { isolated: true as const } : {}),
    ...(typeof mtu === 'number' ? { mtu } : {}),
    ...(typeof allow === 'object' ? { allow } : {}),
    ...(isEncrypted(network.spec) ? { encrypted: true as const } : {}),
    ...(outside === undefined ? {} : { outside }),
  };
}
