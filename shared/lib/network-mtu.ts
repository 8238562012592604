/** Driver options of networks: an MTU of its own, and of bridges whether containers may talk to one another. */
import type { Labels } from '../model/service.ts';

export const MTU_OPTION = 'com.docker.network.driver.mtu';
export const ICC_OPTION = 'com.docker.network.bridge.enable_icc';
/** IPv6's least (RFC 8200, 5): what carries less breaks more than it helps. */
const LEAST = 1280;
/** An IPv4 packet's most, less the tunnel's headers. */
const MOST = 65_485;

/** In bytes; undefined when none is asked for. A text is what is wrong with it. */
export function readMtu(options: Labels): number | string | undefined {
  const text = options[MTU_OPTION];
  if (text === undefined) return undefined;
  const mtu = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return mtu >= LEAST && mtu <= MOST
    ? mtu
    : `'${text}': a number of bytes from ${LEAST} to ${MOST} is expected`;
}
