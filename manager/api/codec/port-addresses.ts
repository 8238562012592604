/** PURE. On which addresses a published port is shown, as Docker shows them: those where it answers. */

/** `ipv6`: whether the container's node leads published ports over IPv6. */
export function addressesOf(hostIp: string | undefined, ipv6: boolean): string[] {
  if (hostIp === undefined) return ipv6 ? ['0.0.0.0', '::'] : ['0.0.0.0'];
  return !ipv6 && hostIp.includes(':') ? [] : [hostIp];
}

interface Shown {
  readonly hostIp?: string;
  readonly protocol: string;
  readonly targetPort: number;
  readonly publishedPort: number;
}

/** For lists. */
export function listedPorts(ports: readonly Shown[], ipv6: boolean): object[] {
  return ports.flatMap((port) =>
    addressesOf(port.hostIp, ipv6).map((address) => ({
      IP: address,
      PrivatePort: port.targetPort,
      PublicPort: port.publishedPort,
      Type: port.protocol,
    })),
  );
}

/** For inspection: by the container's port. */
export function boundPorts(ports: readonly Shown[], ipv6: boolean): Record<string, object[]> {
  const map: Record<string, object[]> = {};
  for (const port of ports) {
    const list = (map[`${port.targetPort}/${port.protocol}`] ??= []);
    for (const HostIp of addressesOf(port.hostIp, ipv6))
      list.push({ HostIp, HostPort: String(port.publishedPort) });
  }
  return map;
}
