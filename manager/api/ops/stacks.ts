/** Deploys, lists and removes stacks. */
import { InvalidError, NotFoundError } from '../../../shared/errors/index.ts';
import { KeyedMutex } from '../../../shared/lib/mutex.ts';
import type {
  Network,
  Service,
  ServiceSpec,
  StackSource,
  StoredFileKind,
} from '../../../shared/model/index.ts';
import { sameJson } from '../../plan/reconcile/dirty.ts';
import {
  convertStack,
  type StackContents,
  type StackConversion,
  type StackNetwork,
} from '../../stack/index.ts';
import type { ApiContext } from '../context.ts';
import { FILE_KINDS } from './files.ts';
import { createNetwork, removeNetwork } from './networks.ts';
import { currentSpec } from './service-reads.ts';
import { createService, removeService, resolveSpec, updateService } from './services.ts';
import { ensureFile, removeFiles, removeOldVersions, stackFiles } from './stack-files.ts';
import { checkStack } from './stack-check.ts';
import { diffStack, type StackDiff } from './stack-diff.ts';
import { stackNetworks, stackServices } from './stack-members.ts';
import { withKeptPin } from './stack-pins.ts';
import { checkSourceSize, findRevision, recordRevision, revisionRemoval } from './stack-revisions.ts';
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
  checkSourceSize(source);
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
  source: StackSource,
): StackDiff & { readonly warnings: readonly Finding[] } {
  const conversion = checked(ctx, stack, source);
  return { ...diffStack(ctx.store, stack, conversion), warnings: conversion.problems.map(finding) };
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
  const { compose, variables, profiles } = request;
  const source = { compose, files: request.files, variables, profiles };
  const revision = await recordRevision(ctx, request.stack, source, signal);
  return { warnings, services, networks, secrets: files.secret, configs: files.config, revision };
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
    warnings.push(finding({ message, ...network.at, key: `networks.${network.key}` }));
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
  const wanted = withKeptPin(converted, current);
  const spec = resolveSpec(store, { ...wanted, forceUpdate: current.forceUpdate, ...kept, ...auth });
  if (sameJson(spec, current)) return { id, name, action: 'unchanged' };
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
