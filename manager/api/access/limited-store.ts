/**
 * The store as a user who is no admin has it. The API that serves such a user works with this one in place of the whole, so
 * that lists, look-ups, references and writes hold to it wherever they are made: what is out of a user's stacks is not there.
 */
import { ConflictError, ForbiddenError } from '../../../shared/errors/index.ts';
import {
  INGRESS_NETWORK_ID,
  type Network,
  type Revision,
  type ServiceSpec,
} from '../../../shared/model/index.ts';
import { sameJson } from '../../plan/reconcile/dirty.ts';
import type { Store, TableName, Tables, Write } from '../../store/store.ts';
import { hostPowers } from './host-powers.ts';
import { type Records, stackOf, stackOfVolume } from './owners.ts';
import { type Access, stacksText } from './routes.ts';

const wholes = new WeakMap<Store, Store>();

/** All of it: for what a user's own must not collide with (ports, subnets), and whether something is in use by anybody. */
export function wholeStore(store: Store): Store {
  return wholes.get(store) ?? store;
}

/** Of the whole cluster, and no secret: every user may read them. Only admins write them. */
const EVERYBODYS: ReadonlySet<TableName> = new Set(['cluster', 'nodes', 'managers']);
const STACKS_OWN: ReadonlySet<TableName> = new Set([
  'services',
  'revisions',
  'tasks',
  'statuses',
  'networks',
  'secrets',
  'configs',
  'stacks',
  'stackRevisions',
]);

/** A network of any other driver, or with what its options name, may lead into that of the nodes. */
const PLAIN_DRIVERS: ReadonlySet<string> = new Set(['overlay', 'bridge']);
const PLAIN_OPTIONS: ReadonlySet<string> = new Set(['com.docker.network.driver.mtu', 'encrypted']);

function networkPower({ driver, driverOptions }: Network['spec']): string | undefined {
  if (!PLAIN_DRIVERS.has(driver)) return `a network with the driver ${driver}`;
  const option = Object.keys(driverOptions).find((name) => !PLAIN_OPTIONS.has(name));
  return option === undefined ? undefined : `the network option ${option}`;
}

export function limitedStore(whole: Store, access: Access): Store {
  const limited = new LimitedStore(whole, access);
  wholes.set(limited, whole);
  return limited;
}

class LimitedStore implements Store {
  readonly #whole: Store;
  readonly #access: Access;
  readonly #stacks: ReadonlySet<string> | undefined;

  constructor(whole: Store, access: Access) {
    this.#whole = whole;
    this.#access = access;
    this.#stacks = access.stacks === undefined ? undefined : new Set(access.stacks);
  }

  get revision(): number {
    return this.#whole.revision;
  }

  get<T extends TableName>(table: T, key: string): Tables[T] | undefined {
    const value = this.#whole.get(table, key);
    return value !== undefined && this.#sees(table, key, value) ? value : undefined;
  }

  version(table: TableName, key: string): number {
    // A name that is taken by what is not seen is taken all the same.
    if (table !== 'names' && this.get(table, key) === undefined) return 0;
    return this.#whole.version(table, key);
  }

