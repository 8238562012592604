/** Deploys, lists and removes stacks. */
import { AppError, InvalidError, NotFoundError, UnavailableError } from '../../../shared/errors/index.ts';
import { KeyedMutex } from '../../../shared/lib/mutex.ts';
import type { Network, Service, StackSource, StoredFileKind } from '../../../shared/model/index.ts';
import { sameJson, specOutdated } from '../../plan/reconcile/dirty.ts';
import {
  convertStack,
  type StackContents,
  type StackConversion,
  type StackNetwork,
  type StackService,
} from '../../stack/index.ts';
import type { ApiContext } from '../context.ts';
import { waitForStore } from '../wait.ts';
import { FILE_KINDS } from './files.ts';
import { updateNetworkLabels } from './allow-lists.ts';
import { createNetwork, removeNetwork } from './networks.ts';
import { currentSpec } from './service-reads.ts';
import { createService, removeService, resolveSpec, updateService } from './services.ts';
import { ensureFile, fileDiffers, removeFiles, removeOldVersions, stackFiles } from './stack-files.ts';
import { checkStack, portWarnings } from './stack-check.ts';
import { diffStack, type FileChanged, type StackDiff } from './stack-diff.ts';
import { stackNetworks, stackServices } from './stack-members.ts';
import { withKeptPin } from './stack-pins.ts';
import { checkSourceSize, findRevision, recordRevision, revisionRemoval } from './stack-revisions.ts';
import { type Finding, finding, PartlyDeployedError, StackError } from './stack-error.ts';

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
  /** Of the stack, as it now is; absent once it is removed. */
  readonly revision?: number;
}

export interface DeployRequest extends StackSource {
  readonly stack: string;
  /** Of secrets and configs; not kept with the revision. */
  readonly contents?: StackContents | undefined;
  /** Remove the stack's services that the file does not have. */
  readonly prune: boolean;
  readonly registryAuth: string | undefined;
}

const STACK_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_-]*$/;
const NAME_MAX = 48;
/** A stop grace is 10 s by default. */
const REMOVAL_WAIT_MS = 120_000;
/** One deployment or removal of a stack at a time. */
const busy = new KeyedMutex();

/** All or nothing as far as the file goes: nothing is written while anything is wrong with it. Throws StackError. */
export function deployStack(
  ctx: ApiContext,
  request: DeployRequest,
  signal: AbortSignal,
): Promise<Deployment> {
  const { stack } = request;
  return busy.run(stack, async () => apply(ctx, request, checked(ctx, stack, request), signal));
}

/** Throws InvalidError and StackError, with all that is wrong. */
function checked(ctx: ApiContext, stack: string, source: StackSource): StackConversion {
  if (!STACK_NAME.test(stack) || stack.length > NAME_MAX) {
    throw new InvalidError(
      `'${stack}' is no valid stack name: letters, digits, - and _, at most ${NAME_MAX}, the first a letter or digit`,
    );
  }
  const { compose, files, variables, profiles } = source;
  checkSourceSize({ compose, files, variables, profiles });
  const conversion = convertStack({ ...source, stack });
  const wrong = conversion.problems.filter((problem) => problem.severity === 'error');
  if (wrong.length > 0) throw new StackError(stack, wrong);
  const unfit = checkStack(ctx.store, stack, conversion);
  if (unfit.length > 0) throw new StackError(stack, unfit);
  return conversion;
}

/** What a deployment would do. Throws as the deployment would. */
export function compareStack(
  ctx: ApiContext,
  stack: string,
  source: StackSource & { readonly contents?: StackContents | undefined },
): StackDiff & { readonly warnings: readonly Finding[] } {
  const conversion = checked(ctx, stack, source);
  const changed: FileChanged = (existing, wanted) => fileDiffers(ctx, existing, wanted);
  const warnings = warningsOf(ctx, conversion);
  return { ...diffStack(ctx.store, stack, conversion, changed), warnings };
}

/** The stack as a former revision had it: what came later is removed. A new revision. Throws NotFoundError. */
export function rollbackStack(
  ctx: ApiContext,
  stack: string,
  revision: number | undefined,
  signal: AbortSignal,
): Promise<Deployment> {
  const { source } = findRevision(ctx.store, stack, revision);
  return deployStack(ctx, { ...source, stack, prune: true, registryAuth: undefined }, signal);
}

function warningsOf({ store }: ApiContext, { problems, services }: StackConversion): Finding[] {
  return [...problems, ...portWarnings(store, services)].map(finding);
}

interface Done {
  readonly networks: Touched[];
  readonly secret: Touched[];
  readonly config: Touched[];
  readonly services: Touched[];
}

async function apply(
  ctx: ApiContext,
  request: DeployRequest,
  conversion: StackConversion,
  signal: AbortSignal,
): Promise<Deployment> {
  const warnings = warningsOf(ctx, conversion);
  const done: Done = { networks: [], secret: [], config: [], services: [] };
  try {
    await bring(ctx, request, conversion, done, warnings, signal);
    if (request.prune) await prune(ctx, request.stack, conversion, done, warnings, signal);
  } catch (error) {
    throw partly(request.stack, done, error);
  }
  await removeOldVersions(ctx, request.stack, signal);
  const { compose, files, variables, profiles } = request;
  const source = { compose, files, variables, profiles };
  const revision = await recordRevision(ctx, request.stack, source, signal);
  const { networks, services } = done;
  return { warnings, services, networks, secrets: done.secret, configs: done.config, revision };
}

