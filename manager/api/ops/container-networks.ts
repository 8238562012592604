/** Networks of a single container, which change while it runs: docker network connect and disconnect. */
import { AppError, ConflictError, ForbiddenError, InvalidError } from '../../../shared/errors/index.ts';
import {
  hasForeignNetwork,
  isTerminal,
  type Network,
  type NetworkAttachment,
  nodeNetworkOf,
  type ServiceSpec,
} from '../../../shared/model/index.ts';
import { isWired } from '../../plan/allocate/rewire.ts';
import { ownAddressElsewhere } from '../codec/container-network-codec.ts';
import type { ApiContext } from '../context.ts';
import { callNode } from '../node-call.ts';
import { checkAliases } from '../validate/aliases.ts';
import { waitForStore } from '../wait.ts';
import { containerById, isLive, type StoredContainer } from './container-reads.ts';
import { AS_LONG_AS_IT_TAKES_MS, requireAttachable, reviseContainer } from './containers.ts';
import { findNetwork } from './networks.ts';

/** A node is waited for so long. */
const WIRING_MS = 10_000;

type Change = (spec: ServiceSpec) => ServiceSpec;

/**
 * Resolves when the container is on the network: at once if it runs, else at its next start. Rejects with the reason, and
 * leaves it as it was, when it can not be.
 */
export async function connectContainer(
  ctx: ApiContext,
  container: StoredContainer,
  ref: string,
  endpoint: Omit<NetworkAttachment, 'network'>,
  signal: AbortSignal,
): Promise<void> {
  const own = nodeNetworkOf(ref);
  if (own !== undefined) {
    if (endpoint.address !== undefined) throw ownAddressElsewhere();
    if (endpoint.macAddress !== undefined || endpoint.links !== undefined)
      throw new InvalidError(
        'EndpointConfig: links and MAC addresses are supported on user defined networks only',
      );
    return changeNetworks(ctx, container, [], (spec) => withBridge(spec, own, container), signal);
  }
  const network = findNetwork(ctx.store, ref);
  requireAttachable(network);
  if (network.removing === true) throw new InvalidError(`network ${network.spec.name} is being removed`);
  const attachment: NetworkAttachment = { network: network.id, ...endpoint };
  await changeNetworks(ctx, container, [network], (spec) => withNetwork(spec, network, attachment), signal);
}

/** Resolves when the container is off the network; `force`: one that is not on it is left as it is. */
export async function disconnectContainer(
  ctx: ApiContext,
  container: StoredContainer,
  ref: string,
  force: boolean,
  signal: AbortSignal,
): Promise<void> {
  const own = nodeNetworkOf(ref);
  const network = own === undefined ? findNetwork(ctx.store, ref) : undefined;
  const { networks, container: options } = container.revision.spec;
  const isOn =
    network === undefined
      ? networks.length === 0 &&
        options.runtime?.networkOf === undefined &&
        (options.runtime?.network ?? 'bridge') === own
      : networks.some((one) => one.network === network.id);
  if (!isOn) {
    if (force) return;
    const name = network?.spec.name ?? own ?? ref;
    throw new ForbiddenError(`container ${container.id} is not connected to network ${name}`);
  }
  if (own === 'host' || own === 'none')
    throw new ForbiddenError(`container cannot be disconnected from ${own} network or connected to it`);
  await changeNetworks(ctx, container, [], (spec) => withoutNetwork(spec, network?.id), signal);
}

function withNetwork(spec: ServiceSpec, network: Network, attachment: NetworkAttachment): ServiceSpec {
  if (hasForeignNetwork(spec.container.runtime))
    throw new ForbiddenError(
      'container sharing network namespace with another container or host cannot be connected to any other network',
    );
  if (spec.networks.some((one) => one.network === network.id))
    throw new ForbiddenError(
      `endpoint with name ${spec.name} already exists in network ${network.spec.name}`,
    );
  const next = withRuntimeNetwork({ ...spec, networks: [...spec.networks, attachment] }, undefined);
  const [problem] = checkAliases(next);
  if (problem !== undefined) throw new InvalidError(`EndpointConfig.Aliases: ${problem.message}`);
  return next;
}

