/** Which /30 of 169.254.0.0/17 each uplink of this host has. */
import type { NetworkAssignment } from '../../shared/model/index.ts';
import { hasUplink } from './local.ts';
import { slotOfAddress, UPLINK_SLOTS, uplinkName } from './names.ts';

/** Addresses of the host's own namespace, other clusters' included. */
export type HostAddresses = readonly { readonly dev: string; readonly address?: string }[];

/** Keeps what an uplink has, and gives the others free ones. `seed` spreads clusters that start at the same time. */
export function chooseSlots(
  networks: readonly NetworkAssignment[],
  addresses: HostAddresses,
  remembered: ReadonlyMap<string, number>,
  prefix: string,
): Map<string, number> {
  const used = new Map<number, string>();
  for (const { dev, address } of addresses) {
    const slot = address === undefined ? undefined : slotOfAddress(address.split('/')[0] ?? '');
    if (slot !== undefined) used.set(slot, dev);
  }
  const byDevice = new Map([...used].map(([slot, dev]) => [dev, slot]));
  const taken = new Set([...used.keys(), ...remembered.values()]);
  const slots = new Map<string, number>();
  for (const network of networks.filter(hasUplink)) {
    const has = byDevice.get(uplinkName(prefix, network.vni)) ?? remembered.get(network.networkId);
    const slot = has ?? freeSlot(taken, prefix);
    taken.add(slot);
    slots.set(network.networkId, slot);
  }
  return slots;
}

function freeSlot(taken: ReadonlySet<number>, prefix: string): number {
  let seed = 0;
  for (let i = 0; i < prefix.length; i += 1) seed = (seed * 31 + prefix.charCodeAt(i)) % (UPLINK_SLOTS - 1);
  for (let i = 0; i < UPLINK_SLOTS - 1; i += 1) {
    const slot = 1 + ((seed + i) % (UPLINK_SLOTS - 1));
    if (!taken.has(slot)) return slot;
  }
  throw new RangeError('no /30 of 169.254.0.0/17 is left for another uplink');
}
