/** Single containers as the store knows them: hidden services, found by the container's id and name. */
import { nextRestart } from '../../plan/reconcile/container-restart.ts';
import { newestTask } from '../../plan/reconcile/container.ts';
import { effectiveState } from '../../plan/states.ts';
import {
  type ContainerMode,
  isTerminal,
  type Node,
  type Revision,
  type Service,
  serviceIdOf,
  type Task,
  type TaskState,
  type TaskStatus,
} from '../../../shared/model/index.ts';
import type { Store } from '../../store/store.ts';
import { revisionKey } from './service-reads.ts';

/** Docker's words. */
export type ContainerState = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';

/** A container and what became of its newest run. */
export interface StoredContainer {
  readonly id: string;
  readonly service: Service;
  readonly revision: Revision;
  readonly mode: ContainerMode;
  readonly task: Task | undefined;
  readonly taskState: TaskState | undefined;
  readonly status: TaskStatus | undefined;
  readonly node: Node | undefined;
}

/** Undefined for a service that is one. */
export function storedContainer(store: Store, service: Service): StoredContainer | undefined {
  const revision = store.get('revisions', revisionKey(service.id, service.revision));
  if (service.run === undefined || revision?.spec.mode.kind !== 'container') return undefined;
  const { mode } = revision.spec;
  const tasks = [...store.tasksOfService(service.id)].flatMap((id) => store.get('tasks', id) ?? []);
  const task = newestTask(tasks);
  const status = task === undefined ? undefined : store.get('statuses', task.id);
  const node = task?.nodeId === undefined ? undefined : store.get('nodes', task.nodeId);
  const taskState = task === undefined ? undefined : effectiveState(task, status);
  return { id: mode.containerId, service, revision, mode, task, taskState, status, node };
}

export function* storedContainers(store: Store): Generator<StoredContainer> {
  for (const service of store.all('services').values()) {
    const container = service.run === undefined ? undefined : storedContainer(store, service);
    if (container !== undefined) yield container;
  }
}

/** By the whole id. */
export function containerById(store: Store, id: string): StoredContainer | undefined {
  const service = store.get('services', serviceIdOf(id));
  const container = service === undefined ? undefined : storedContainer(store, service);
  return container?.id === id ? container : undefined;
}

/** By the name, with or without Docker's leading slash. */
export function containerByName(store: Store, name: string): StoredContainer | undefined {
  const id = store.get('names', `container:${name.replace(/^\//, '')}`)?.id;
  const service = id === undefined ? undefined : store.get('services', id);
  return service === undefined ? undefined : storedContainer(store, service);
}

/** Its command runs, or may for all that is known: on a node that is down, say. */
export function isLive({ taskState, task }: StoredContainer): boolean {
  if (taskState === undefined || task === undefined || task.desired === 'ready') return false;
  return taskState === 'starting' || taskState === 'running';
}

/** Its newest run has ended and none follows: that of a container that was never started has neither. */
export function hasEnded(container: StoredContainer): boolean {
  const { taskState, task, service } = container;
  if (taskState === undefined || task === undefined || !isTerminal(taskState)) return false;
  const { wanted, serial } = service.run ?? { wanted: 'created', serial: 0 };
  if (wanted === 'running' && serial > (task.run?.serial ?? 0)) return false;
  return !restartFollows(container);
}

function restartFollows({ service, revision, task, taskState, status }: StoredContainer): boolean {
  if (service.run === undefined || task === undefined || taskState === undefined) return false;
  return nextRestart(service.run, revision.spec.restart, { task, state: taskState, status }) !== undefined;
}

/** What the store says of it: its node knows more. */
export function stateOf(container: StoredContainer): ContainerState {
  const { service, task, taskState, status, node } = container;
  if (service.removing === true) return 'removing';
  if (task === undefined || taskState === undefined) return 'created';
  if (
    taskState === 'orphaned' ||
    (task.nodeId !== undefined && node?.status !== 'ready' && isLive(container))
  )
    return 'dead';
  if (taskState === 'running') return 'running';
  if (!isTerminal(taskState)) return (task.run?.restarts ?? 0) > 0 ? 'restarting' : 'created';
  if (restartFollows(container)) return 'restarting';
  return status?.startedAtMs === undefined ? 'created' : 'exited';
}
