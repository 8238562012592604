/** A dispatcher on a real TLS port over a store in memory, and agents' links to it. */
import { createHash } from 'node:crypto';
import type { ExecutionContext } from 'ava';
import type { Link, LinkHandlers } from '../../../agent/session/link.ts';
import type { Identity } from '../../../agent/session/identity.ts';
import { join } from '../../../agent/session/join.ts';
import { SessionLink } from '../../../agent/session/session-link.ts';
import type { RootMaterial } from '../../../manager/ca/authority.ts';
import { joinTokens, openSecrets } from '../../../manager/ca/cluster.ts';
import { type RunningDispatcher, startDispatcher } from '../../../manager/dispatcher/start-dispatcher.ts';
import type { Store } from '../../../manager/store/store.ts';
import type { Clock } from '../../../shared/lib/clock.ts';
import { NotFoundError } from '../../../shared/errors/index.ts';
import type {
  AssignmentSet,
  Logger,
  NodeDescription,
  Service,
  ServiceSpec,
  Task,
  TaskState,
  TaskStatus,
} from '../../../shared/model/index.ts';
import { DEFAULT_RESTART, DEFAULT_UPDATE } from '../../../shared/model/index.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { testVault } from '../../harness/vault.ts';
import { newSpecKeys } from '../../../shared/wire/spec-keys.ts';

export const quiet: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => quiet,
};

export interface TestAgent {
  readonly nodeId: string;
  readonly link: Link;
  /** Every set that was handed over, oldest first. */
  readonly sets: AssignmentSet[];
  readonly stop: () => Promise<void>;
}

export interface Rig {
  readonly store: Store;
  readonly dispatcher: RunningDispatcher;
  readonly signal: AbortSignal;
  readonly address: string;
  readonly tokens: { worker: string; manager: string };
  /** A machine that has joined, without a link. */
  joined(hostname: string): Promise<Identity>;
  agent(hostname: string, handlers?: Partial<LinkHandlers>): Promise<TestAgent>;
}

export interface RigOptions {
  readonly nodeDownAfterMs?: number;
  readonly withdrawTimeoutMs?: number;
  readonly store?: Store;
  readonly port?: number;
  readonly clock?: Clock;
  readonly certificateLifeMs?: number;
  readonly root?: RootMaterial;
  readonly logger?: Logger;
}

/** Everything is undone when the test ends. */
export async function rig(t: ExecutionContext, options: RigOptions = {}): Promise<Rig> {
  const abort = new AbortController();
  const { signal } = abort;
  const store = options.store ?? new MemoryStore();
  const dispatcher = await startDispatcher({
    store,
    vault: testVault,
    clusterOptions: {
      nodeDownAfterMs: options.nodeDownAfterMs ?? 2000,
      ...(options.root === undefined ? {} : { root: options.root }),
      ...(options.certificateLifeMs === undefined ? {} : { certificateLifeMs: options.certificateLifeMs }),
    },
    ...(options.withdrawTimeoutMs === undefined ? {} : { withdrawTimeoutMs: options.withdrawTimeoutMs }),
    listen: { host: '127.0.0.1', port: options.port ?? 0 },
    logger: options.logger ?? quiet,
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    signal,
  });
  const address = `127.0.0.1:${dispatcher.address.port}`;
  const tokens = joinTokens(openSecrets(testVault, dispatcher.cluster), dispatcher.authority.digest);
  t.teardown(async () => {
    abort.abort();
    await dispatcher.close();
  });
  const joined = (hostname: string): Promise<Identity> =>
    join({ token: tokens.worker, managers: [address], hostname }, signal);
  const agent = async (hostname: string, handlers: Partial<LinkHandlers> = {}): Promise<TestAgent> => {
    return startAgent({ address, identity: await joined(hostname), hostname, handlers, signal });
  };
  return { store, dispatcher, signal, address, tokens, joined, agent };
}

