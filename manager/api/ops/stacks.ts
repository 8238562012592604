/** Deploys, lists and removes stacks. */
import { InvalidError, NotFoundError } from '../../../shared/errors/index.ts';
import { KeyedMutex } from '../../../shared/lib/mutex.ts';
import {
  type Network,
  type Service,
  type ServiceSpec,
  type Stack,
  STACK_LABEL,
  type StoredFileKind,
} from '../../../shared/model/index.ts';
import { sameJson } from '../../plan/reconcile/dirty.ts';
import {
  convertStack,
  type StackContents,
  type StackConversion,
  type StackNetwork,
  type Variables,
} from '../../stack/index.ts';
import type { Store } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';
import { FILE_KINDS } from './files.ts';
import { createNetwork, removeNetwork } from './networks.ts';
import { currentSpec, liveServices } from './service-reads.ts';
import { createService, removeService, resolveSpec, updateService } from './services.ts';
import { ensureFile, removeFiles, removeOldVersions, stackFiles } from './stack-files.ts';
import { checkStack } from './stack-check.ts';
import { type Finding, finding, StackError } from './stack-error.ts';

type Action = 'created' | 'updated' | 'unchanged' | 'removed';

export interface Touched {
  readonly id: string;
  readonly name: string;
  readonly action: Action;
}

export interface Deployment {
  readonly warnings: readonly Finding[];
  readonly services: readonly Touched[];
  readonly networks: readonly Touched[];
  readonly secrets: readonly Touched[];
  readonly configs: readonly Touched[];
}

export interface DeployRequest {
  readonly stack: string;
  readonly compose: string;
  readonly variables: Variables;
  /** Of secrets and configs. */
  readonly contents?: StackContents | undefined;
  /** Remove the stack's services that the file does not have. */
  readonly prune: boolean;
  readonly registryAuth: string | undefined;
}

const STACK_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_-]*$/;
const NAME_MAX = 48;
/** One deployment or removal of a stack at a time. */
const busy = new KeyedMutex();

/** All or nothing as far as the file goes: nothing is written while anything is wrong with it. Throws StackError. */
export function deployStack(
  ctx: ApiContext,
  request: DeployRequest,
  signal: AbortSignal,
): Promise<Deployment> {
  const { stack } = request;
  if (!STACK_NAME.test(stack) || stack.length > NAME_MAX) {
    throw new InvalidError(
      `'${stack}' is no valid stack name: letters, digits, - and _, at most ${NAME_MAX}, the first a letter or digit`,
    );
  }
  return busy.run(stack, async () => {
    const conversion = convertStack(request);
    const wrong = conversion.problems.filter((problem) => problem.severity === 'error');
    if (wrong.length > 0) throw new StackError(stack, wrong);
    const unfit = checkStack(ctx.store, stack, conversion);
    if (unfit.length > 0) throw new StackError(stack, unfit);
    return apply(ctx, request, conversion, signal);
  });
}

async function apply(
  ctx: ApiContext,
  request: DeployRequest,
  conversion: StackConversion,
  signal: AbortSignal,
): Promise<Deployment> {
  const warnings = conversion.problems.map(finding);
  const networks: Touched[] = [];
  for (const network of conversion.networks) {
    if (network.spec !== undefined) networks.push(await ensureNetwork(ctx, network, warnings, signal));
  }
  const files = { secret: [] as Touched[], config: [] as Touched[] };
  for (const file of conversion.files) {
    files[file.kind].push(...(await ensureFile(ctx, file, warnings, signal)));
  }
  const services: Touched[] = [];
  for (const { spec } of conversion.services) services.push(await ensureService(ctx, request, spec, signal));
  if (request.prune) {
    const kept = new Set(conversion.services.map(({ spec }) => spec.name));
    const extra = stackServices(ctx.store, request.stack).filter((service) => !kept.has(service.name));
    services.push(...(await removeServices(ctx, extra, signal)));
    const names = new Set(conversion.networks.map(({ name }) => name));
    const idle = stackNetworks(ctx.store, request.stack).filter((network) => !names.has(network.spec.name));
    networks.push(...(await removeNetworks(ctx, idle, signal)));
    const named = new Set(conversion.files.map(({ name }) => name));
    for (const kind of FILE_KINDS) {
      files[kind].push(...(await removeFiles(ctx, request.stack, kind, named, warnings, signal)));
    }
  }
  await removeOldVersions(ctx, request.stack, signal);
  await record(ctx, request, signal);
  return { warnings, services, networks, secrets: files.secret, configs: files.config };
}

