/** PURE. The names of a network, from the assignments, and kept in step with them row by row. */
import type {
  AssignmentSet,
  EndpointAssignment,
  NetworkAssignment,
  ServiceAssignment,
  ServicePort,
} from '../../shared/model/index.ts';
import type { RowChanges } from './endpoint-index.ts';
import { Groups } from './groups.ts';

interface Lookup<Value> {
  get(name: string): Value | undefined;
}

export interface NetworkNames {
  readonly network: NetworkAssignment;
  /** Service names and aliases, in lower case. */
  readonly services: Lookup<ServiceEntry>;
  /** Names of single tasks: their own, their hostname and aliases. */
  readonly tasks: Lookup<readonly string[]>;
  /** Address to name. */
  readonly reverse: Lookup<string>;
}

export interface ServiceEntry {
  /** Absent in endpoint mode dnsrr. */
  readonly vip?: string;
  /** Addresses of serving tasks. */
  readonly serving: readonly string[];
  readonly ports: readonly ServicePort[];
}

/** `<service>.<slot>.<task>`, with the node in place of the slot for a global service's task, as Swarm names containers. */
export function taskName(endpoint: EndpointAssignment): string {
  const place = endpoint.slot > 0 ? String(endpoint.slot) : endpoint.nodeId;
  return `${endpoint.serviceName}.${place}.${endpoint.taskId}`;
}

export class NameTable implements NetworkNames {
  readonly network: NetworkAssignment;
  readonly #named = new Groups<ServiceAssignment>();
  readonly #aliased = new Groups<ServiceAssignment>();
  readonly #serving = new Groups<string>();
  readonly #tasks = new Groups<string>();
  readonly #reverse = new Groups<string>();

  readonly #nodeId: string;

  /** As this node sees it: of a network without a tunnel it has its own endpoints only. */
  constructor(set: AssignmentSet, network: NetworkAssignment, nodeId: string) {
    this.network = network;
    this.#nodeId = nodeId;
    for (const [key, row] of set.services) this.#service(key, undefined, row);
    for (const [key, row] of set.endpoints) this.#endpoint(key, undefined, row);
  }

  /** From `before` to `after`, which differ in these rows. */
  update(before: AssignmentSet, after: AssignmentSet, rows: RowChanges): void {
    for (const key of rows.services) this.#service(key, before.services.get(key), after.services.get(key));
    for (const key of rows.endpoints)
      this.#endpoint(key, before.endpoints.get(key), after.endpoints.get(key));
  }

  /**
   * A name wins over an alias, and a service over a single container that was given its name; of two services with one alias
   * both answer, as one set of addresses.
   */
  readonly services = {
    get: (name: string): ServiceEntry | undefined => {
      const all = [...this.#named.of(name).values()];
      const own = all.filter(({ single }) => single !== true);
      const named = own.length > 0 ? own : all;
      const rows = named.length > 0 ? named : [...this.#aliased.of(name).values()];
      const serving = rows.flatMap(({ serviceId }) => [...this.#serving.of(serviceId).values()]);
      const [first, second] = rows;
      if (first === undefined) return undefined;
      // It may be on other nodes only, which a network without a tunnel does not lead to.
      if (this.network.local === true && serving.length === 0) return undefined;
      const ports = rows.flatMap((row) => row.named ?? []);
      // One VIP can not stand for two services: their tasks are listed instead.
      const entry = { serving, ports };
      return first.vip === undefined || second !== undefined ? entry : { ...entry, vip: first.vip };
    },
  };

  readonly tasks = {
    get: (name: string): readonly string[] | undefined => {
      const addresses = this.#tasks.of(name);
      return addresses.size === 0 ? undefined : [...addresses.values()];
    },
  };

  readonly reverse = {
    get: (address: string): string | undefined => this.#reverse.of(address).values().next().value,
  };

  #service(key: string, old: ServiceAssignment | undefined, row: ServiceAssignment | undefined): void {
    if (old !== undefined && this.#isHere(old)) {
      this.#named.drop(old.name.toLowerCase(), key);
      for (const alias of old.aliases) this.#aliased.drop(alias.toLowerCase(), key);
      if (old.vip !== undefined) this.#reverse.drop(old.vip, key);
    }
    if (row === undefined || !this.#isHere(row)) return;
    this.#named.put(row.name.toLowerCase(), key, row);
    for (const alias of row.aliases) this.#aliased.put(alias.toLowerCase(), key, row);
    if (row.vip !== undefined) this.#reverse.put(row.vip, key, `${row.name}.${this.network.name}`);
  }

  #endpoint(key: string, old: EndpointAssignment | undefined, row: EndpointAssignment | undefined): void {
    if (old !== undefined && this.#isHere(old)) {
      this.#serving.drop(old.serviceId, key);
      this.#reverse.drop(old.address, key);
      for (const name of namesOf(old)) this.#tasks.drop(name, key);
    }
    if (row === undefined || !this.#isHere(row) || this.#isElsewhere(row)) return;
    if (row.serving) this.#serving.put(row.serviceId, key, row.address);
    this.#reverse.put(row.address, key, `${taskName(row)}.${this.network.name}`);
    for (const name of namesOf(row)) this.#tasks.put(name, key, row.address);
  }

  #isElsewhere({ local, nodeId }: EndpointAssignment): boolean {
    return local === true && nodeId !== this.#nodeId;
  }

  /** Ingress carries published traffic only: tasks that share nothing else do not know one another. */
  #isHere(row: { readonly networkId: string }): boolean {
    return !this.network.ingress && row.networkId === this.network.networkId;
  }
}

function namesOf(endpoint: EndpointAssignment): string[] {
  return [taskName(endpoint), endpoint.hostname ?? '', ...endpoint.aliases]
    .filter((name) => name !== '')
    .map((name) => name.toLowerCase());
}
