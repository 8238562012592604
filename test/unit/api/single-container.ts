/** What the leader and a node do for a single container, at once: for API tests in one process. */
import type { Revision, Service, Task, TaskStatus } from '../../../shared/model/index.ts';
import { newestTask } from '../../../manager/plan/reconcile/container.ts';
import { newId } from '../../../shared/lib/ids.ts';
import type { ContainerInfo } from '../../../shared/model/node-methods/index.ts';
import type { Store, Write } from '../../../manager/store/store.ts';

export interface ServedContainer {
  readonly writes: readonly Write[];
  /** As its node then describes it. */
  readonly info?: ContainerInfo;
}

/** Makes it, starts it, or ends it, as is wanted. Nothing to do: no writes. */
export function serveContainer(store: Store, service: Service): ServedContainer {
  const revision = store.get('revisions', `${service.id}.${service.revision}`);
  const { run } = service;
  if (run === undefined || revision?.spec.mode.kind !== 'container') return { writes: [] };
  const { containerId, nodes = [] } = revision.spec.mode;
  const tasks = [...store.tasksOfService(service.id)].flatMap((id) => store.get('tasks', id) ?? []);
  const latest = newestTask(tasks);
  const state = latest === undefined ? undefined : store.get('statuses', latest.id)?.state;
  const at = { service, revision, containerId };
  if (latest === undefined)
    return become(at, newTask(service, nodes[0] ?? '', 0), { state: 'ready', message: 'made' });
  if (run.wanted === 'running' && run.serial > (latest.run?.serial ?? 0)) {
    const task = state === 'ready' ? latest : newTask(service, latest.nodeId ?? '', run.serial);
    const begun = { ...task, run: { serial: run.serial, restarts: 0, delayMs: 0 } };
    return become(
      at,
      { ...begun, desired: 'running' },
      { state: 'running', message: 'started', startedAtMs: 2 },
    );
  }
  if ((run.wanted === 'held' || run.wanted === 'stopped') && state === 'running')
    return become(
      at,
      { ...latest, desired: 'shutdown' },
      { state: 'shutdown', message: 'ended', startedAtMs: 2 },
    );
  return { writes: [] };
}

function newTask({ id, revision }: Service, nodeId: string, serial: number): Task {
  return {
    id: newId(),
    serviceId: id,
    revision,
    slot: 1,
    nodeId,
    desired: 'ready',
    createdAtMs: Date.now(),
    desiredAtMs: Date.now(),
    addresses: [],
    run: { serial, restarts: 0, delayMs: 0 },
  };
}

interface At {
  readonly service: Service;
  readonly revision: Revision;
  readonly containerId: string;
}

type Reported = Pick<TaskStatus, 'state' | 'message' | 'startedAtMs'>;

function become({ service, revision, containerId }: At, task: Task, reported: Reported): ServedContainer {
  const { state } = reported;
  const container = { containerId, ...(state === 'running' ? { pid: 7 } : {}) };
  const ended = state === 'shutdown' ? { ...container, exitCode: 0 } : container;
  const status: TaskStatus = { taskId: task.id, atMs: Date.now(), ...reported, container: ended };
  const { image, labels } = revision.spec.container;
  const info: ContainerInfo = {
    id: containerId,
    taskId: task.id,
    name: service.name,
    image,
    imageId: `sha256:${'1'.repeat(64)}`,
    serviceId: service.id,
    serviceName: service.name,
    slot: 1,
    labels,
    path: 'sleep',
    args: ['9'],
    env: [],
    createdAtMs: 1,
    state: state === 'ready' ? 'created' : state === 'running' ? 'running' : 'exited',
    pid: state === 'running' ? 7 : 0,
    ...(state === 'shutdown' ? { exitCode: 0, finishedAtMs: 3 } : {}),
    logPath: '',
    networks: [],
    details: {
      hostname: 'h',
      domainname: '',
      user: '',
      workingDir: '',
      entrypoint: [],
      cmd: ['sleep', '9'],
      exposedPorts: [],
      volumes: [],
      stopSignal: 'SIGTERM',
      mounts: [],
    },
  };
  return {
    writes: [
      { table: 'tasks', key: task.id, value: task },
      { table: 'statuses', key: task.id, value: status },
    ],
    info,
  };
}
