/** PURE. A container's /etc/hosts (hosts(5)). */

/** `extra` has lines of "name:address" or "name=address"; the address may be IPv6, bare or in brackets. */
export function hostsFile(hostname: string, addresses: readonly string[], extra: readonly string[]): string {
  const lines = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    ...extra.map(extraLine),
    ...addresses.map((address) => `${address}\t${hostname}`),
  ];
  return `${lines.join('\n')}\n`;
}

/** With the node's own network its names hold, too. */
export function hostsFileOfNode(text: string, extra: readonly string[]): string {
  const own = text === '' || text.endsWith('\n') ? text : `${text}\n`;
  return [own, ...extra.map((line) => `${extraLine(line)}\n`)].join('');
}

/** `name:host-gateway` is the node itself, as Docker has it. */
export function withGateway(extra: readonly string[], nodeAddress: string): string[] {
  return extra.map((line) => line.replace(/(?<=[:=])host-gateway$/, nodeAddress));
}

function extraLine(text: string): string {
  const match = /^([^:=]+)[:=]\[?([^\]]+)\]?$/.exec(text);
  if (match === null) throw new TypeError(`extra host "${text}" is not "name:address"`);
  return `${match[2] ?? ''}\t${match[1] ?? ''}`;
}