  all<T extends TableName>(table: T): ReadonlyMap<string, Tables[T]> {
    const all = this.#whole.all(table);
    if (this.#stacks === undefined && table !== 'users') return all;
    return new Map([...all].filter(([key, value]) => this.#sees(table, key, value)));
  }

  tasksOfService(serviceId: string): ReadonlySet<string> {
    const all = this.#whole.tasksOfService(serviceId);
    if (this.#stacks === undefined) return all;
    return this.get('services', serviceId) === undefined ? new Set() : all;
  }

  tasksOfNode(nodeId: string): ReadonlySet<string> {
    const all = this.#whole.tasksOfNode(nodeId);
    if (this.#stacks === undefined) return all;
    return new Set([...all].filter((id) => this.get('tasks', id) !== undefined));
  }

  async commit(writes: readonly Write[], options: Parameters<Store['commit']>[1]): Promise<number> {
    if (this.#access.role === 'viewer')
      throw new ForbiddenError('this needs the role operator: you have viewer');
    const after = withWrites(this.#whole, writes);
    for (const write of writes) this.#requireMay(write, after);
    return this.#whole.commit(writes, options);
  }

  onChange(listener: Parameters<Store['onChange']>[0]): () => void {
    return this.#whole.onChange(listener);
  }

  #sees<T extends TableName>(table: T, key: string, value: Tables[T]): boolean {
    if (table === 'users') return false;
    if (this.#stacks === undefined || EVERYBODYS.has(table) || table === 'names') return true;
    if (table === 'networks' && key === INGRESS_NETWORK_ID) return true;
    return STACKS_OWN.has(table) && this.#has(stackOf(this.#whole, table, value));
  }

  #has(stack: string | undefined): boolean {
    return this.#stacks === undefined || (stack !== undefined && this.#stacks.has(stack));
  }

  #requireMay(write: Write, after: Records): void {
    const { table, key, value } = write;
    if (table === 'names') return this.#requireName(key, value?.id, after);
    if (!STACKS_OWN.has(table)) throw new ForbiddenError(`this needs the role admin: it changes ${table}`);
    const before = this.#whole.get(table, key);
    if (before !== undefined && !this.#has(stackOf(this.#whole, table, before))) throw this.#outOfScope();
    if (value !== null && !this.#has(stackOf(after, table, value))) throw this.#outOfScope();
    if (value !== null) this.#requireAllowed(write, after);
  }

  #requireAllowed(write: Write, after: Records): void {
    const { table, key, value } = write;
    if (value === null) return;
    if (table === 'tasks' || table === 'statuses')
      throw new ForbiddenError(`${table} are written by the cluster`);
    if (table === 'revisions') this.#requireSpec(value);
    const power = table === 'networks' ? networkPower(value.spec) : undefined;
    if (power !== undefined) throw new ForbiddenError(`only an admin may ask for: ${power}`);
    if (table !== 'services' || this.#whole.get('services', key)?.revision === value.revision) return;
    const revision = after.get('revisions', `${key}.${value.revision}`);
    if (revision !== undefined) this.#requireSpec(revision);
  }

  /** Whoever may write an object may take its name and give it up; not that of what is not seen. */
  #requireName(name: string, id: string | undefined, after: Records): void {
    const held = this.#whole.get('names', name)?.id;
    const holder = held === undefined ? undefined : namedBy(this.#whole, name, held);
    if (holder !== undefined && !this.#has(holder.stack))
      throw new ConflictError(`the name ${name.slice(name.indexOf(':') + 1)} is taken by what is not yours`);
    if (id === undefined) return;
    const next = namedBy(after, name, id);
    if (next === undefined || !this.#has(next.stack)) throw this.#outOfScope();
  }

  #requireSpec(revision: Revision): void {
    const { spec } = revision;
    this.#requireNoPowers(revision);
    if (this.#stacks === undefined) return;
    for (const { network } of spec.networks)
      if (this.get('networks', network) === undefined)
        throw new ForbiddenError(`network ${network} is not yours`);
    for (const table of ['secrets', 'configs'] as const)
      for (const { id, name } of spec.container[table] ?? [])
        if (this.get(table, id) === undefined)
          throw new ForbiddenError(`${table.slice(0, -1)} ${name} is not yours`);
    for (const mount of spec.container.mounts)
      if (mount.kind === 'volume' && mount.source !== '') this.requireVolume(mount.source);
  }

  requireVolume(name: string): void {
    if (!this.seesVolume(name))
      throw new ForbiddenError(
        `volume ${name} is not yours: those of a stack are called STACK_NAME, and you may use ${stacksText(this.#access.stacks ?? [])}`,
      );
  }

  seesVolume(name: string): boolean {
    if (this.#stacks === undefined) return true;
    return this.#has(stackOfVolume(name, [...this.#stacks, ...stacksOf(this.#whole)]));
  }

  /** What an admin has deployed with such may be scaled and moved, as long as the same container runs. */
  #requireNoPowers({ serviceId, spec }: Revision): void {
    const powers = hostPowers(spec);
    if (powers.length === 0) return;
    const current = this.#whole.get('services', serviceId);
    const known =
      current === undefined
        ? undefined
        : this.#whole.get('revisions', `${serviceId}.${current.revision}`)?.spec;
    if (known !== undefined && runsTheSame(known, spec)) return;
    throw new ForbiddenError(`only an admin may ask for: ${powers.join(', ')}`);
  }

  #outOfScope(): ForbiddenError {
    const { stacks = [] } = this.#access;
    return new ForbiddenError(
      `you may use ${stacksText(stacks)} only: what you make needs its label, com.docker.stack.namespace=${stacks[0] ?? ''}`,
    );
  }
}

export function seesVolume(store: Store, name: string): boolean {
  return !(store instanceof LimitedStore) || store.seesVolume(name);
}

export function requireVolume(store: Store, name: string): void {
  if (store instanceof LimitedStore) store.requireVolume(name);
}

function runsTheSame(a: ServiceSpec, b: ServiceSpec): boolean {
  return sameJson(a.container, b.container) && sameJson(a.networks, b.networks);
}

/** The records as they will be when the writes are done. */
function withWrites(store: Records, writes: readonly Write[]): Records {
  const written = new Map(writes.map((write) => [`${write.table}/${write.key}`, write.value]));
  return {
    get: <T extends TableName>(table: T, key: string) => {
      const value = written.get(`${table}/${key}`) as Tables[T] | null | undefined;
      return value === undefined ? store.get(table, key) : (value ?? undefined);
    },
  };
}

const NAMED: Readonly<Record<string, 'services' | 'networks' | 'secrets' | 'configs'>> = {
  service: 'services',
  container: 'services',
  network: 'networks',
  secret: 'secrets',
  config: 'configs',
};

/** What has a name, `service:web`; undefined when that is gone. Of no kind that users make: of nobody's stack. */
function namedBy(records: Records, name: string, id: string): { stack: string | undefined } | undefined {
  const table = NAMED[name.slice(0, name.indexOf(':'))];
  if (table === undefined) return { stack: undefined };
  const value = records.get(table, id);
  return value === undefined ? undefined : { stack: stackOf(records, table, value) };
}

/** Names of all stacks, of which one deploys volumes. */
function stacksOf(store: Store): Set<string> {
  const names = new Set(store.all('stacks').keys());
  for (const service of store.all('services').values()) {
    const stack = stackOf(store, 'services', service);
    if (stack !== undefined) names.add(stack);
  }
  return names;
}
