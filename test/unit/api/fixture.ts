/** The API over a store in memory and nodes that are objects, served on a unix socket; and a leader that obeys at once. */
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type ApiOptions, createApi, listenUnix } from '../../../manager/api/index.ts';
import { EventLog } from '../../../manager/api/events/event-log.ts';
import { loadOrCreateCluster } from '../../../manager/ca/cluster.ts';
import type { NodeGateway } from '../../../manager/dispatcher/node-gateway.ts';
import type { Change, Write } from '../../../manager/store/store.ts';
import { NotFoundError, UnavailableError } from '../../../shared/errors/index.ts';
import { newContainerId, newId } from '../../../shared/lib/ids.ts';
import type { Node, Service, Task, TaskStatus } from '../../../shared/model/index.ts';
import type {
  ContainerInfo,
  ContainerSample,
  LogsParams,
  StreamChunk,
} from '../../../shared/model/node-methods/index.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { testVault } from '../../harness/vault.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { serveContainer } from './single-container.ts';
import { newSpecKeys } from '../../../shared/wire/spec-keys.ts';

/** What the API answered, looked at freely. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Json = any;

export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
  readonly json: Json;
}

/** What a node has, for the gateway. */
export interface FakeNode {
  connected: boolean;
  containers: ContainerInfo[];
  /** Log records by container id. */
  logs: Map<string, StreamChunk[]>;
  /** What it answers to calls and streams besides these, by method. */
  answers: Map<string, (params: Json, input?: AsyncIterable<Buffer>) => Json>;
  /** Answers streams with input; none: they are refused. */
  duplex?: (
    method: string,
    params: Json,
    input: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ) => AsyncIterable<StreamChunk>;
  /** While true, calls never answer (until they are cancelled). */
  silent: boolean;
  /** Streams of it that are read now: each is ended by its entry. */
  readonly streams: Set<(error: Error) => void>;
  /** Log records that were taken from it. */
  given: number;
  /** What containers use; and how often it was asked. */
  sample: ContainerSample | undefined;
  sampled: number;
  /** Ends all its streams as a session's end would. */
  breakStreams(error: Error): void;
}

function fakeNode(): FakeNode {
  const streams = new Set<(error: Error) => void>();
  const breakStreams = (error: Error): void => {
    for (const end of [...streams]) end(error);
  };
  const counts = { given: 0, sampled: 0, sample: undefined };
  return {
    connected: true,
    containers: [],
    logs: new Map(),
    answers: noImages(),
    silent: false,
    streams,
    ...counts,
    breakStreams,
  };
}

export class ApiFixture implements AsyncDisposable {
  readonly store = new MemoryStore();
  readonly nodes = new Map<string, FakeNode>();
  readonly events = new EventLog(this.store, { now: () => Date.now() });
  readonly stopping = new AbortController();
  socket = '';
  /** Tasks run, and services go, as soon as they are asked to; false: the test does it. */
  obeys = true;
  /** At most so many tasks of a service, however many it asks for. */
  mostTasks = Infinity;
  /** How many clients are connected. */
  connections: () => Promise<number> = () => Promise.resolve(0);
  #directory = '';
  #close: () => Promise<void> = async () => undefined;

