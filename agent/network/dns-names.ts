/** The names of each network, from the assignments. */
import type {
  AssignmentSet,
  EndpointAssignment,
  NetworkAssignment,
  ServiceAssignment,
} from '../../shared/model/index.ts';

export interface NetworkNames {
  readonly network: NetworkAssignment;
  /** Service names and aliases, in lower case. */
  readonly services: ReadonlyMap<string, ServiceEntry>;
  /** Names of single tasks: their own, their hostname and aliases. */
  readonly tasks: ReadonlyMap<string, readonly string[]>;
  /** Address to name. */
  readonly reverse: ReadonlyMap<string, string>;
}

export interface ServiceEntry {
  /** Absent in endpoint mode dnsrr. */
  readonly vip?: string;
  /** Addresses of serving tasks. */
  readonly serving: readonly string[];
}

/** `<service>.<slot>.<task>`, with the node in place of the slot for a global service's task, as Swarm names containers. */
export function taskName(endpoint: EndpointAssignment): string {
  const place = endpoint.slot > 0 ? String(endpoint.slot) : endpoint.nodeId;
  return `${endpoint.serviceName}.${place}.${endpoint.taskId}`;
}

export function networkNames(set: AssignmentSet, network: NetworkAssignment): NetworkNames {
  const here = (entry: { networkId: string }): boolean => entry.networkId === network.networkId;
  // Ingress carries published traffic only: tasks that share nothing else do not know one another.
  const endpoints = network.ingress ? [] : [...set.endpoints.values()].filter(here);
  const services = network.ingress ? [] : [...set.services.values()].filter(here);
  return {
    network,
    services: serviceEntries(services, endpoints),
    tasks: taskEntries(endpoints),
    reverse: new Map([
      ...endpoints.map((e): [string, string] => [e.address, `${taskName(e)}.${network.name}`]),
      ...services.flatMap((s): [string, string][] =>
        s.vip === undefined ? [] : [[s.vip, `${s.name}.${network.name}`]],
      ),
    ]),
  };
}

/** A name wins over an alias; of two services with one alias both answer, as one set of addresses. */
function serviceEntries(
  services: readonly ServiceAssignment[],
  endpoints: readonly EndpointAssignment[],
): Map<string, ServiceEntry> {
  const serving = new Map<string, string[]>();
  for (const endpoint of endpoints) {
    if (!endpoint.serving) continue;
    serving.set(endpoint.serviceId, [...(serving.get(endpoint.serviceId) ?? []), endpoint.address]);
  }
  const entries = new Map<string, ServiceEntry>();
  const entryOf = ({ serviceId, vip }: ServiceAssignment): ServiceEntry => ({
    serving: serving.get(serviceId) ?? [],
    ...(vip === undefined ? {} : { vip }),
  });
  for (const service of services) {
    for (const alias of service.aliases.map((name) => name.toLowerCase())) {
      const other = entries.get(alias);
      const entry = entryOf(service);
      entries.set(alias, other === undefined ? entry : joined(other, entry));
    }
  }
  for (const service of services) entries.set(service.name.toLowerCase(), entryOf(service));
  return entries;
}

/** One VIP can not stand for two services: their tasks are listed instead. */
function joined(a: ServiceEntry, b: ServiceEntry): ServiceEntry {
  return { serving: [...a.serving, ...b.serving] };
}

function taskEntries(endpoints: readonly EndpointAssignment[]): Map<string, string[]> {
  const entries = new Map<string, string[]>();
  for (const endpoint of endpoints) {
    const names = [taskName(endpoint), endpoint.hostname ?? '', ...endpoint.aliases];
    for (const name of new Set(names.map((text) => text.toLowerCase()))) {
      if (name !== '') entries.set(name, [...(entries.get(name) ?? []), endpoint.address]);
    }
  }
  return entries;
}
