/** Whether an address is this machine's. */
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';

/**
 * Asked of the kernel, and not of the list of interfaces: that leaves out one whose cable is pulled, which has its addresses all the
 * same. True for what can not be told, such as a link-local address without its zone.
 */
export async function isOwnAddress(address: string): Promise<boolean> {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind({ address, port: 0, exclusive: true }, resolve);
    });
    return true;
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'EADDRNOTAVAIL');
  } finally {
    socket.close();
  }
}