  static async up(nodeCount = 2, more: Partial<ApiOptions> = {}): Promise<ApiFixture> {
    const fixture = new ApiFixture();
    const { store } = fixture;
    const signal = fixture.stopping.signal;
    await loadOrCreateCluster(store, testVault, {}, Date.now(), signal);
    for (let i = 1; i <= nodeCount; i += 1) await fixture.addNode(`a${i}`, i);
    store.onChange((changes) => fixture.#obey(changes));
    const api = createApi({ ...fixture.options(), ...more });
    fixture.#directory = await mkdtemp(join(tmpdir(), 'shoal-api-'));
    fixture.socket = join(fixture.#directory, 'api.sock');
    const server = await listenUnix(fixture.socket, api, { mode: 0o600 });
    fixture.#close = () => server.close();
    fixture.connections = promisify(server.server.getConnections.bind(server.server));
    return fixture;
  }

  options(): ApiOptions {
    return {
      store: this.store,
      gateway: this.gateway(),
      vault: testVault,
      version: '0.1.0',
      clusterName: 'test',
      managerNodeId: () => 'nodea1',
      managerAddress: '10.1.0.1:7300',
      leader: () => 'nodea1',
      logger: silentLogger,
      clock: { now: () => Date.now() },
      events: this.events,
      signal: this.stopping.signal,
    };
  }

  async addNode(hostname: string, index: number): Promise<void> {
    const id = `node${hostname}`;
    const description = {
      hostname,
      os: 'linux',
      arch: 'x86_64',
      nanoCpus: 2e9,
      memoryBytes: 2 ** 31,
      localSubnets: [],
      engineVersion: '0.1.0',
      knows: newSpecKeys(),
      engineLabels: { disk: 'ssd' },
      address: `10.1.0.${index}`,
    };
    const value: Node = {
      id,
      index,
      description,
      spec: { role: index === 1 ? 'manager' : 'worker', availability: 'active', labels: {} },
      status: 'ready',
      statusAtMs: 1,
      createdAtMs: 1,
      updatedAtMs: 1,
    };
    this.nodes.set(id, fakeNode());
    await this.write([{ table: 'nodes', key: id, value }]);
  }

  write(writes: readonly Write[]): Promise<number> {
    return this.store.commit(writes, { signal: this.stopping.signal });
  }

  gateway(): NodeGateway {
    const nodeOf = (nodeId: string): FakeNode => {
      const node = this.nodes.get(nodeId);
      if (node?.connected !== true) throw new UnavailableError(`node ${nodeId} is not connected`);
      return node;
    };
    return {
      connected: (nodeId) => this.nodes.get(nodeId)?.connected === true,
      call: async (nodeId, method, params, signal): Promise<Json> => {
        const node = nodeOf(nodeId);
        if (node.silent)
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        const answer = node.answers.get(method);
        if (answer !== undefined) return answer(params);
        if (method === 'container.list') return node.containers;
        if (method === 'container.sample') {
          node.sampled += 1;
          return node.sample === undefined ? {} : { sample: node.sample };
        }
        const { containerId } = params as { containerId: string };
        const found = node.containers.find((container) => container.id === containerId);
        if (found === undefined && method === 'container.inspect')
          throw new NotFoundError(`No such container: ${containerId}`);
        return found;
      },
      stream: (nodeId, method, params, signal) =>
        nodeOf(nodeId).answers.get(method)?.(params) ??
        logStream(nodeOf(nodeId), params as LogsParams, signal),
      duplex: (nodeId, method, params, input, signal) => {
        const { duplex, answers } = nodeOf(nodeId);
        const answer = answers.get(method);
        if (answer !== undefined) return answer(params, input);
        if (duplex === undefined) throw new UnavailableError('this fixture has no commands');
        return duplex(method, params, input, signal);
      },
    };
  }

  /** One request over the socket. `body`: JSON unless it is text. */
  send(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
    signal?: AbortSignal,
  ): Promise<Answer> {
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const req = request(
        { socketPath: this.socket, method, path, headers, ...(signal && { signal }) },
        (res) => {
          const parts: Buffer[] = [];
          res.on('data', (part: Buffer) => parts.push(part));
          res.on('error', reject);
          res.on('end', () => {
            const all = Buffer.concat(parts);
            resolve({ status: res.statusCode ?? 0, headers: res.headers, body: all, json: tryJson(all) });
          });
        },
      );
      req.on('error', reject);
      req.end(text);
    });
  }

  async get(path: string): Promise<Json> {
    const answer = await this.send('GET', path);
    if (answer.status !== 200) throw new Error(`GET ${path}: ${answer.status} ${answer.body.toString()}`);
    return answer.json;
  }

