import { HeldPorts, PORT_MAX, type PortClaim, portText } from '../../../shared/lib/published-port.ts';
import { ownNetworkOf, type ServiceSpec } from '../../../shared/model/index.ts';
import type { SpecProblem } from './service-spec.ts';

/** Of the ranges to choose from. Each number of them may have to be looked at whenever the service is planned. */
const RANGES_MAX = 256;
const RANGES_PORTS_MAX = 200_000;

export function checkPorts(spec: ServiceSpec): SpecProblem[] {
  const problems: SpecProblem[] = [];
  const held = new HeldPorts();
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
    const [other] = held.inTheWayOf(port);
    if (other !== undefined) problems.push({ field: 'ports', message: twice(other, port) });
    else held.add(port);
  }
  if (spec.endpointMode === 'dnsrr' && spec.ports.some((port) => port.mode === 'ingress')) {
    problems.push({
      field: 'endpointMode',
      message:
        "dnsrr can't be combined with a port published in ingress mode: use mode host, or endpoint mode vip",
    });
  }
  return [...problems, ...checkRanges(spec), ...checkOwnNetwork(spec)];
}

function checkRanges({ ports }: ServiceSpec): SpecProblem[] {
  const widths = ports.flatMap(({ among }) => (among === undefined ? [] : [among[1] - among[0] + 1]));
  const sum = widths.reduce((total, width) => total + width, 0);
  if (widths.length <= RANGES_MAX && sum <= RANGES_PORTS_MAX) return [];
  const message =
    `${widths.length} ranges of ${sum} ports in all to choose from: ` +
    `at most ${RANGES_MAX} ranges of ${RANGES_PORTS_MAX} ports in all are taken`;
  return [{ field: 'ports', message }];
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

function twice(one: PortClaim, other: PortClaim): string {
  const [first, second] = [portText(one), portText(other)];
  if (first === second) return `${first} is published twice`;
  return `${second} is published, and so is ${first}: they have an address in common`;
}