/** bridge is what a container without networks has, and what every other network that leads out does as well. */
function withBridge(
  spec: ServiceSpec,
  own: 'bridge' | 'host' | 'none',
  container: StoredContainer,
): ServiceSpec {
  const { network, networkOf } = spec.container.runtime ?? {};
  const now = networkOf === undefined ? network : `container:${networkOf}`;
  if (own !== 'bridge' || hasForeignNetwork(spec.container.runtime))
    throw new ForbiddenError(
      `container cannot be disconnected from ${now ?? own} network or connected to it while it exists`,
    );
  if (spec.networks.length > 0)
    throw new InvalidError(
      'network bridge can not be combined with other networks: every network that is not internal is a way out',
    );
  if (now === undefined)
    throw new ForbiddenError(`endpoint with name ${container.service.name} already exists in network bridge`);
  return withRuntimeNetwork(spec, undefined);
}

/** Without its last network it has none, unless it publishes ports, which the network bridge carries. */
function withoutNetwork(spec: ServiceSpec, networkId: string | undefined): ServiceSpec {
  const networks = spec.networks.filter((one) => one.network !== networkId);
  const next = { ...spec, networks };
  if (networks.length > 0) return next;
  if (spec.ports.length === 0) return withRuntimeNetwork(next, 'none');
  if (networkId !== undefined) return next;
  throw new ForbiddenError('a container that publishes ports can not be disconnected from network bridge');
}

function withRuntimeNetwork(spec: ServiceSpec, network: 'none' | undefined): ServiceSpec {
  const { runtime: now, ...container } = spec.container;
  const { network: _, ...rest } = now ?? {};
  const runtime = network === undefined ? rest : { ...rest, network };
  return {
    ...spec,
    container: Object.keys(runtime).length === 0 ? container : { ...container, runtime },
  };
}

async function changeNetworks(
  ctx: ApiContext,
  container: StoredContainer,
  joined: readonly Network[],
  change: Change,
  signal: AbortSignal,
): Promise<void> {
  const before = container.revision.spec;
  await revise(ctx, container, joined, change, signal);
  try {
    await untilWired(ctx, container.id, signal);
  } catch (error) {
    // What it could not have it does not have at its next start either.
    const undo: Change = (spec) => {
      const networks = spec.networks.filter(({ network }) => joined.every(({ id }) => id !== network));
      const hadNone = networks.length === 0 && before.container.runtime?.network === 'none';
      return withRuntimeNetwork({ ...spec, networks }, hadNone ? 'none' : undefined);
    };
    if (joined.length > 0 && error instanceof AppError) await revise(ctx, container, [], undo, ctx.signal);
    throw error;
  }
}

/** `joined` must stay what they are until it is written. */
async function revise(
  ctx: ApiContext,
  { service }: StoredContainer,
  joined: readonly Network[],
  change: Change,
  signal: AbortSignal,
): Promise<void> {
  const guards = joined.map(({ id }) => ({
    table: 'networks' as const,
    key: id,
    expect: ctx.store.version('networks', id),
  }));
  await reviseContainer(
    ctx,
    service.id,
    ({ spec, asked }) => ({ spec: change(spec), ...(asked === undefined ? {} : { asked }) }),
    signal,
    guards,
  );
}

/** Resolves when the task has the addresses and, if it runs on a node that can be asked, its container the interfaces. */
async function untilWired(ctx: ApiContext, id: string, signal: AbortSignal): Promise<void> {
  const { store } = ctx;
  const verdict = (): AppError | 'addressed' | undefined => {
    const now = containerById(store, id);
    const { task, taskState } = now ?? {};
    if (now === undefined || task?.nodeId === undefined || isTerminal(taskState ?? 'new')) return 'addressed';
    if (isWired(task, now.revision.spec)) return 'addressed';
    return task.networkProblem === undefined ? undefined : new ConflictError(task.networkProblem);
  };
  await waitForStore(store, () => verdict() !== undefined, AS_LONG_AS_IT_TAKES_MS, signal);
  const found = verdict();
  if (found instanceof AppError) throw found;
  const now = containerById(store, id);
  if (now?.task?.nodeId === undefined || !isLive(now) || !ctx.gateway.connected(now.task.nodeId)) return;
  const addresses = now.task.addresses.map(({ network, address }) => ({ network, address }));
  const params = { taskId: now.task.id, addresses };
  try {
    await callNode(ctx, now.task.nodeId, 'network.settled', params, signal, WIRING_MS);
  } catch (error) {
    const after = containerById(store, id);
    // It ended meanwhile: its next start has them.
    if (after !== undefined && isLive(after) && after.task?.id === now.task.id) throw error;
  }
}
