/**
 * PURE. What the kernel should hold, followed from one assignment set to the next: a change of some endpoints and services
 * costs what they cost, however many others there are. Follows the same rules as desired.ts, and gives what it would.
 */
import type { AssignmentSet, PeerAssignment } from '../../shared/model/index.ts';
import { type AllowLists, allowLists, OPEN, sameRules, sameTold } from './allow.ts';
import {
  endpointUnit,
  hostUnits,
  meshNetwork,
  placeOf,
  type SandboxState,
  sandboxUnits,
  viewsOf,
} from './desired.ts';
import { hostBase, meshObjects } from './desired-host.ts';
import { sandboxBase, vipObjects } from './desired-sandbox.ts';
import { EndpointIndex, type RowChanges, serviceKeyOf } from './endpoint-index.ts';
import type { KernelObject, Scope } from './kernel-object.ts';
import type { NetworkView, Self } from './local.ts';
import { ScopeCount } from './scope-count.ts';

/** Of one scope: all that it should hold (`whole`), or what has changed, undefined for what is no more. */
export interface ScopeChange {
  readonly whole: boolean;
  readonly objects: ReadonlyMap<string, KernelObject | undefined>;
}

export interface SandboxChange extends Omit<SandboxState, 'objects'> {
  readonly scope: ScopeChange;
}

/** Sandboxes by network id; one that is not named is to go. */
export interface DesiredChange {
  readonly host: ScopeChange;
  readonly sandboxes: ReadonlyMap<string, SandboxChange>;
}

/** One moment's view of everything. */
interface Moment {
  readonly set: AssignmentSet;
  readonly self: Self;
  readonly me: PeerAssignment;
  readonly views: ReadonlyMap<string, NetworkView>;
  /** Of each view, by network id. */
  readonly allowed: Map<string, AllowLists>;
}

type Units = Map<string, KernelObject[]>;

const HOST = '';

export class DesiredTracker {
  #index: EndpointIndex | undefined;
  #last: Moment | undefined;
  #counts = new Map<string, ScopeCount>();

  /** What follows can be told from nothing before: the next change is of whole scopes. */
  forget(): void {
    this.#last = undefined;
  }

  /** What attaching put into sandboxes besides, by VNI: it is counted as theirs until the next look at their base. */
  attached(added: ReadonlyMap<number, Scope>): void {
    for (const [id, view] of this.#last?.views ?? [])
      this.#counts.get(id)?.addToBase([...(added.get(view.network.vni)?.values() ?? [])]);
  }

  /** `rows`: all that differ from the last set that was given; undefined when that is not known. */
  follow(set: AssignmentSet, self: Self, rows: RowChanges | undefined): DesiredChange {
    const last = this.#last;
    const me = set.peers.get(self.nodeId);
    this.#last = undefined;
    if (me === undefined) return { host: { whole: true, objects: new Map() }, sandboxes: new Map() };
    const views = new Map(viewsOf(set, self).map((view) => [view.network.networkId, view]));
    const now: Moment = { set, self, me, views, allowed: new Map() };
    const change =
      last === undefined ||
      rows === undefined ||
      last.set.peers !== set.peers ||
      last.self.wire !== self.wire ||
      this.#index === undefined
        ? this.#anew(now)
        : this.#advance(last, now, rows, this.#index);
    this.#last = now;
    return change;
  }

  #anew(now: Moment): DesiredChange {
    const index = new EndpointIndex(now.set, now.self.nodeId);
    this.#index = index;
    this.#counts = new Map();
    for (const [id, view] of now.views) now.allowed.set(id, allowLists(view, index));
    return {
      host: this.#wholeHost(now, index),
      sandboxes: mapValues(now.views, (view) => ({
        ...placeOf(view),
        scope: this.#wholeSandbox(view, now, index),
      })),
    };
  }

  #advance(last: Moment, now: Moment, rows: RowChanges, index: EndpointIndex): DesiredChange {
    const services = servicesIn(rows, index, last.set, now.set);
    const before = unitsOf(last, rows, services, index);
    index.update(last.set, now.set, rows);
    followLists(last, now, rows, index);
    const after = unitsOf(now, rows, services, index);
    for (const networkId of this.#counts.keys())
      if (networkId !== HOST && !now.views.has(networkId)) this.#counts.delete(networkId);
    const sandboxes = mapValues(now.views, (view): SandboxChange => {
      const id = view.network.networkId;
      const scope = isFollowed(last, now, view)
        ? this.#partly(id, before, after, hasSameBase(last, now, id) ? undefined : baseOf(view, now))
        : this.#wholeSandbox(view, now, index);
      return { ...placeOf(view), scope };
    });
    const [oldMesh, mesh] = [last, now].map(
      ({ views }) => meshNetwork([...views.values()])?.network.networkId,
    );
    const host =
      oldMesh === mesh
        ? this.#partly(HOST, before, after, hasSameHostBase(last, now) ? undefined : hostBaseOf(now))
        : this.#wholeHost(now, index);
    return { host, sandboxes };
  }