/** Creates and updates what the files have. */
async function bring(
  ctx: ApiContext,
  request: DeployRequest,
  conversion: StackConversion,
  done: Done,
  warnings: Finding[],
  signal: AbortSignal,
): Promise<void> {
  for (const network of conversion.networks) {
    if (network.spec !== undefined) done.networks.push(await ensureNetwork(ctx, network, warnings, signal));
  }
  for (const file of conversion.files) {
    done[file.kind].push(...(await ensureFile(ctx, file, warnings, signal)));
  }
  const renewed = new Set<string>();
  for (const service of conversion.services) {
    done.services.push(await ensureService(ctx, request, service, renewed, signal));
  }
}

/** Removes what the files do not have. */
async function prune(
  ctx: ApiContext,
  stack: string,
  conversion: StackConversion,
  done: Done,
  warnings: Finding[],
  signal: AbortSignal,
): Promise<void> {
  const kept = new Set(conversion.services.map(({ spec }) => spec.name));
  const extra = stackServices(ctx.store, stack).filter((service) => !kept.has(service.name));
  done.services.push(...(await removeServices(ctx, extra, signal)));
  const names = new Set(conversion.networks.map(({ name }) => name));
  const idle = stackNetworks(ctx.store, stack).filter((network) => !names.has(network.spec.name));
  done.networks.push(...(await removeNetworks(ctx, idle, signal)));
  const named = new Set(conversion.files.map(({ name }) => name));
  for (const kind of FILE_KINDS) {
    done[kind].push(...(await removeFiles(ctx, stack, kind, named, warnings, signal)));
  }
}

/** The same error, unless something was done before it. */
function partly(stack: string, { networks, secret, config, services }: Done, error: unknown): unknown {
  if (!(error instanceof AppError)) return error;
  const say = (kind: string, list: readonly Touched[]): string[] =>
    list.flatMap(({ name, action }) => (action === 'unchanged' ? [] : [`${kind} ${name} ${action}`]));
  const all = [
    ...say('network', networks),
    ...say('secret', secret),
    ...say('config', config),
    ...say('service', services),
  ];
  return all.length === 0 ? error : new PartlyDeployedError(stack, all, error);
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
  if (!sameJson({ ...wanted, labels: existing.spec.labels }, existing.spec)) {
    const message = `network ${name} stays as it was created, but for its labels: networks can only be removed and created`;
    warnings.push(finding({ message, ...network.at, key: `networks.${network.key}` }));
  }
  const relabelled = !sameJson(wanted.labels, existing.spec.labels);
  if (relabelled) await updateNetworkLabels(ctx, existing, wanted.labels, signal);
  return { id: existing.id, name, action: relabelled ? 'updated' : 'unchanged' };
}

/** `renewed` has the keys of the services whose tasks this deployment replaces; it is added to. */
async function ensureService(
  ctx: ApiContext,
  request: DeployRequest,
  { key, spec: converted, dependencies }: StackService,
  renewed: Set<string>,
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
  // `restart: true`: its tasks are replaced because those of a dependency are.
  const restarts = dependencies.some((dependency) => dependency.restart && renewed.has(dependency.key));
  const forceUpdate = current.forceUpdate + (restarts ? 1 : 0);
  const spec = resolveSpec(store, { ...withKeptPin(converted, current), forceUpdate, ...kept, ...auth });
  if (sameJson(spec, current)) return { id, name, action: 'unchanged' };
  if (specOutdated(current, spec)) renewed.add(key);
  await updateService(ctx, existing, { version: store.version('services', id), spec }, signal);
  return { id, name, action: 'updated' };
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
    if (recorded) await store.commit(revisionRemoval(store, stack), { signal });
    const left = await removeNetworks(ctx, networks, signal);
    const warnings: Finding[] = [];
    const clear = (kind: StoredFileKind): Promise<Touched[]> =>
      removeFiles(ctx, stack, kind, new Set(), warnings, signal);
    const secrets = await clear('secret');
    return { services: removed, networks: left, secrets, configs: await clear('config'), warnings };
  });
}

/** Waits until their last task has stopped. */
async function removeServices(
  ctx: ApiContext,
  services: readonly Service[],
  signal: AbortSignal,
): Promise<Touched[]> {
  const removed = await Promise.all(
    services.map(async ({ id, name }) => {
      await removeService(ctx, id, signal).catch(ignoreMissing);
      return { id, name, action: 'removed' as const };
    }),
  );
  const left = (): string[] =>
    services.flatMap(({ id, name }) => (ctx.store.get('services', id) === undefined ? [] : [name]));
  if (await waitForStore(ctx.store, () => left().length === 0, REMOVAL_WAIT_MS, signal)) return removed;
  throw new UnavailableError(
    `still being removed after ${REMOVAL_WAIT_MS / 1000} s, since tasks have not stopped: ${left().join(', ')}`,
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
