/** A cluster for API tests in one process: a real plan decides, and nodes that are objects do at once what they are told. */
import { type Plan, plan } from '../../../manager/plan/plan.ts';
import { effectiveState, isWanted } from '../../../manager/plan/states.ts';
import { viewOf } from '../../../manager/plan/view.ts';
import { newKeysOf, newKeysOfNetwork } from '../../../shared/wire/spec-keys.ts';
import { ConflictError, NotFoundError } from '../../../shared/errors/index.ts';
import { compareStates, isTerminal, type Task, type TaskState } from '../../../shared/model/index.ts';
import type { ContainerInfo } from '../../../shared/model/node-methods/index.ts';
import { ApiFixture, type Json } from './fixture.ts';

/** A cluster of two nodes that have `busybox`. Commands that end do so when the test says. */
export class Cluster implements AsyncDisposable {
  readonly api: ApiFixture;
  /** Containers whose commands can not be run. */
  readonly broken = new Set<string>();
  /** Neither plans nor obeys. */
  idle = false;
  #calls = 0;
  #work: Promise<void> = Promise.resolve();

  private constructor(api: ApiFixture) {
    this.api = api;
  }

  static async up(): Promise<Cluster> {
    const api = await ApiFixture.up();
    api.obeys = false;
    const cluster = new Cluster(api);
    for (const [id, node] of api.nodes) {
      node.answers.set('image.inspect', ({ reference }: { reference: string }) => {
        if (reference !== 'busybox') throw new NotFoundError(`No such image: ${reference}`);
        return { config: { exposedPorts: ['80/tcp'] } };
      });
      node.answers.set('volume.list', () => ({ volumes: [], freeBytes: 0 }));
      node.answers.set('container.list', () => cluster.#infos(id));
      node.answers.set('container.inspect', ({ containerId }: { containerId: string }) =>
        cluster.#infos(id).find((info) => info.id === containerId),
      );
      node.answers.set('container.stop', async ({ containerId }: { containerId: string }) => {
        await cluster.end(containerId, 143);
        return { stopped: false };
      });
      node.answers.set('container.kill', async ({ containerId }: { containerId: string }) => {
        await cluster.end(containerId, 137);
        return {};
      });
      node.answers.set('container.until-removed', () => ({}));
    }
    api.store.onChange(() => {
      cluster.#work = cluster.#work.then(() => cluster.#turn());
    });
    await cluster.#turn();
    return cluster;
  }

  /** Plans, and lets the nodes do what that asks for. */
  async #turn(): Promise<void> {
    const { store } = this.api;
    if (this.idle || this.api.stopping.signal.aborted) return;
    const view = viewOf(store, { newKeysOf, newKeysOfNetwork });
    if (view === undefined) return;
    this.#calls += 1;
    const decided = plan(view, {
      dirtyServices: 'all',
      now: Date.now(),
      seed: String(this.#calls),
      limit: 100,
    });
    if (decided.writes.length > 0) return this.#write(decided);
    for (const task of store.all('tasks').values()) {
      const state = effectiveState(task, store.get('statuses', task.id));
      if (task.nodeId === undefined || isTerminal(state)) continue;
      const next = this.#next(task);
      if (compareStates(state, next) < 0) return this.report(task.id, next);
    }
  }

  async wake(): Promise<void> {
    await (this.#work = this.#work.then(() => this.#turn()));
  }

  async #write({ writes }: Plan): Promise<void> {
    await this.api.write(writes);
  }

  #next(task: Task): TaskState {
    if (!isWanted(task)) return 'shutdown';
    if (task.desired === 'ready') return 'ready';
    return this.broken.has(task.serviceId) ? 'failed' : 'running';
  }

  async report(taskId: string, state: TaskState, exitCode?: number): Promise<void> {
    const { store } = this.api;
    const task = store.get('tasks', taskId);
    const mode = store.get('revisions', `${task?.serviceId}.${task?.revision}`)?.spec.mode;
    const containerId = mode?.kind === 'container' ? mode.containerId : '';
    const before = store.get('statuses', taskId);
    const startedAtMs = before?.startedAtMs ?? (state === 'running' ? Date.now() : undefined);
    const broken = this.broken.has(task?.serviceId ?? '');
    const value = {
      taskId,
      state,
      atMs: Date.now(),
      message: state,
      container: { containerId, ...(exitCode === undefined ? {} : { exitCode }) },
      ...(startedAtMs === undefined ? {} : { startedAtMs }),
      ...(state === 'failed' && broken ? { error: 'exec: "x": executable file not found in the image' } : {}),
    };
    await this.api.write([{ table: 'statuses', key: taskId, value }]);
  }

  /** Its command ends. */
  async end(containerId: string, exitCode: number): Promise<void> {
    const { store } = this.api;
    for (const task of store.all('tasks').values()) {
      if (!containerId.startsWith(task.serviceId)) continue;
      if (store.get('statuses', task.id)?.state !== 'running') continue;
      return this.report(task.id, exitCode === 0 ? 'complete' : 'failed', exitCode);
    }
    throw new ConflictError('is not running');
  }

  #infos(nodeId: string): ContainerInfo[] {
    const { store } = this.api;
    return [...store.all('tasks').values()].flatMap((task): ContainerInfo[] => {
      const status = store.get('statuses', task.id);
      if (task.nodeId !== nodeId || status?.container === undefined) return [];
      const spec = store.get('revisions', `${task.serviceId}.${task.revision}`)?.spec;
      const ended = isTerminal(status.state);
      const state = ended ? 'exited' : status.state === 'running' ? 'running' : 'created';
      const base = {
        serviceId: task.serviceId,
        serviceName: 'old',
        slot: 1,
        args: [],
        env: [],
        networks: [],
      };
      const details = {
        ...{ hostname: 'h', domainname: '', user: '', workingDir: '', entrypoint: [], cmd: [] },
        ...{ exposedPorts: ['80/tcp'], volumes: [], stopSignal: '', mounts: [] },
      };
      return [
        {
          ...base,
          id: status.container.containerId,
          taskId: task.id,
          name: 'old',
          image: 'busybox',
          imageId: 'sha256:ab',
          labels: spec?.container.labels ?? {},
          path: 'sh',
          createdAtMs: task.createdAtMs,
          state,
          pid: 1,
          logPath: '',
          details,
          ...(ended ? { exitCode: status.container.exitCode ?? 0, finishedAtMs: status.atMs } : {}),
        },
      ];
    });
  }

  async create(name: string, body: object = {}): Promise<string> {
    const { status, json } = await this.api.send('POST', `/containers/create?name=${name}`, {
      Image: 'busybox',
      ...body,
    });
    if (status !== 201) throw new Error(`${status} ${JSON.stringify(json)}`);
    return json.Id;
  }

  async post(path: string, body?: object): Promise<number> {
    return (await this.api.send('POST', path, body)).status;
  }

  async names(query = ''): Promise<string[]> {
    const found = await this.api.get(`/containers/json?all=1${query}`);
    return found.map(({ Names }: Json) => Names[0]).toSorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api[Symbol.asyncDispose]();
    await this.#work;
  }
}
