/** Names, addresses and numbers that follow from identifiers. */
import { InvalidError } from '../../shared/errors/index.ts';
import { formatAddress, parseAddress } from '../../shared/lib/cidr.ts';
import { formatAddress6, parseAddress6 } from '../../shared/lib/cidr6.ts';

/**
 * Where the name server is on networks whose gateway is somebody else's: in the range of the uplinks, of which none has it.
 * Containers reach it by a device of their own.
 */
export const NAME_SERVER = '169.254.0.2';

/** Devices in a sandbox. */
export const TUNNEL = 'vx0';
export const UPLINK = 'up0';
/** A container's device to the name server, beside its eth of that number. */
export function nameLink(number: number): string {
  return `dns${number}`;
}

/** The nft table in a sandbox. */
export const SANDBOX_TABLE = 'shoal';

/** Up to half of the address range is for uplinks, a /30 each; the other half for what sandboxes send themselves. */
const UPLINK_BASE = parseAddress('169.254.0.0');
const OWN_BASE = parseAddress('169.254.128.0');
/** Of SHOAL_SUBNET6. */
const OWN_BASE6 = parseAddress6('fd73:686f:616c:1::');
const UPLINK_BASE6 = parseAddress6('fd73:686f:616c:2::');
const TUNNEL_BASE6 = parseAddress6('fe80::5:0:0');
export const UPLINK_SLOTS = 8192;

/** Where a VXLAN packet's headers go: outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14. */
export const TUNNEL_OVERHEAD = 50;

/** What WireGuard adds at most: outer IPv6 40 (IPv4 20), UDP 8, its header 16 and tag 16. */
export const WIRE_OVERHEAD = 80;

/** Nodes of one cluster may share a machine. */
const NODE_CHARACTERS = 8;

/** What the names of a node's namespaces and tables have in common: unique on a machine. */
export function prefixOf(clusterName: string, nodeId: string): string {
  return `${clusterName}-${nodeId.slice(0, NODE_CHARACTERS)}`;
}

/** The prefix in the name of a sandbox or of a host's table of this cluster, or undefined for any other name. */
export function prefixInName(clusterName: string, name: string): string | undefined {
  const start = `shoal-${clusterName}-`;
  const match = /^([0-9a-z]{8})(-[0-9a-f]{1,6}|-wire)?$/.exec(name.slice(start.length));
  return name.startsWith(start) && match !== null ? `${clusterName}-${match[1]}` : undefined;
}

export function sandboxName(prefix: string, vni: number): string {
  return `shoal-${prefix}-${vni.toString(16)}`;
}

/** The VNI of a sandbox of this prefix, or undefined for any other namespace's name. */
export function vniOfSandbox(prefix: string, name: string): number | undefined {
  const start = `shoal-${prefix}-`;
  const rest = name.slice(start.length);
  return name.startsWith(start) && /^[0-9a-f]{1,6}$/.test(rest) ? Number.parseInt(rest, 16) : undefined;
}

export function hostTable(prefix: string): string {
  return `shoal-${prefix}`;
}

/** The table on the host that keeps apart what is encrypted. */
export function wireTable(prefix: string): string {
  return `${hostTable(prefix)}-wire`;
}

/** Six digits for a prefix: its devices share the host's namespace with other clusters'. */
function digitsOf(prefix: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < prefix.length; i += 1) hash = Math.imul(hash ^ prefix.charCodeAt(i), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, '0').slice(-6);
}

/** What the names of a prefix's uplinks on the host begin with. */
export function uplinkPrefix(prefix: string): string {
  return `su${digitsOf(prefix)}`;
}

/** And those of its WireGuard devices (the native library knows the first two letters). */
export function wirePrefix(prefix: string): string {
  return `sw${digitsOf(prefix)}`;
}

export function wireName(prefix: string, slot: number): string {
  return `${wirePrefix(prefix)}${slot}`;
}

/** The port of the encrypted networks' VXLAN, inside of WireGuard. */
export function encryptedPort(vxlanPort: number): number {
  return vxlanPort + 1;
}

/** At most 14 of the 15 characters that a device's name may have. */
export function uplinkName(prefix: string, vni: number): string {
  return `${uplinkPrefix(prefix)}${vni.toString(16)}`;
}

/** The sandbox's end of a task's veth. Task ids are random: 12 characters tell the tasks of a node apart. */
export function portName(taskId: string): string {
  return `c${taskId.slice(0, 12)}`;
}

/** Slot 1 to UPLINK_SLOTS - 1. */
export function uplinkAddresses(slot: number): { host: string; sandbox: string } {
  const base = UPLINK_BASE + slot * 4;
  return { host: formatAddress(base + 1), sandbox: formatAddress(base + 2) };
}

/** The same slots, over IPv6. */
export function uplinkAddresses6(slot: number): { host: string; sandbox: string } {
  const base = UPLINK_BASE6 + BigInt(slot * 4);
  return { host: formatAddress6(base + 1n), sandbox: formatAddress6(base + 2n) };
}

/** The slot that an address of an uplink's host end stands for, or undefined. */
export function slotOfAddress(address: string): number | undefined {
  if (address.includes(':')) return undefined;
  const offset = parseAddress(address) - UPLINK_BASE;
  return offset >= 0 && offset < UPLINK_SLOTS * 4 ? Math.floor(offset / 4) : undefined;
}

/** What a node's sandboxes send from towards other nodes: the gateway's address is the same everywhere. */
export function ownAddress(index: number): string {
  return formatAddress(OWN_BASE + (index % 32_768));
}

/** IPv6 between a sandbox and a container: the sandbox's end, and the container's. The host and a sandbox have the same. */
export const PORT_ADDRESS6 = 'fe80::1';
export const CONTAINER_ADDRESS6 = 'fe80::2';

/** To whom packets of IPv6 for a node are sent, in the tunnels. */
export function tunnelAddress6(index: number): string {
  return formatAddress6(TUNNEL_BASE6 + BigInt(index));
}

/** What a node's sandboxes send from towards other nodes, over IPv6. */
export function ownAddress6(index: number): string {
  return formatAddress6(OWN_BASE6 + BigInt(index));
}

/** The MAC address of a node's tunnels. */
export function tunnelMac(index: number): string {
  const bytes = [24, 16, 8, 0].map((shift) => ((index >>> shift) & 255).toString(16).padStart(2, '0'));
  return `02:00:${bytes.join(':')}`;
}

/** The mark and the table of what came in through a node. */
export function originOf(index: number): { mark: number; table: number } {
  return { mark: index + 1, table: 10_000 + index };
}

/** Throws InvalidError for a name that can not be a part of others. */
export function requireClusterName(name: string): void {
  if (/^[A-Za-z0-9_-]{1,64}$/.test(name)) return;
  throw new InvalidError(`cluster name ${name}: letters, digits, - and _ are allowed`);
}
