import { Router } from 'express';
import { InvalidError } from '../../../shared/errors/index.ts';
import { isJob, isTerminal, TASK_STATES, type ServiceSpec, type Task } from '../../../shared/model/index.ts';
import type { Store } from '../../store/store.ts';
import { taskText, withField } from '../codec/json-text.ts';
import { desiredText, taskName } from '../codec/task-codec.ts';
import type { ApiContext } from '../context.ts';
import { type Filters, passes, passesLabels, queryFilters } from '../http/query.ts';
import { sendJsonText } from '../http/respond.ts';
import { sendJsonList } from '../http/send-list.ts';
import { respondLogs } from '../logs/respond.ts';
import { lookup } from '../lookup.ts';
import { explainTask } from '../ops/explain.ts';
import { revisionKey, servicesLike } from '../ops/service-reads.ts';
import { taskIsCurrent } from '../task-is-current.ts';
import { nodeMatcher } from './nodes.ts';

export const FILTERS = ['id', 'name', 'service', 'node', 'label', 'desired-state', '_up-to-date', 'runtime'];

export function tasksRouter(ctx: ApiContext): Router {
  const router = Router();
  const { store } = ctx;

  router.get('/tasks', (req, res) => {
    const filters = queryFilters(req, FILTERS);
    const texts = listTasks(ctx, filters).map((task) => taskText(store, task, taskSpec(store, task)));
    return sendJsonList(res, texts, ctx.signal);
  });

  router.get('/tasks/:id', (req, res) => {
    const task = findTask(store, req.params.id);
    const text = taskText(store, task, taskSpec(store, task));
    const explanation = explainTask(ctx, task);
    sendJsonText(res, 200, explanation === undefined ? text : withField(text, 'Explanation', explanation));
  });

  router.get('/tasks/:id/logs', async (req, res) => {
    const { id } = findTask(store, req.params.id);
    await respondLogs(ctx, req, res, taskLogTarget(store, id, true));
  });
  return router;
}

/** Logs of one task: its container's, which may still have to come. */
export function taskLogTarget(store: Store, id: string, swarmDetails: boolean) {
  const task = store.get('tasks', id);
  return {
    tasks: () => {
      const now = store.get('tasks', id);
      return now === undefined ? [] : [now];
    },
    ended: () => {
      const status = store.get('statuses', id);
      return (
        store.get('tasks', id) === undefined ||
        status?.container !== undefined ||
        isTerminal(status?.state ?? 'new')
      );
    },
    tty: task !== undefined && taskSpec(store, task)?.container.tty === true,
    swarmDetails,
  };
}

export function taskSpec(store: Store, task: Task): ServiceSpec | undefined {
  return store.get('revisions', revisionKey(task.serviceId, task.revision))?.spec;
}

/** Those of standalone containers are not shown. */
function* serviceTasks(store: Store): Generator<Task> {
  for (const task of store.all('tasks').values()) if (task.run === undefined) yield task;
}

/** By id, by name (web.1), or by a unique prefix of the id. */
export function findTask(store: Store, ref: string): Task {
  const known = store.get('tasks', ref);
  const single = known !== undefined && known.run === undefined;
  return lookup(single ? [known] : serviceTasks(store), ref, {
    kind: 'task',
    id: (task) => task.id,
    name: (task) => {
      const service = store.get('services', task.serviceId);
      return service === undefined ? undefined : `${taskName(task, service.name)}.${task.id}`;
    },
  });
}

function listTasks(ctx: ApiContext, filters: Filters): Task[] {
  const { store } = ctx;
  for (const state of filters.get('desired-state') ?? []) {
    if (!(TASK_STATES as readonly string[]).includes(state))
      throw new InvalidError(`Invalid desired-state filter: '${state}'`);
  }
  if (filters.size === 0) return [...candidates(store, filters)];
  const onNode = nodeMatcher(ctx);
  return [...candidates(store, filters)].filter((task) => {
    const service = store.get('services', task.serviceId);
    const name = taskName(task, service?.name ?? task.serviceId);
    const spec = taskSpec(store, task);
    const desired = desiredText(task, spec !== undefined && isJob(spec.mode));
    return (
      passes(filters, 'id', (id) => task.id.startsWith(id)) &&
      passes(filters, 'name', (wanted) => `${name}.${task.id}`.startsWith(wanted)) &&
      passes(filters, 'node', (node) => task.nodeId !== undefined && onNode(node, task.nodeId)) &&
      passes(filters, 'desired-state', (state) => desired === state) &&
      passes(filters, '_up-to-date', (on) => taskIsCurrent(store, task) === isTrue(on)) &&
      passes(filters, 'runtime', (runtime) => runtime === 'container') &&
      // Tasks carry no labels of their own: their service's are meant, as docker stack ps asks.
      passesLabels(filters, 'label', spec?.labels ?? {})
    );
  });
}

/** Tasks of the services that the filter names, by id, name or prefix; all tasks without it. */
function* candidates(store: Store, filters: Filters): Generator<Task> {
  const wanted = filters.get('service') ?? [];
  if (wanted.length === 0) {
    yield* serviceTasks(store);
    return;
  }
  const ids = new Set<string>();
  for (const ref of wanted) {
    const known = store.get('services', ref);
    if (known !== undefined && known.run === undefined) ids.add(ref);
    for (const service of servicesLike(store, ref)) ids.add(service.id);
  }
  for (const id of ids) {
    for (const taskId of store.tasksOfService(id)) {
      const task = store.get('tasks', taskId);
      if (task !== undefined) yield task;
    }
  }
}

function isTrue(text: string): boolean {
  return text === 'true' || text === '1';
}
