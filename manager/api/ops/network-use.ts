/** Who is on a network: its services, containers and nodes, as the records say. */
import { prefixBits } from '../../../shared/lib/network-subnets.ts';
import { prefixed6 } from '../../../shared/lib/network-ipv6.ts';
import { isTerminal, type Task } from '../../../shared/model/index.ts';
import { wholeStore } from '../access/limited-store.ts';
import type { Store } from '../../store/store.ts';
import { taskName } from '../codec/task-codec.ts';
import type { ApiContext } from '../context.ts';
import { liveServices, specOf } from './service-reads.ts';

/** Networks that the current spec of a service, or of a single container, names. */
export function usedNetworks(seen: Store): Set<string> {
  const store = wholeStore(seen);
  const used = new Set<string>();
  for (const service of store.all('services').values()) {
    if (service.removing === true) continue;
    for (const attachment of specOf(store, service)?.networks ?? []) used.add(attachment.network);
  }
  return used;
}

interface Place {
  readonly task: Task;
  readonly address: string;
}

/** Tasks that have an address on the network and are not over. */
function* places(store: Store, networkId: string, taskIds?: Iterable<string>): Generator<Place> {
  for (const id of taskIds ?? store.all('tasks').keys()) {
    const task = store.get('tasks', id);
    const address = task?.addresses.find(({ network }) => network === networkId)?.address;
    if (task === undefined || address === undefined || task.nodeId === undefined) continue;
    if (!isTerminal(store.get('statuses', id)?.state ?? 'new')) yield { task, address };
  }
}

/** `Containers` of an inspected network: those of all nodes, by id. */
export function containersOn({ store }: ApiContext, networkId: string): Record<string, object> {
  const allocation = store.get('networks', networkId)?.allocation;
  const found: Record<string, object> = {};
  for (const { task, address } of places(store, networkId)) {
    const id = store.get('statuses', task.id)?.container?.containerId;
    if (id === undefined) continue;
    const service = store.get('services', task.serviceId)?.name ?? task.serviceId;
    const name = task.run === undefined ? `${taskName(task, service)}.${task.id}` : service;
    found[id] = {
      Name: name,
      EndpointID: task.id,
      MacAddress: '',
      IPv4Address: `${address}/${allocation === undefined ? 32 : prefixBits(allocation, address)}`,
      IPv6Address: (allocation === undefined ? undefined : prefixed6(allocation, address)) ?? '',
    };
  }
  return found;
}

/** `Peers` of an inspected network: the nodes that take part in it. */
export function peersOf({ store }: ApiContext, networkId: string): object[] {
  const nodes = new Set([...places(store, networkId)].map(({ task }) => task.nodeId ?? ''));
  return [...nodes].sort().map((id) => {
    const description = store.get('nodes', id)?.description;
    return { Name: `${description?.hostname ?? ''}-${id.slice(0, 12)}`, IP: description?.address ?? '' };
  });
}

/** Services on the network, their addresses and their tasks': `docker network inspect --verbose`. */
export function servicesOn({ store }: ApiContext, networkId: string): Record<string, object> {
  const found: Record<string, object> = {};
  for (const service of liveServices(store)) {
    const vip = service.endpoint?.vips.find((v) => v.network === networkId)?.address ?? '';
    const tasks = [...places(store, networkId, store.tasksOfService(service.id))]
      .filter(({ task }) => task.desired === 'running')
      .map(({ task, address }) => ({
        Name: `${taskName(task, service.name)}.${task.id}`,
        EndpointID: task.id,
        EndpointIP: address,
        Info: { 'Host IP': store.get('nodes', task.nodeId ?? '')?.description?.address ?? '' },
      }));
    if (vip === '' && tasks.length === 0) continue;
    const ports = (service.endpoint?.ports ?? []).map(
      (port) => `Target: ${port.targetPort}, Publish: ${port.publishedPort}`,
    );
    found[service.name] = { VIP: vip, Ports: ports, LocalLBIndex: 0, Tasks: tasks };
  }
  return found;
}
