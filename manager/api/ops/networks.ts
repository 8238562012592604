/** What the API does to networks in the store; used by /networks and by /stacks. */
import { ConflictError, ForbiddenError, InvalidError } from '../../../shared/errors/index.ts';
import { cidrs6Overlap, parseCidr6 } from '../../../shared/lib/cidr6.ts';
import { choice6Problem } from '../../../shared/lib/network-pools.ts';
import { isLocal } from '../../../shared/lib/network-outside.ts';
import { overlapOf, subnetsOf } from '../../../shared/lib/network-subnets.ts';
import { addressProblem, choicesOf, choicesProblem } from '../../../shared/lib/subnet-choice.ts';
import { newId } from '../../../shared/lib/ids.ts';
import {
  isTerminal,
  nodeNetworkOf,
  nounOf,
  type Network,
  type NetworkAttachment,
  type NetworkSpec,
  type Service,
  type ServiceSpec,
} from '../../../shared/model/index.ts';
import { wholeStore } from '../access/limited-store.ts';
import { StaleError, type Store, type Write } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';
import { noSuchDriver } from '../codec/network-driver.ts';
import { lookup } from '../lookup.ts';
import { waitForStore } from '../wait.ts';
import { takeNodeNetwork } from './node-networks.ts';
import { removeReferable } from './removal.ts';
import { specOf } from './service-reads.ts';

const REMOVAL_WAIT_MS = 120_000;
const COMMIT_ATTEMPTS = 5;
/** `SERVICE.NETWORK` and a task's longer name have to fit into a name of DNS, which has 253 characters. */
const NAME_MAX = 128;
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** By id, name or unique prefix. */
export function findNetwork(store: Store, ref: string): Network {
  return lookup(store.all('networks').values(), ref, {
    kind: 'network',
    id: (network) => network.id,
    name: (network) => network.spec.name,
  });
}

/** The spec with its networks named by id. Throws InvalidError for one that a service can not join. */
export function resolveNetworks(store: Store, asked: ServiceSpec): ServiceSpec {
  const spec = takeNodeNetwork(asked);
  const networks = spec.networks.map((attachment) => {
    const network = findNetwork(store, attachment.network);
    if (network.removing === true) {
      throw new InvalidError(
        `network ${network.spec.name} is being removed (removing it again ends a removal that was cut off)`,
      );
    }
    if (isLocal(network.spec)) {
      throw new InvalidError(
        `network ${network.spec.name} cannot be used with services. Only networks scoped to the swarm can be used, such as ` +
          'those created with the overlay driver.',
      );
    }
    if (network.spec.ingress) {
      throw new InvalidError(
        `rpc error: code = InvalidArgument desc = Service cannot be explicitly attached to the ingress network "${network.spec.name}"`,
      );
    }
    requireAddress(network, attachment);
    return { ...attachment, network: network.id };
  });
  const ids = networks.map((attachment) => attachment.network);
  if (new Set(ids).size < ids.length) throw new InvalidError('networks: a network is named twice');
  return { ...spec, networks };
}

/** Throws InvalidError for an address that the network does not have. Who has it now is seen when it is given. */
function requireAddress(network: Network, { address }: NetworkAttachment): void {
  const problem =
    address === undefined || network.allocation === undefined ? undefined : addressProblem(network, address);
  if (problem !== undefined)
    throw new InvalidError(`address ${address} on network ${network.spec.name} can not be had: ${problem}`);
}

/** Resolves with the id. */
export async function createNetwork(
  ctx: ApiContext,
  spec: NetworkSpec,
  signal: AbortSignal,
): Promise<string> {
  const { store } = ctx;
  requireValid(store, spec);
  for (let attempt = 1; ; attempt += 1) {
    const name = `network:${spec.name}`;
    const holder = store.get('names', name);
    if (holder !== undefined && store.get('networks', holder.id) !== undefined) {
      throw nameTaken(spec);
    }
    const id = newId();
    const value: Network = { id, spec, createdAtMs: ctx.clock.now() };
    const writes: Write[] = [
      { table: 'names', key: name, value: { id }, expect: store.version('names', name) },
      { table: 'networks', key: id, value, expect: 0 },
    ];
    try {
      await store.commit(writes, { signal });
      return id;
    } catch (error) {
      if (!(error instanceof StaleError) || attempt >= COMMIT_ATTEMPTS) throw error;
    }
  }
}

/** Besides those of nodes. `docker run --network default` means the network `bridge`. */
const PREDEFINED: ReadonlySet<string> = new Set(['ingress', 'default']);

