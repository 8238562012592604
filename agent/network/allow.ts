/**
 * PURE. Who may open connections to the containers of this node on one network: allow-lists of the network and of services
 * as rules of the sandbox. Every packet that goes the way in which its connection was opened is looked at, not only the first:
 * a list that changes is in force for what is open already. Answers pass. Without a list there is no rule at all.
 */
import type {
  AllowRule,
  AssignmentSet,
  EndpointAssignment,
  NetworkAssignment,
  TaskAssignment,
} from '../../shared/model/index.ts';
import { type EndpointIndex, serviceKeyOf } from './endpoint-index.ts';
import { type Family, familiesOf, inFamily } from './family.ts';
import { chain, type KernelObject } from './kernel-object.ts';
import { localTasks, type NetworkView } from './local.ts';

export interface AllowLists {
  /** Services whose addresses the rules tell apart. */
  readonly told: ReadonlySet<string>;
  readonly objects: readonly KernelObject[];
}

/** No list, no rule. */
export const OPEN: AllowLists = { told: new Set(), objects: [] };

/** Of a service with tasks here. */
interface Guarded {
  readonly serviceId: string;
  /** What the network allows, and what the service does; both must. */
  readonly lists: readonly (readonly AllowRule[])[];
  readonly addresses: readonly string[];
}

export function allowLists(view: NetworkView, index: EndpointIndex): AllowLists {
  if (view.network.ingress) return OPEN;
  const guarded = guardedServices(view, index);
  if (guarded.length === 0) return OPEN;
  const told = new Set<string>();
  const named = (names: readonly string[]): string[] => idsOf(names, view, index);
  const objects = familiesOf(view.network).flatMap((family): KernelObject[] => {
    const { ip, table, type } = family;
    const chains = guarded.flatMap((service) => chainsOf(family, service, named, told));
    return [
      chain(table, 'allowed', entry(ip), 'type filter hook forward priority -5'),
      { type: 'set', table, name: 'guarded', of: `${type} : verdict` },
      ...[...told].map((id): KernelObject => ({ type: 'set', table, name: membersOf(id), of: type })),
      ...chains,
      ...guarded.flatMap(({ serviceId, addresses }) =>
        inFamily(family, view.network, addresses).map(
          (key): KernelObject => ({
            type: 'element',
            table,
            set: 'guarded',
            key,
            value: `goto ${firstChain(serviceId)}`,
          }),
        ),
      ),
    ];
  });
  return { told, objects };
}

/** An endpoint, here or elsewhere, as one who may be allowed in. */
export function memberObjects(
  network: NetworkAssignment,
  { told }: AllowLists,
  endpoint: EndpointAssignment,
): KernelObject[] {
  if (!told.has(endpoint.serviceId)) return [];
  const set = membersOf(endpoint.serviceId);
  return familiesOf(network).flatMap((family) =>
    inFamily(family, network, [endpoint.address]).map(
      (key): KernelObject => ({ type: 'element', table: family.table, set, key }),
    ),
  );
}

export function sameTold(a: AllowLists, b: AllowLists): boolean {
  return a.told.size === b.told.size && [...a.told].every((id) => b.told.has(id));
}

export function sameRules(a: AllowLists, b: AllowLists): boolean {
  return a === b || JSON.stringify(a.objects) === JSON.stringify(b.objects);
}

/** Whether lists may say who connects to the task. */
export function isGuarded(
  { serviceId }: Pick<TaskAssignment, 'serviceId'>,
  { networkId, allow }: NetworkAssignment,
  { services }: Pick<AssignmentSet, 'services'>,
): boolean {
  return allow !== undefined || services.get(serviceKeyOf({ networkId, serviceId }))?.allowFrom !== undefined;
}

