/** What the API does to single containers in the store: made, wanted, renamed, removed. The leader does the rest. */
import {
  AppError,
  ConflictError,
  ForbiddenError,
  InvalidError,
  NotFoundError,
  UnavailableError,
} from '../../../shared/errors/index.ts';
import { newContainerId } from '../../../shared/lib/ids.ts';
import { KeyedMutex } from '../../../shared/lib/mutex.ts';
import { isLocal } from '../../../shared/lib/network-outside.ts';
import {
  type ContainerMode,
  type ContainerRequest,
  type ContainerRun,
  isTerminal,
  type Network,
  nounOf,
  type PublishedPort,
  type Revision,
  type Service,
  type ServiceSpec,
  serviceIdOf,
} from '../../../shared/model/index.ts';
import { type Guard, StaleError, type Store, type Write } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';
import { notPlaced, outcomeInStore } from '../returning-nodes.ts';
import { checkServiceSpec } from '../validate/service-spec.ts';
import { waitForStore } from '../wait.ts';
import { containerById, containerByName, type StoredContainer, storedContainer } from './container-reads.ts';
import { findNetwork } from './networks.ts';
import { revisionKey } from './service-reads.ts';
import { fullRange, portHolder, shortPort } from './port-holders.ts';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const NAME_MAX = 255;
const COMMIT_ATTEMPTS = 10;
/** How long a creation waits for a container of the same name to be gone. */
const REMOVAL_WAIT_MS = 120_000;
/** As long as the client waits; setTimeout takes no more. */
export const AS_LONG_AS_IT_TAKES_MS = 2 ** 31 - 1;

export interface NewContainer {
  readonly spec: Omit<ServiceSpec, 'name' | 'mode'>;
  readonly name: string;
  readonly autoRemove: boolean;
  readonly asked: ContainerRequest;
  readonly nodes: readonly string[];
}

/**
 * Stores a container and waits until its node has made it. Resolves with its id; rejects with the reason when it can not be
 * placed or made, and leaves nothing behind then.
 */
export async function createContainer(
  ctx: ApiContext,
  wanted: NewContainer,
  signal: AbortSignal,
): Promise<string> {
  const id = await storeContainer(ctx, wanted, signal);
  try {
    await untilMade(ctx, id, signal);
    return id;
  } catch (error) {
    // The client may be gone: what it will never hear of must not stay.
    await removeContainer(ctx, serviceIdOf(id), ctx.signal).catch((failure: unknown) =>
      ctx.logger.warn(
        { containerId: id, err: failure },
        'a container that could not be made was not removed',
      ),
    );
    throw error;
  }
}

async function storeContainer(ctx: ApiContext, wanted: NewContainer, signal: AbortSignal): Promise<string> {
  const { store } = ctx;
  const { name, autoRemove, nodes } = wanted;
  requireName(name);
  for (let attempt = 1; ; attempt += 1) {
    await waitForName(store, name, signal);
    const id = newContainerId();
    const mode: ContainerMode = { kind: 'container', containerId: id, autoRemove, nodes };
    const spec = resolveContainer(store, { ...wanted.spec, name, mode });
    try {
      // Not the client's signal: what was given up may have been written all the same, and nobody would know.
      await store.commit(creation(ctx, id, spec, wanted.asked), {
        guards: networkGuards(store, spec),
        signal: ctx.signal,
      });
      return id;
    } catch (error) {
      if (!(error instanceof StaleError) || attempt >= COMMIT_ATTEMPTS) throw error;
    }
  }
}

function creation(ctx: ApiContext, id: string, spec: ServiceSpec, asked: ContainerRequest): Write[] {
  const serviceId = serviceIdOf(id);
  const atMs = ctx.clock.now();
  const key = nameKey(spec.name);
  const service: Service = {
    id: serviceId,
    name: spec.name,
    revision: 1,
    createdAtMs: atMs,
    updatedAtMs: atMs,
    run: { wanted: 'created', serial: 0 },
  };
  const revision: Revision = {
    id: revisionKey(serviceId, 1),
    serviceId,
    revision: 1,
    createdAtMs: atMs,
    spec,
    asked,
  };
  return [
    { table: 'names', key, value: { id: serviceId }, expect: ctx.store.version('names', key) },
    { table: 'services', key: serviceId, value: service, expect: 0 },
    { table: 'revisions', key: revision.id, value: revision, expect: 0 },
  ];
}

function nameKey(name: string): string {
  return `container:${name}`;
}