async function ensureNetwork(
  ctx: ApiContext,
  network: StackNetwork,
  warnings: Finding[],
  signal: AbortSignal,
): Promise<Touched> {
  const { name, spec } = network;
  if (spec === undefined) throw new Error(`network ${name} is external`);
  const existing = [...ctx.store.all('networks').values()].find((other) => other.spec.name === name);
  if (existing === undefined) return { id: await createNetwork(ctx, spec, signal), name, action: 'created' };
  // The gateway and the subnet may have been chosen by the manager.
  const wanted = { ...existing.spec, ...spec };
  if (!sameJson(wanted, existing.spec)) {
    const message = `network ${name} stays as it was created: networks can not be changed, only removed and created`;
    warnings.push(finding({ message, key: `networks.${network.key}`, ...network.at }));
  }
  return { id: existing.id, name, action: 'unchanged' };
}

async function ensureService(
  ctx: ApiContext,
  request: DeployRequest,
  converted: ServiceSpec,
  signal: AbortSignal,
): Promise<Touched> {
  const { store } = ctx;
  const { name } = converted;
  const existing = stackServices(store, request.stack).find((service) => service.name === name);
  const auth = request.registryAuth === undefined ? {} : { registryAuth: request.registryAuth };
  if (existing === undefined) {
    return { id: await createService(ctx, { ...converted, ...auth }, signal), name, action: 'created' };
  }
  const { id } = existing;
  const current = currentSpec(store, existing);
  const kept = current.registryAuth === undefined ? {} : { registryAuth: current.registryAuth };
  const spec = resolveSpec(store, { ...converted, forceUpdate: current.forceUpdate, ...kept, ...auth });
  if (sameJson(spec, current)) return { id, name, action: 'unchanged' };
  await updateService(ctx, existing, { version: store.version('services', id), spec }, signal);
  return { id, name, action: 'updated' };
}

async function record(ctx: ApiContext, request: DeployRequest, signal: AbortSignal): Promise<void> {
  const { stack: name, compose } = request;
  const existing = ctx.store.get('stacks', name);
  if (existing?.compose === compose) return;
  const now = ctx.clock.now();
  const value: Stack = {
    id: name,
    name,
    compose,
    createdAtMs: existing?.createdAtMs ?? now,
    updatedAtMs: now,
  };
  await ctx.store.commit([{ table: 'stacks', key: name, value }], { signal });
}

/** Resolves when the services are gone and the networks removed. Throws NotFoundError when there is no such stack. */
export function removeStack(ctx: ApiContext, stack: string, signal: AbortSignal): Promise<Deployment> {
  return busy.run(stack, async () => {
    const { store } = ctx;
    const services = stackServices(store, stack);
    const networks = stackNetworks(store, stack);
    const recorded = store.get('stacks', stack) !== undefined;
    const files = FILE_KINDS.flatMap((kind) => stackFiles(store, kind, stack));
    if (services.length + networks.length + files.length === 0 && !recorded)
      throw new NotFoundError(`stack ${stack} not found`);
    const removed = await removeServices(ctx, services, signal);
    if (recorded) await store.commit([{ table: 'stacks', key: stack, value: null }], { signal });
    const left = await removeNetworks(ctx, networks, signal);
    const warnings: Finding[] = [];
    const clear = (kind: StoredFileKind): Promise<Touched[]> =>
      removeFiles(ctx, stack, kind, new Set(), warnings, signal);
    const secrets = await clear('secret');
    return { services: removed, networks: left, secrets, configs: await clear('config'), warnings };
  });
}

async function removeServices(
  ctx: ApiContext,
  services: readonly Service[],
  signal: AbortSignal,
): Promise<Touched[]> {
  return Promise.all(
    services.map(async ({ id, name }) => {
      await removeService(ctx, id, signal).catch(ignoreMissing);
      return { id, name, action: 'removed' as const };
    }),
  );
}

/** Waits for the services that are leaving them. */
async function removeNetworks(
  ctx: ApiContext,
  networks: readonly Network[],
  signal: AbortSignal,
): Promise<Touched[]> {
  return Promise.all(
    networks.map(async (network) => {
      await removeNetwork(ctx, network, signal).catch(ignoreMissing);
      return { id: network.id, name: network.spec.name, action: 'removed' as const };
    }),
  );
}

/** Somebody else removed it first. */
function ignoreMissing(error: unknown): void {
  if (!(error instanceof NotFoundError)) throw error;
}

export function stackServices(store: Store, stack: string): Service[] {
  return [...liveServices(store)].filter(
    (service) => currentSpec(store, service).labels[STACK_LABEL] === stack,
  );
}

export function stackNetworks(store: Store, stack: string): Network[] {
  return [...store.all('networks').values()].filter((network) => network.spec.labels[STACK_LABEL] === stack);
}

/** Those that were deployed here, and those that a docker client made by labels alone. */
export function stackNames(store: Store): string[] {
  const names = new Set(store.all('stacks').keys());
  for (const service of liveServices(store)) {
    const name = currentSpec(store, service).labels[STACK_LABEL];
    if (name !== undefined) names.add(name);
  }
  return [...names].sort();
}
