import { ownNetworkOf, type PublishedPort, type ServiceSpec } from '../../../shared/model/index.ts';
import type { SpecProblem } from './service-spec.ts';

const PORT_MAX = 65_535;

export function checkPorts(spec: ServiceSpec): SpecProblem[] {
  const problems: SpecProblem[] = [];
  const seen = new Set<string>();
  for (const port of spec.ports) {
    if (port.targetPort < 1 || port.targetPort > PORT_MAX) {
      problems.push({
        field: 'ports',
        message: `target port ${port.targetPort}: 1 to ${PORT_MAX} is expected`,
      });
    }
    if (port.publishedPort > PORT_MAX) {
      problems.push({
        field: 'ports',
        message: `published port ${port.publishedPort}: 0 to ${PORT_MAX} is expected`,
      });
    }
    if (port.publishedPort === 0) continue;
    const key = `${port.mode} ${portKey(port)}`;
    if (seen.has(key)) {
      problems.push({ field: 'ports', message: `${port.publishedPort}/${port.protocol} is published twice` });
    }
    seen.add(key);
  }
  if (spec.endpointMode === 'dnsrr' && spec.ports.some((port) => port.mode === 'ingress')) {
    problems.push({
      field: 'endpointMode',
      message:
        "dnsrr can't be combined with a port published in ingress mode: use mode host, or endpoint mode vip",
    });
  }
  return [...problems, ...checkOwnNetwork(spec)];
}

/** A container with its node's network binds the node's ports itself: such a port is only kept free for it. */
function checkOwnNetwork(spec: ServiceSpec): SpecProblem[] {
  const own = ownNetworkOf(spec);
  if (own === undefined) return [];
  return spec.ports.flatMap((port): SpecProblem[] => {
    const which = `${port.publishedPort || port.targetPort}/${port.protocol}`;
    if (own === 'none')
      return [{ field: 'ports', message: `${which}: a container with network none has no ports` }];
    if (port.mode === 'ingress')
      return [
        { field: 'ports', message: `${which}: ingress mode can't be used with network host: use mode host` },
      ];
    if (port.hostIp !== undefined) {
      const message = `${which}: with network host the program chooses the address that it listens on`;
      return [{ field: 'ports', message }];
    }
    if (port.publishedPort === port.targetPort) return [];
    const message = `${which}: with network host the published port is the target port (${port.targetPort})`;
    return [{ field: 'ports', message }];
  });
}

/** What two services can not both hold on the mesh. */
export function portKey(port: PublishedPort): string {
  return `${port.publishedPort}/${port.protocol}`;
}