function requireName(name: string): void {
  if (NAME.test(name) && name.length <= NAME_MAX) return;
  throw new InvalidError(`Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
}

/** One that is on its way out is waited for; one that stays is a conflict, in Docker's words. */
async function waitForName(store: Store, name: string, signal: AbortSignal): Promise<void> {
  const leaving = (): boolean => containerByName(store, name)?.service.removing === true;
  if (leaving()) await waitForStore(store, () => !leaving(), REMOVAL_WAIT_MS, signal);
  const holder = containerByName(store, name);
  if (holder === undefined) return;
  throw new ConflictError(
    `Conflict. The container name "/${name}" is already in use by container "${holder.id}". ` +
      'You have to remove (or rename) that container to be able to reuse that name.',
  );
}

/** Networks by id; all that a service's spec must hold, too. A missing network is no 404: clients would pull an image. */
function resolveContainer(store: Store, spec: ServiceSpec): ServiceSpec {
  const networks = spec.networks.map((attachment) => {
    const network = networkOf(store, attachment.network);
    requireAttachable(network);
    return { ...attachment, network: network.id };
  });
  const onMesh = spec.ports.length > 0;
  const resolved: ServiceSpec = { ...spec, networks, endpointMode: onMesh ? 'vip' : 'dnsrr' };
  const problem = checkServiceSpec(checkable(resolved))[0];
  if (problem !== undefined)
    throw new InvalidError(
      problem.field === 'image' ? problem.message : `${problem.field}: ${problem.message}`,
    );
  requirePortsFree(store, resolved);
  return resolved;
}

/** Throws ForbiddenError, in Docker's words, for one that only services may be on. */
export function requireAttachable({ spec }: Network): void {
  if ((spec.attachable || isLocal(spec)) && !spec.ingress) return;
  throw new ForbiddenError(
    `Could not attach to network ${spec.name}: rpc error: code = PermissionDenied desc = ` +
      `network ${spec.name} not manually attachable`,
  );
}

function networkOf(store: Store, ref: string) {
  try {
    return findNetwork(store, ref);
  } catch (error) {
    if (error instanceof NotFoundError) throw new InvalidError(error.message, { cause: error });
    throw error;
  }
}

/** As a service's: with a service's name, without what would be a template there, with names for anonymous volumes. */
function checkable(spec: ServiceSpec): ServiceSpec {
  const plain = (text: string): string => text.replaceAll('{{', '');
  const { container } = spec;
  const mounts = container.mounts.map((mount) =>
    mount.kind === 'volume' && mount.source === '' ? { ...mount, source: 'anonymous' } : mount,
  );
  return {
    ...spec,
    name: 'container',
    mode: { kind: 'replicated', replicas: 1 },
    // Its address is its task's own.
    endpointMode: 'vip',
    container: { ...container, mounts, env: container.env.map(plain) },
  };
}

function requirePortsFree(store: Store, spec: ServiceSpec): void {
  const on = ({ hostIp = '0.0.0.0', ...port }: PublishedPort): string => shortPort({ ...port, hostIp });
  const taken = portHolder(store, spec, undefined, false);
  if (taken !== undefined)
    throw new ConflictError(
      `Bind for ${on(taken.wanted)} failed: port is already allocated to ` +
        `${nounOf(taken.service)} ${taken.service.name}`,
    );
  const full = fullRange(store, spec);
  if (full !== undefined)
    throw new ConflictError(`Bind for ${on(full)} failed: all ports of the range are already allocated`);
}

function networkGuards(store: Store, spec: ServiceSpec): Guard[] {
  return spec.networks.map(({ network }) => ({
    table: 'networks',
    key: network,
    expect: store.version('networks', network),
  }));
}

/** Resolves when the node has the container ready to be started; rejects with the reason when that will not be. */
async function untilMade(ctx: ApiContext, id: string, signal: AbortSignal): Promise<void> {
  const verdict = (waited: boolean): AppError | 'made' | undefined => {
    const container = containerById(ctx.store, id);
    if (container === undefined || container.service.removing === true)
      return new ConflictError(`container ${id} was removed while it was made`);
    return madeOrNot(container, waited);
  };
  const found = await outcomeInStore(ctx, verdict, AS_LONG_AS_IT_TAKES_MS, signal);
  if (found instanceof AppError) throw found;
}

function madeOrNot(
  { task, taskState, status, node }: StoredContainer,
  waited: boolean,
): AppError | 'made' | undefined {
  if (task === undefined || taskState === undefined) return undefined;
  if (task.pendingReason !== undefined) return notPlaced(task.pendingReason, waited);
  if (taskState === 'ready') return 'made';
  if (isTerminal(taskState)) return failure(status?.error ?? status?.message ?? taskState);
  // Unknown is one whose manager has restarted: it comes, or is called down.
  if (task.nodeId !== undefined && node?.status !== 'ready' && node?.status !== 'unknown')
    return new UnavailableError('the node went away while the container was made');
  return undefined;
}

function failure(reason: string): AppError {
  return reason.startsWith('No such image') ? new NotFoundError(reason) : new ConflictError(reason);
}

/** Changes what is wanted of it. Resolves with the serial that holds then; `change` gets what is wanted now. */
export async function wantContainer(
  ctx: ApiContext,
  serviceId: string,
  change: (run: ContainerRun) => ContainerRun,
  signal: AbortSignal,
): Promise<ContainerRun> {
  let wanted: ContainerRun = { wanted: 'created', serial: 0 };
  await changeContainer(
    ctx,
    serviceId,
    ({ service }) => {
      wanted = change(service.run ?? wanted);
      return [{ ...service, run: wanted }];
    },
    signal,
  );
  return wanted;
}

/** Gives it another name. Throws ConflictError when that is taken. */
export async function renameContainer(
  ctx: ApiContext,
  serviceId: string,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  requireName(name);
  await waitForName(ctx.store, name, signal);
  await changeContainer(
    ctx,
    serviceId,
    ({ service, revision }) => {
      const next = revised(ctx, service, { ...revision, spec: { ...revision.spec, name } });
      const key = nameKey(name);
      const names: Write[] = [
        { table: 'names', key, value: { id: serviceId }, expect: ctx.store.version('names', key) },
        { table: 'names', key: nameKey(service.name), value: null },
      ];
      return [{ ...next.service, name }, [next.write, ...names]];
    },
    signal,
  );
}

/** Gives it another spec, for its next start or its next end. The guards must hold when it is written. */
export async function reviseContainer(
  ctx: ApiContext,
  serviceId: string,
  change: (revision: Revision) => Pick<Revision, 'spec' | 'asked'>,
  signal: AbortSignal,
  guards: readonly Guard[] = [],
): Promise<void> {
  await changeContainer(
    ctx,
    serviceId,
    ({ service, revision }) => {
      const next = revised(ctx, service, { ...revision, ...change(revision) });
      return [next.service, [next.write]];
    },
    signal,
    guards,
  );
}

function revised(ctx: ApiContext, service: Service, revision: Revision): { service: Service; write: Write } {
  const atMs = ctx.clock.now();
  const number = service.revision + 1;
  const id = revisionKey(service.id, number);
  const value: Revision = { ...revision, id, revision: number, createdAtMs: atMs };
  return {
    service: { ...service, revision: number, updatedAtMs: atMs },
    write: { table: 'revisions', key: id, value, expect: 0 },
  };
}

/** Marks it: the leader has its node remove it, and deletes the records when that is done. Idempotent. */
export async function removeContainer(
  ctx: ApiContext,
  serviceId: string,
  signal: AbortSignal,
): Promise<void> {
  const remove = ({ service }: StoredContainer): [Service] => [
    { ...service, removing: true, updatedAtMs: ctx.clock.now() },
  ];
  try {
    await changeContainer(ctx, serviceId, remove, signal);
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
  }
}

/** Who found that another had written first takes turns with those who did too: each would be the others' conflict again. */
const turns = new KeyedMutex();

/** Writes a changed record, and what belongs to it, again for as long as others write to it meanwhile. */
async function changeContainer(
  ctx: ApiContext,
  serviceId: string,
  change: (container: StoredContainer) => [Service, Write[]?],
  signal: AbortSignal,
  guards: readonly Guard[] = [],
): Promise<void> {
  const { store } = ctx;
  const attempt = async (): Promise<boolean> => {
    const service = store.get('services', serviceId);
    const container = service === undefined ? undefined : storedContainer(store, service);
    if (container === undefined || container.service.removing === true)
      throw new NotFoundError(`No such container: ${container?.id ?? serviceId}`);
    const [value, more = []] = change(container);
    const expect = store.version('services', serviceId);
    try {
      await store.commit([{ table: 'services', key: serviceId, value, expect }, ...more], { signal, guards });
      return true;
    } catch (error) {
      if (!(error instanceof StaleError)) throw error;
      return false;
    }
  };
  if (await attempt()) return;
  await turns.run(serviceId, async () => {
    for (let left = COMMIT_ATTEMPTS; left > 0; left -= 1) if (await attempt()) return;
    throw new UnavailableError('others change this container all the time: try again');
  });
}