/** An end of a connection that was refused must be heard by the other, which would keep its own for hours. */
const entry = (ip: Family['ip']): string[] => [
  // A connection of before the list, which went the fast way: who opened it is not known.
  'ct state new tcp flags & (syn | ack) != syn ct mark set 1',
  'oifname != "c*" accept',
  'ct state related accept',
  'ct direction reply ct mark != 1 accept',
  'tcp flags & rst == rst accept',
  `${ip} daddr vmap @guarded`,
];
const refusal = ({ prohibited }: Family): string[] => [
  'meta l4proto tcp reject with tcp reset',
  `reject with ${prohibited}`,
];
/** Which way it goes is not known of such a packet, and a reset would end the connection that it belongs to. */
const UNKNOWN = 'ct state invalid drop';

function guardedServices(view: NetworkView, index: EndpointIndex): Guarded[] {
  const { networkId, allow } = view.network;
  const addresses = new Map<string, string[]>();
  const names = new Map<string, string>();
  for (const task of localTasks(view.set, view.self)) {
    const own = task.addresses.filter(({ network }) => network === networkId).map(({ address }) => address);
    addresses.set(task.serviceId, [...(addresses.get(task.serviceId) ?? []), ...own]);
    names.set(task.serviceId, task.serviceName);
  }
  return [...addresses].flatMap(([serviceId, list]): Guarded[] => {
    const own = view.set.services.get(serviceKeyOf({ networkId, serviceId }))?.allowFrom;
    const ofNetwork = allow?.filter(
      ({ to }) => to === undefined || idsOf(to, view, index).includes(serviceId),
    );
    const lists = [ofNetwork, own].filter((one) => one !== undefined);
    return list.length === 0 || lists.length === 0 ? [] : [{ serviceId, lists, addresses: list }];
  });
}

/**
 * The services that names mean on the network: those of the first name that is there. A single container that was given the
 * name of a service is not let in for it.
 */
function idsOf(names: readonly string[], { network }: NetworkView, index: EndpointIndex): string[] {
  for (const name of names) {
    const rows = [...index.servicesNamed(network.networkId, name).values()];
    const services = rows.filter(({ single }) => single !== true);
    const meant = services.length > 0 ? services : rows;
    if (meant.length > 0) return meant.map(({ serviceId }) => serviceId).sort();
  }
  return [];
}

/** One chain a list; the tasks of a service always reach one another. What rules tell apart is added to `told`. */
function chainsOf(
  family: Family,
  { serviceId, lists }: Guarded,
  named: (names: readonly string[]) => string[],
  told: Set<string>,
): KernelObject[] {
  told.add(serviceId);
  const first = firstChain(serviceId);
  return lists.map((rules, at) => {
    const verdict = at + 1 < lists.length ? `goto ${first}_too` : 'accept';
    const entries = rules.flatMap((rule) => {
      const ids = rule.from === undefined ? [undefined] : named(rule.from);
      for (const id of ids) if (id !== undefined) told.add(id);
      return ids.map(
        (id) => `${id === undefined ? '' : memberOf(family, id)}${trafficOf(family, rule)}${verdict}`,
      );
    });
    const own = at === 0 ? [UNKNOWN, `${memberOf(family, serviceId)}accept`] : [];
    return chain(family.table, at === 0 ? first : `${first}_too`, [...own, ...entries, ...refusal(family)]);
  });
}

function trafficOf({ icmp }: Family, { protocol, ports }: AllowRule): string {
  if (protocol === undefined) return '';
  if (protocol === 'icmp') return `meta l4proto ${icmp} `;
  if (ports === undefined) return `meta l4proto ${protocol} `;
  const [first, last] = ports;
  return `${protocol} dport ${first === last ? first : `${first}-${last}`} `;
}

function firstChain(serviceId: string): string {
  return `to_${serviceId}`;
}

function membersOf(serviceId: string): string {
  return `of_${serviceId}`;
}

function memberOf({ ip }: Family, serviceId: string): string {
  return `${ip} saddr @${membersOf(serviceId)} `;
}
