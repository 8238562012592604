/** The address of a node on which alone a port is published. */

const WHAT = 'an IPv4 address of the nodes is expected (127.0.0.1 for their localhost)';

/** `0.0.0.0` and nothing are all addresses: undefined. A text that is none gives what is wrong with it. */
export function readHostAddress(
  text: string,
): { readonly hostIp: string | undefined } | { readonly problem: string } {
  if (text === '' || text === '0.0.0.0') return { hostIp: undefined };
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  const parts = match?.slice(1).map(Number);
  if (parts === undefined) {
    const ipv6 = text.includes(':') ? 'ports are published on IPv4 only: ' : '';
    return { problem: `${ipv6}${WHAT}` };
  }
  const [first = 0] = parts;
  if (parts.some((part) => part > 255) || first === 0 || first >= 224) return { problem: WHAT };
  return { hostIp: parts.join('.') };
}
