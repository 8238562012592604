/** PURE. The endpoints and services of an assignment set by what they are looked for, kept in step row by row. */
import type { AssignmentSet, EndpointAssignment, ServiceAssignment } from '../../shared/model/index.ts';
import type { Backends } from './balance.ts';
import { Groups, type Rows } from './groups.ts';

/** Keys of rows that changed, came or went. */
export interface RowChanges {
  readonly endpoints: ReadonlySet<string>;
  readonly services: ReadonlySet<string>;
}

/** The key of its service's row in the set, which its network shares. */
export function serviceKeyOf({ networkId, serviceId }: { networkId: string; serviceId: string }): string {
  return `${networkId}/${serviceId}`;
}

function all(): boolean {
  return true;
}

export class EndpointIndex {
  readonly #endpoints = new Groups<EndpointAssignment>();
  readonly #services = new Groups<ServiceAssignment>();
  readonly #backends = new Groups<EndpointAssignment>();
  readonly #named = new Groups<ServiceAssignment>();
  /** By the name of the service that they are canaries of. */
  readonly #canaries = new Groups<ServiceAssignment>();

  readonly #nodeId: string;

  /** As this node sees it: of a network without a tunnel it has its own endpoints only. */
  constructor(set: AssignmentSet, nodeId: string) {
    this.#nodeId = nodeId;
    for (const [key, row] of set.endpoints) this.#putEndpoint(key, undefined, row);
    for (const [key, row] of set.services) this.#putService(key, undefined, row);
  }

  /** From `before` to `after`, which differ in these rows. */
  update(before: AssignmentSet, after: AssignmentSet, rows: RowChanges): void {
    for (const key of rows.endpoints)
      this.#putEndpoint(key, before.endpoints.get(key), after.endpoints.get(key));
    for (const key of rows.services) this.#putService(key, before.services.get(key), after.services.get(key));
  }

  endpointsOn(networkId: string): Rows<EndpointAssignment> {
    return this.#endpoints.of(networkId);
  }

  servicesOn(networkId: string): Rows<ServiceAssignment> {
    return this.#services.of(networkId);
  }

  /** Mostly one: a single container may have the name of a service. */
  servicesNamed(networkId: string, name: string): Rows<ServiceAssignment> {
    return this.#named.of(`${networkId}/${name}`);
  }

  /** Addresses to which a service's VIP and ports may lead; with `may`, those of these endpoints only. */
  backendsOf(service: ServiceAssignment, may: (endpoint: EndpointAssignment) => boolean = all): Backends {
    // Whoever may write one stack can not lead away what comes to another.
    const canaries = [...this.#canaries.of(`${service.networkId}/${service.name}`).values()].filter(
      ({ stack }) => stack === undefined || stack === service.stack,
    );
    return {
      own: this.#servingOf(service, may),
      canaries: canaries.map((one) => ({
        share: one.canary?.share ?? 0,
        members: this.#servingOf(one, may),
      })),
    };
  }

  #servingOf(service: ServiceAssignment, may: (endpoint: EndpointAssignment) => boolean): string[] {
    return [...this.#backends.of(serviceKeyOf(service)).values()].filter(may).map(({ address }) => address);
  }

  #putService(key: string, old: ServiceAssignment | undefined, row: ServiceAssignment | undefined): void {
    if (old !== undefined) {
      this.#services.drop(old.networkId, key);
      this.#named.drop(`${old.networkId}/${old.name}`, key);
      if (old.canary !== undefined) this.#canaries.drop(`${old.networkId}/${old.canary.of}`, key);
    }
    if (row === undefined) return;
    this.#services.put(row.networkId, key, row);
    this.#named.put(`${row.networkId}/${row.name}`, key, row);
    if (row.canary !== undefined) this.#canaries.put(`${row.networkId}/${row.canary.of}`, key, row);
  }

  #putEndpoint(key: string, old: EndpointAssignment | undefined, row: EndpointAssignment | undefined): void {
    if (old !== undefined) {
      this.#endpoints.drop(old.networkId, key);
      this.#backends.drop(serviceKeyOf(old), key);
    }
    if (row === undefined || (row.local === true && row.nodeId !== this.#nodeId)) return;
    this.#endpoints.put(row.networkId, key, row);
    if (row.serving) this.#backends.put(serviceKeyOf(row), key, row);
  }
}