export function startAgent(options: {
  address: string;
  identity: Pick<Identity, 'nodeId' | 'ca' | 'cert' | 'key' | 'removedManagers'>;
  onRefused?: (signal: AbortSignal) => Promise<void>;
  onRemovedManagers?: (ids: readonly string[]) => void;
  hostname: string;
  handlers?: Partial<LinkHandlers>;
  logger?: Logger;
  clock?: Clock;
  signal: AbortSignal;
}): TestAgent {
  const { address, identity, hostname, handlers, clock, onRefused, onRemovedManagers } = options;
  const sets: AssignmentSet[] = [];
  const abort = new AbortController();
  const link = new SessionLink(
    {
      nodeId: identity.nodeId,
      managers: [address],
      description: { ...description(hostname), address: addressOf(identity.nodeId) },
      tls: identity,
      ...(clock === undefined ? {} : { clock }),
      ...(onRefused === undefined ? {} : { onRefused }),
      ...(onRemovedManagers === undefined ? {} : { onRemovedManagers }),
    },
    {
      onAssignments: (set, acknowledge, whole) => {
        sets.push(set);
        if (handlers?.onAssignments === undefined) acknowledge();
        else handlers.onAssignments(set, acknowledge, whole);
      },
      call: handlers?.call ?? (() => Promise.reject(new NotFoundError('no such container'))),
      stream: handlers?.stream ?? noStream,
    },
    options.logger ?? quiet,
  );
  const running = link.run(AbortSignal.any([options.signal, abort.signal]));
  const stop = async (): Promise<void> => {
    abort.abort();
    await running;
  };
  return { nodeId: identity.nodeId, link, sets, stop };
}

async function* noStream(): AsyncGenerator<never> {
  yield await Promise.reject(new NotFoundError('no such container'));
}

/** Each host name has an address of its own. */
export function addressOf(hostname: string): string {
  const digest = createHash('sha256').update(hostname).digest();
  return `10.${digest[0]}.${digest[1]}.${digest[2]}`;
}

export function description(hostname: string): NodeDescription {
  return {
    hostname,
    os: 'linux',
    arch: 'x86_64',
    nanoCpus: 2_000_000_000,
    memoryBytes: 1_000_000_000,
    localSubnets: [],
    engineVersion: '0.1.0',
    knows: newSpecKeys(),
    engineLabels: {},
    address: addressOf(hostname),
  };
}

export function serviceSpec(name: string, networks: readonly string[] = []): ServiceSpec {
  return {
    name,
    labels: {},
    mode: { kind: 'replicated', replicas: 1 },
    container: { image: 'busybox', labels: {}, command: [], args: [], env: [], mounts: [] },
    limits: {},
    reservations: {},
    restart: DEFAULT_RESTART,
    placement: { constraints: [], spread: [], maxReplicasPerNode: 0 },
    update: DEFAULT_UPDATE,
    rollback: DEFAULT_UPDATE,
    networks: networks.map((network) => ({ network, aliases: [`${name}-alias`] })),
    endpointMode: 'vip',
    ports: [],
    forceUpdate: 0,
  };
}

export function service(id: string): Service {
  return { id, name: id, revision: 1, createdAtMs: 1, updatedAtMs: 1 };
}

export function task(id: string, serviceId: string, nodeId: string, more: Partial<Task> = {}): Task {
  return {
    id,
    serviceId,
    revision: 1,
    slot: 1,
    nodeId,
    desired: 'running',
    createdAtMs: 1,
    desiredAtMs: 1,
    addresses: [],
    ...more,
  };
}

export function status(taskId: string, state: TaskState, more: Partial<TaskStatus> = {}): TaskStatus {
  return { taskId, state, atMs: 1, message: state, ...more };
}

/** A service of one revision, on these networks. */
export async function addService(
  r: Pick<Rig, 'store' | 'signal'>,
  id: string,
  networks: readonly string[] = [],
  more: Partial<ServiceSpec> = {},
): Promise<void> {
  const revision = {
    id: `${id}.1`,
    serviceId: id,
    revision: 1,
    createdAtMs: 1,
    spec: { ...serviceSpec(id, networks), ...more },
  };
  await r.store.commit(
    [
      { table: 'services', key: id, value: service(id) },
      { table: 'revisions', key: `${id}.1`, value: revision },
    ],
    { signal: r.signal },
  );
}

export async function putTask(r: Pick<Rig, 'store' | 'signal'>, value: Task): Promise<void> {
  await r.store.commit([{ table: 'tasks', key: value.id, value }], { signal: r.signal });
}

/** Looks until the condition holds; fails with what was waited for. */
export async function eventually(what: string, holds: () => boolean, withinMs = 20_000): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