  #obey(changes: readonly Change[]): void {
    if (!this.obeys) return;
    for (const change of changes) {
      if (change.table === 'services' && change.after !== undefined) void this.#serve(change.after);
    }
  }

  /** What the leader and the agents would do, at once. */
  async #serve(service: Service): Promise<void> {
    const tasks = [...this.store.tasksOfService(service.id)].flatMap(
      (id) => this.store.get('tasks', id) ?? [],
    );
    if (service.removing === true) {
      await this.write([
        ...tasks.flatMap((task): Write[] => [
          { table: 'tasks', key: task.id, value: null },
          { table: 'statuses', key: task.id, value: null },
        ]),
        { table: 'services', key: service.id, value: null },
        {
          table: 'names',
          key: `${service.run === undefined ? 'service' : 'container'}:${service.name}`,
          value: null,
        },
      ]);
      return;
    }
    if (service.run !== undefined) return this.#serveSingle(service);
    const spec = this.store.get('revisions', `${service.id}.${service.revision}`)?.spec;
    const nodes = [...this.store.all('nodes').keys()];
    const wanted = spec?.mode.kind === 'replicated' ? spec.mode.replicas : nodes.length;
    const current = tasks.filter((task) => task.revision === service.revision);
    const writes: Write[] = tasks
      .filter((task) => task.revision !== service.revision && task.desired === 'running')
      .flatMap((task) => stopped(task, this.store.get('statuses', task.id)));
    for (let slot = current.length + 1; slot <= Math.min(wanted, this.mostTasks); slot += 1) {
      writes.push(
        ...runningTask(service, slot, nodes[(slot - 1) % nodes.length] ?? '', spec?.mode.kind === 'global'),
      );
    }
    if (writes.length > 0) await this.write(writes);
  }

  async #serveSingle(service: Service): Promise<void> {
    const { writes, info } = serveContainer(this.store, service);
    if (info === undefined) return;
    for (const node of this.nodes.values())
      node.containers = node.containers.filter(({ id }) => id !== info.id);
    this.nodes.get(placeOf(writes))?.containers.push(info);
    await this.write(writes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.obeys = false;
    this.stopping.abort();
    await this.#close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** A node without images, which reaches no registry. */
function noImages(): FakeNode['answers'] {
  const none = ({ reference }: { reference: string }): never => {
    throw new NotFoundError(`No such image: ${reference}`);
  };
  return new Map<string, (params: Json) => Json>([
    ['volume.list', () => ({ volumes: [], freeBytes: 0 })],
    ['image.list', () => []],
    ['volume.list', () => ({ volumes: [], freeBytes: 0 })],
    ['image.inspect', none],
    ['image.describe-remote', none],
  ]);
}

function placeOf(writes: readonly Write[]): string {
  for (const write of writes)
    if (write.table === 'tasks' && write.value !== null) return write.value.nodeId ?? '';
  return '';
}

export function runningTask(service: Service, slot: number, nodeId: string, global = false): Write[] {
  const id = newId();
  const now = Date.now();
  const task: Task = {
    id,
    serviceId: service.id,
    revision: service.revision,
    slot: global ? 0 : slot,
    nodeId,
    desired: 'running',
    createdAtMs: now,
    desiredAtMs: now,
    addresses: [],
  };
  const container = { containerId: newContainerId(), pid: 100 + slot };
  const status: TaskStatus = { taskId: id, state: 'running', atMs: now, message: 'started', container };
  return [
    { table: 'tasks', key: id, value: task },
    { table: 'statuses', key: id, value: status },
  ];
}

function stopped(task: Task, status: TaskStatus | undefined): Write[] {
  const now = Date.now();
  const value: TaskStatus = { taskId: task.id, ...status, state: 'shutdown', atMs: now, message: 'shutdown' };
  return [
    { table: 'tasks', key: task.id, value: { ...task, desired: 'shutdown', desiredAtMs: now } },
    { table: 'statuses', key: task.id, value },
  ];
}

async function* logStream(
  node: FakeNode,
  params: LogsParams,
  signal: AbortSignal,
): AsyncGenerator<StreamChunk> {
  const records = node.logs.get(params.containerId) ?? [];
  const wanted = records.filter((record) => (record.stream === 1 ? params.stdout : params.stderr));
  const broken = new AbortController();
  const end = (error: Error): void => broken.abort(error);
  node.streams.add(end);
  try {
    for (const record of params.tail === undefined ? wanted : wanted.slice(-params.tail)) {
      signal.throwIfAborted();
      node.given += 1;
      yield record;
    }
    if (!params.follow) return;
    const either = AbortSignal.any([signal, broken.signal]);
    await new Promise((_, reject) => {
      if (either.aborted) reject(either.reason);
      either.addEventListener('abort', () => reject(either.reason), { once: true });
    });
  } finally {
    node.streams.delete(end);
  }
}

function tryJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}
