/** What a node may say of its machine: others program their kernels, and the leader plans, by what is written here. */
import { isIP, isIPv4 } from 'node:net';
import type { NodeDescription } from '../../shared/model/index.ts';

const MAX_NAME = 253;
const MAX_SUBNETS = 1_000;

/** Why it is refused; undefined when it is good. `from`: the address that its session comes from. */
export function descriptionProblem(
  description: NodeDescription,
  from: string | undefined,
): string | undefined {
  const { hostname, address, localSubnets } = description;
  // oxlint-disable-next-line eslint/no-control-regex -- it is what is looked for
  if (hostname === '' || hostname.length > MAX_NAME || /[\u0000-\u001f\u007f]/.test(hostname))
    return `a host name has 1 to ${MAX_NAME} characters, none of them control characters`;
  if (isIP(address) === 0) return 'its address is no IP address';
  if (isNobodys(address)) return `no node can have the address ${address}`;
  if (isLoopback(address) && address !== from)
    return `the address ${address} is reached on one machine only: say another one with --address`;
  if (localSubnets.length > MAX_SUBNETS) return `more than ${MAX_SUBNETS} local subnets`;
  if (!localSubnets.every(isSubnet)) return 'a local subnet is not ADDRESS/BITS';
  return undefined;
}

function isNobodys(address: string): boolean {
  if (!isIPv4(address)) return address === '::' || /^ff/i.test(address);
  const first = Number(address.split('.')[0]);
  return first === 0 || first >= 224;
}

function isLoopback(address: string): boolean {
  return isIPv4(address) ? address.startsWith('127.') : address === '::1';
}

/** All addresses (/0) are nobody's subnet. */
function isSubnet(text: string): boolean {
  const [, address = '', bits = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const most = isIPv4(address) ? 32 : 128;
  return isIP(address) !== 0 && Number(bits) >= 1 && Number(bits) <= most;
}