  #partly(id: string, before: Units, after: Units, base: KernelObject[] | undefined): ScopeChange {
    const count = this.#counts.get(id) ?? new ScopeCount();
    this.#counts.set(id, count);
    return { whole: false, objects: count.exchange(before.get(id) ?? [], after.get(id) ?? [], base) };
  }

  #wholeSandbox(view: NetworkView, now: Moment, index: EndpointIndex): ScopeChange {
    const { networkId } = view.network;
    const units = sandboxUnits(view, now.me, index, now.allowed.get(networkId) ?? OPEN);
    return this.#whole(networkId, baseOf(view, now), units);
  }

  #wholeHost(now: Moment, index: EndpointIndex): ScopeChange {
    return this.#whole(HOST, hostBaseOf(now), hostUnits([...now.views.values()], index));
  }

  #whole(id: string, base: KernelObject[], units: KernelObject[]): ScopeChange {
    const count = new ScopeCount();
    this.#counts.set(id, count);
    return { whole: true, objects: count.exchange([], units, base) };
  }
}

function baseOf(view: NetworkView, { me, allowed }: Moment): KernelObject[] {
  return sandboxBase(view, me, allowed.get(view.network.networkId) ?? OPEN);
}

function hostBaseOf({ set, self, views }: Moment): KernelObject[] {
  return hostBase(set, self, [...views.values()]);
}

/** Peers and keys are the same whenever something is followed. */
function hasSameHostBase(last: Moment, now: Moment): boolean {
  const [a, b] = [last.self, now.self];
  return (
    [...last.views.keys()].join() === [...now.views.keys()].join() &&
    [...now.views.keys()].every((id) => hasSameParts(last, now, id)) &&
    a.noIpv6 === b.noIpv6 &&
    (a.advertised ?? []).join() === (b.advertised ?? []).join() &&
    [...(a.ownVlans ?? [])].join() === [...(b.ownVlans ?? [])].join()
  );
}

/** What each endpoint adds is known from the last moment: its sandbox, and which services it tells apart, are the same. */
function isFollowed(last: Moment, now: Moment, { netns, network }: NetworkView): boolean {
  const [before, after] = [last, now].map(({ allowed }) => allowed.get(network.networkId) ?? OPEN);
  return (
    last.views.get(network.networkId)?.netns === netns &&
    (before === after || sameTold(before ?? OPEN, after ?? OPEN))
  );
}

/** A sandbox's base need not be looked at when nothing that it is made of has changed. */
function hasSameBase(last: Moment, now: Moment, networkId: string): boolean {
  return hasSameParts(last, now, networkId) && last.allowed.get(networkId) === now.allowed.get(networkId);
}

/** The lists of all networks; those that say what they said are the same objects. */
function followLists(last: Moment, now: Moment, rows: RowChanges, index: EndpointIndex): void {
  const touched = new Set([...rows.services].map((key) => key.slice(0, key.indexOf('/'))));
  for (const [id, view] of now.views) {
    const old = last.allowed.get(id);
    const same = old !== undefined && hasSameParts(last, now, id) && !touched.has(id);
    const lists = same ? old : allowLists(view, index);
    now.allowed.set(id, old !== undefined && sameRules(old, lists) ? old : lists);
  }
}

function hasSameParts(last: Moment, now: Moment, networkId: string): boolean {
  const [a, b] = [last.views.get(networkId), now.views.get(networkId)];
  return (
    last.set.tasks === now.set.tasks &&
    last.self.localRevision === now.self.localRevision &&
    last.self.mtu === now.self.mtu &&
    last.self.vxlanPort === now.self.vxlanPort &&
    a?.network === b?.network &&
    a?.uplinkSlot === b?.uplinkSlot
  );
}

/** Keys of the services that these rows touch: their own, those of their endpoints, and those that these are canaries of. */
function servicesIn(rows: RowChanges, index: EndpointIndex, ...sets: readonly AssignmentSet[]): Set<string> {
  const keys = new Set(rows.services);
  for (const key of rows.endpoints) {
    for (const set of sets) {
      const endpoint = set.endpoints.get(key);
      if (endpoint !== undefined) keys.add(serviceKeyOf(endpoint));
    }
  }
  for (const set of sets) {
    for (const key of [...keys]) {
      const row = set.services.get(key);
      if (row?.canary === undefined) continue;
      for (const of of index.servicesNamed(row.networkId, row.canary.of).keys()) keys.add(of);
    }
  }
  return keys;
}

/** What these endpoints and services add at one moment, by scope. */
function unitsOf(
  { set, me, views, allowed }: Moment,
  rows: RowChanges,
  services: ReadonlySet<string>,
  index: EndpointIndex,
): Units {
  const units: Units = new Map();
  const mesh = meshNetwork([...views.values()]);
  const add = (scope: string, objects: readonly KernelObject[]): void => {
    const list = units.get(scope);
    if (list === undefined) units.set(scope, [...objects]);
    else for (const object of objects) list.push(object);
  };
  for (const key of rows.endpoints) {
    const endpoint = set.endpoints.get(key);
    const view = endpoint === undefined ? undefined : views.get(endpoint.networkId);
    if (endpoint !== undefined && view !== undefined)
      add(endpoint.networkId, endpointUnit(view, me, allowed.get(endpoint.networkId) ?? OPEN, endpoint));
  }
  for (const key of services) {
    const service = set.services.get(key);
    const view = service === undefined ? undefined : views.get(service.networkId);
    if (service === undefined || view === undefined) continue;
    const serving = index.backendsOf(service);
    add(service.networkId, vipObjects(view.network, service, serving));
    if (mesh?.network.networkId === service.networkId) add(HOST, meshObjects(mesh, service, index));
  }
  return units;
}

function mapValues<K, A, B>(map: ReadonlyMap<K, A>, change: (value: A) => B): Map<K, B> {
  return new Map([...map].map(([key, value]) => [key, change(value)]));
}
