/** `ports` of a service: the short form (text or number) and the long form (mapping). */
import type { PublishedPort } from '../../shared/model/index.ts';
import { readHostAddress } from '../../shared/lib/host-address.ts';
import { PORT_MAX } from '../../shared/lib/published-port.ts';
import { Section } from './section.ts';
import type { Value } from './value.ts';

const SHORT =
  /^(?:(?<address>\[[^\]]*\]|[^:[\]]*[^:[\]\d-][^:[\]]*)(?:::(?!.*:)|:(?=[^:]*:)))?(?:(?<published>\d+(?:-\d+)?):)?(?<target>\d+(?:-\d+)?)(?:\/(?<protocol>[a-z]+))?$/i;
const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const;
/** What all services of a stack may publish, ranges counted by their ports. */
export const STACK_PORTS_MAX = 20_000;

/** `budget`: how many ports the stack has left. */
export function readPorts(service: Section, budget: { left: number }): PublishedPort[] {
  return (service.list('ports')?.items ?? []).flatMap((item) => {
    if (budget.left < 0) return [];
    const ports = readPort(service, item);
    budget.left -= ports.length;
    if (budget.left < 0) {
      service.problems.error(item, item.key, `the stack publishes more than ${STACK_PORTS_MAX} ports`);
      return [];
    }
    return ports;
  });
}

function readPort(service: Section, item: Value): PublishedPort[] {
  if (item.kind === 'map') return readLong(new Section(item, service.problems), item);
  const text = service.textOf(item);
  return text === undefined ? [] : readShort(service, item, text);
}

function readShort(service: Section, item: Value, text: string): PublishedPort[] {
  const fail = (message: string): PublishedPort[] => {
    service.problems.error(item, item.key, `'${text}': ${message}`);
    return [];
  };
  const groups = SHORT.exec(text)?.groups;
  if (groups === undefined)
    return fail('[ADDRESS:]PUBLISHED:TARGET, TARGET, or ranges of them, with /tcp or /udp, are expected');
  const address = readHostAddress((groups['address'] ?? '').replace(/^\[(.*)\]$/, '$1'));
  if ('problem' in address) return fail(address.problem);
  const protocol = PROTOCOLS.find((name) => name === (groups['protocol'] ?? 'tcp').toLowerCase());
  if (protocol === undefined) return fail(`unknown protocol: ${PROTOCOLS.join(', ')} are known`);
  const targets = range(groups['target'] ?? '');
  const published = groups['published'] === undefined ? undefined : range(groups['published']);
  if (targets === undefined || (groups['published'] !== undefined && published === undefined)) {
    return fail(`ports from 1 to ${PORT_MAX}, a range from the lower to the higher, are expected`);
  }
  // As docker stack deploy has it: of several for one port of the container each leads to that.
  const pairs = pair(published ?? targets.map(() => 0), targets);
  if (pairs === undefined) return fail('the two ranges differ in length');
  return pairs.map(([publishedPort, targetPort]) => ({
    protocol,
    targetPort,
    publishedPort,
    mode: 'ingress',
    ...(address.hostIp === undefined ? {} : { hostIp: address.hostIp }),
  }));
}

/** Ports by their place, or all of them with the only target. */
function pair(published: readonly number[], targets: readonly number[]): [number, number][] | undefined {
  const [first = 0] = targets;
  if (targets.length !== 1 && published.length !== targets.length) return undefined;
  return published.map((port, i) => [port, targets[i] ?? first]);
}

/** "80" or "80-90" -> the ports. */
function range(text: string): number[] | undefined {
  const [first = 0, last = first] = text.split('-').map(Number);
  if (first < 1 || last > PORT_MAX || last < first) return undefined;
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

function readLong(port: Section, item: Value): PublishedPort[] {
  const targetPort = port.whole('target', 1);
  const published = port.text('published');
  const name = port.text('name');
  const protocol = port.oneOf('protocol', PROTOCOLS) ?? 'tcp';
  const mode = port.oneOf('mode', ['ingress', 'host']) ?? 'ingress';
  const hostIp = port.text('host_ip');
  port.end({
    app_protocol: { severity: 'warning', message: 'has no effect' },
  });
  if (!port.has('target'))
    port.problems.error(item, item.key, 'target is missing: the port in the container');
  if (published !== undefined && !/^\d+$/.test(published)) {
    port.problems.error(
      item,
      `${item.key}.published`,
      `'${published}': one port is expected (the short form 8000-8010:80 publishes each of a range)`,
    );
    return [];
  }
  const address = readHostAddress(hostIp ?? '');
  if ('problem' in address) {
    port.problems.error(item, `${item.key}.host_ip`, `'${hostIp}': ${address.problem}`);
    return [];
  }
  if (targetPort === undefined) return [];
  const publishedPort = Number(published ?? 0);
  if (targetPort > PORT_MAX || publishedPort > PORT_MAX) {
    port.problems.error(item, item.key, `ports up to ${PORT_MAX} are expected`);
    return [];
  }
  const at = address.hostIp === undefined ? {} : { hostIp: address.hostIp };
  return [{ ...(name === undefined ? {} : { name }), protocol, targetPort, publishedPort, mode, ...at }];
}
