/** What managers ask of this node's containers: a list, one, its logs. */
import { NotFoundError } from '../../shared/errors/index.ts';
import type {
  ContainerInfo,
  LogsParams,
  NodeMethods,
  NodeStreams,
  StreamChunk,
} from '../../shared/model/node-methods.ts';
import type { Health } from '../../shared/model/index.ts';
import type { Containers } from './containers.ts';
import { readLog } from './log-reader.ts';
import type { ContainerRecord } from './record.ts';

export class ContainerService {
  readonly #containers: Containers;
  readonly #healthOf: (taskId: string) => Health | undefined;

  constructor(containers: Containers, healthOf: (taskId: string) => Health | undefined) {
    this.#containers = containers;
    this.#healthOf = healthOf;
  }

  async call<M extends keyof NodeMethods>(
    method: M,
    params: NodeMethods[M]['params'],
  ): Promise<NodeMethods[M]['result']> {
    const result: unknown =
      method === 'container.list'
        ? await Promise.all(this.#containers.list().map((record) => this.#describe(record)))
        : await this.#describe(
            this.#find((params as NodeMethods['container.inspect']['params']).containerId),
          );
    return result as NodeMethods[M]['result'];
  }

  stream<M extends keyof NodeStreams>(
    _method: M,
    params: NodeStreams[M],
    signal: AbortSignal,
  ): AsyncIterable<StreamChunk> {
    return this.#logs(params, signal);
  }

  async *#logs(params: LogsParams, signal: AbortSignal): AsyncGenerator<StreamChunk> {
    const record = this.#find(params.containerId);
    const ended = new AbortController();
    const stop = new AbortController();
    const end = (): void => ended.abort();
    this.#containers.wait(record.id, AbortSignal.any([signal, stop.signal])).then(end, end);
    try {
      yield* readLog(this.#containers.logPath(record.id), params, ended.signal, signal);
    } finally {
      stop.abort();
    }
  }

  #find(id: string): ContainerRecord {
    const record = this.#containers.list().find((one) => one.id === id);
    if (record === undefined) throw new NotFoundError(`No such container: ${id}`);
    return record;
  }

  async #describe(record: ContainerRecord): Promise<ContainerInfo> {
    const { exit } = record;
    const live =
      exit === undefined ? await this.#containers.state(record.id).catch(() => undefined) : undefined;
    const health = this.#healthOf(record.taskId);
    const startedAtMs = exit?.startedAtMs ?? live?.startedAtMs;
    return {
      id: record.id,
      taskId: record.taskId,
      name: record.name,
      image: record.image,
      imageId: record.imageId,
      serviceId: record.serviceId,
      serviceName: record.serviceName,
      slot: record.slot,
      labels: record.labels,
      path: record.args[0] ?? '',
      args: record.args.slice(1),
      env: record.env,
      createdAtMs: record.createdAtMs,
      state: stateOf(live?.status),
      pid: live?.status === 'running' ? live.pid : 0,
      logPath: this.#containers.logPath(record.id),
      networks: record.networks,
      ...(health === undefined ? {} : { health }),
      ...(startedAtMs === undefined ? {} : { startedAtMs }),
      ...(exit === undefined
        ? {}
        : { exitCode: exit.exitCode, oomKilled: exit.oomKilled, finishedAtMs: exit.finishedAtMs }),
      ...(exit?.error === undefined ? {} : { error: exit.error }),
    };
  }
}

function stateOf(status: 'created' | 'running' | 'stopped' | undefined): ContainerInfo['state'] {
  return status === 'created' || status === 'running' ? status : 'exited';
}