function requireValid(store: Store, spec: NetworkSpec): void {
  if (!NAME.test(spec.name) || spec.name.length > NAME_MAX) {
    throw new InvalidError(
      `'${spec.name}' is no valid network name: letters, digits, _ . - are allowed, the first a letter or digit, at most ${NAME_MAX}`,
    );
  }
  if (nodeNetworkOf(spec.name) !== undefined || PREDEFINED.has(spec.name)) {
    throw new ForbiddenError(`operation is not permitted on predefined ${spec.name} network`);
  }
  requirePlugin(store, spec);
  const problem = choicesProblem(spec) ?? choice6Problem(spec);
  if (problem !== undefined) throw new InvalidError(problem);
  for (const other of wholeStore(store).all('networks').values()) {
    // Said first: made twice, it overlaps itself as well.
    if (other.spec.name === spec.name) throw nameTaken(spec);
    const overlap = overlapOf(wantedSubnets(spec), heldSubnets(other)) ?? overlap6(spec, other);
    if (overlap === undefined) continue;
    throw new ForbiddenError(
      `Pool overlaps with other one on this address space: ${overlap[0]} and ${overlap[1]} of network ${other.spec.name}`,
    );
  }
}

function nameTaken({ name }: NetworkSpec): ConflictError {
  return new ConflictError(`network with name ${name} already exists`);
}

/** Throws InvalidError when no node has it: a name that is mistyped is seen here. */
function requirePlugin(store: Store, { plugin }: NetworkSpec): void {
  if (plugin === undefined) return;
  const has = [...store.all('nodes').values()].some(({ drivers }) => drivers?.plugins?.includes(plugin));
  if (!has) throw noSuchDriver(plugin);
}

/** Subnets that users chose. */
export function wantedSubnets(spec: NetworkSpec): string[] {
  return choicesOf(spec).map(({ subnet }) => subnet);
}

/** What a network has, or shall have. */
export function heldSubnets({ allocation, spec }: Network): string[] {
  return allocation === undefined ? wantedSubnets(spec) : subnetsOf(allocation).map(({ subnet }) => subnet);
}

/** The IPv6 subnets of both, if they have addresses in common. */
export function overlap6(
  { subnet6 }: NetworkSpec,
  { allocation, spec }: Network,
): readonly [string, string] | undefined {
  const held = allocation?.subnet6 ?? spec.subnet6;
  if (subnet6 === undefined || held === undefined) return undefined;
  return cidrs6Overlap(parseCidr6(subnet6), parseCidr6(held)) ? [subnet6, held] : undefined;
}

/**
 * Deletes the network once no service uses it. One that is being removed is waited for, so that its tasks keep their
 * network until they have stopped. Throws ForbiddenError when one that stays uses it.
 */
export async function removeNetwork(ctx: ApiContext, network: Network, signal: AbortSignal): Promise<void> {
  const { store } = ctx;
  if (network.spec.ingress) {
    throw new ForbiddenError(
      `network ${network.spec.name} carries the published ports and can not be removed`,
    );
  }
  const staying = (): Service | undefined => user(store, network.id, false);
  requireUnused(network, staying());
  const free = (): boolean => staying() !== undefined || user(store, network.id, true) === undefined;
  await waitForStore(store, free, REMOVAL_WAIT_MS, signal);
  const name = `network:${network.spec.name}`;
  const more: Write[] =
    store.get('names', name)?.id === network.id ? [{ table: 'names', key: name, value: null }] : [];
  const unused = (): void => requireUnused(network, staying() ?? user(store, network.id, true));
  await removeReferable(store, 'networks', network.id, { requireUnused: unused, more }, signal);
}

function requireUnused(network: Network, service: Service | undefined): void {
  if (service === undefined) return;
  const suffix = service.removing === true ? ', which is being removed: its tasks have not stopped yet' : '';
  throw new ForbiddenError(
    `rpc error: code = FailedPrecondition desc = network ${network.spec.name} is in use by ` +
      `${nounOf(service)} ${service.name}${suffix}`,
  );
}

/** A service that is attached by its current revision, or by an older one that still has tasks. */
function user(seen: Store, networkId: string, removing: boolean): Service | undefined {
  const store = wholeStore(seen);
  for (const service of store.all('services').values()) {
    if ((service.removing === true) !== removing) continue;
    const revisions = new Set([service.revision, ...revisionsAlive(store, service.id)]);
    const attached = [...revisions].some((revision) =>
      specOf(store, service, revision)?.networks.some((n) => n.network === networkId),
    );
    if (attached) return service;
  }
  return undefined;
}

function revisionsAlive(store: Store, serviceId: string): number[] {
  return [...store.tasksOfService(serviceId)].flatMap((id) => {
    const task = store.get('tasks', id);
    const state = store.get('statuses', id)?.state ?? 'new';
    return task === undefined || isTerminal(state) ? [] : [task.revision];
  });
}
