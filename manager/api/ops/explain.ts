/** Why a service's tasks are where they are, or nowhere: asked of the plan, over the state as it is now. */
import { UnavailableError } from '../../../shared/errors/index.ts';
import type { Service, ServiceSpec, Task } from '../../../shared/model/index.ts';
import { isGlobalMode } from '../../../shared/model/index.ts';
import { newKeysOf, newKeysOfNetwork } from '../../../shared/wire/spec-keys.ts';
import { explainPlacement } from '../../plan/explain/explain.ts';
import { nodeName } from '../../plan/explain/remedies.ts';
import { updateStory } from '../../plan/explain/story.ts';
import { effectiveState, isWanted } from '../../plan/states.ts';
import { type View, viewOf } from '../../plan/view.ts';
import { defined, given, timeText } from '../codec/common.ts';
import { encodeExplanation, encodeStory } from '../codec/explain-codec.ts';
import { serviceStatus } from '../codec/service-codec.ts';
import { takenPortsOf } from '../codec/taken-ports.ts';
import type { Store } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';
import { addressWarnings } from './absent-addresses.ts';
import { allowWarnings } from './allow-lists.ts';
import { canaryWarnings } from './canaries.ts';
import { currentSpec, specOf } from './service-reads.ts';

/** Of tasks, nodes and failures, so many are listed. */
const LISTED = 10;

/** Undefined: it does not wait for a node. */
export function explainTask(ctx: ApiContext, task: Task): object | undefined {
  const { store } = ctx;
  if (!isPending(task)) return undefined;
  const view = viewOf(store, { newKeysOf, newKeysOfNetwork });
  const service = store.get('services', task.serviceId);
  // A pending task becomes one of the newest revision before it is placed.
  const spec = service === undefined ? undefined : specOf(store, service);
  if (view === undefined || service === undefined || spec === undefined) return undefined;
  return encodeExplanation(explainPlacement(view, service, spec, ctx.clock.now()));
}

/** Throws UnavailableError while the manager has no state yet. */
export function explainService(ctx: ApiContext, service: Service): object {
  const { store } = ctx;
  const view = viewOf(store, { newKeysOf, newKeysOfNetwork });
  if (view === undefined) throw new UnavailableError('the state of the cluster is not known yet');
  const spec = currentSpec(store, service);
  const tasks = [...store.tasksOfService(service.id)].flatMap((id) => store.get('tasks', id) ?? []);
  return defined({
    ID: service.id,
    Name: service.name,
    Revision: service.revision,
    Tasks: serviceStatus(store, service, spec),
    Pending: explainPending(ctx, view, service, spec, tasks),
    Missing: isGlobalMode(spec.mode) ? explainMissing(ctx, view, service, spec, tasks) : undefined,
    Ports: explainPorts(store, service),
    Addresses: given(addressWarnings(store, spec.ports)),
    AllowLists: explainLists(store, spec),
    Canary: given(canaryWarnings(store, spec)),
    Failures: failures(view, tasks),
    Update: encodeStory(view, service, updateStory(view, service)),
  });
}

/** What its own allow-list and those of its networks name that is not there. */
function explainLists(store: Store, spec: ServiceSpec): string[] | undefined {
  const networks = spec.networks.flatMap(({ network }) => store.get('networks', network) ?? []);
  const said = [
    ...allowWarnings(store, spec.labels),
    ...networks.flatMap(({ spec: { name, labels } }) =>
      allowWarnings(store, labels).map((text) => `network ${name}: ${text}`),
    ),
  ];
  return said.length === 0 ? undefined : said;
}

/** Where a published port does not lead to it, or another program waits in vain. */
function explainPorts(store: Store, service: Service): object[] | undefined {
  const taken = takenPortsOf(service, store.all('nodes').values());
  return taken.length === 0
    ? undefined
    : taken.slice(0, LISTED).map(({ node, text }) => ({ Node: nodeName(node), Text: text }));
}

function isPending(task: Task): boolean {
  return task.nodeId === undefined && isWanted(task);
}

function explainPending(
  ctx: ApiContext,
  view: View,
  service: Service,
  spec: ServiceSpec,
  tasks: readonly Task[],
): object | undefined {
  const pending = tasks.filter(isPending);
  if (pending.length === 0) return undefined;
  return {
    Count: pending.length,
    Tasks: pending.slice(0, LISTED).map(({ id }) => id),
    Explanation: encodeExplanation(explainPlacement(view, service, spec, ctx.clock.now())),
  };
}

/** A global service has no task where it does not fit, so it is the nodes that are explained. */
function explainMissing(
  ctx: ApiContext,
  view: View,
  service: Service,
  spec: ServiceSpec,
  tasks: readonly Task[],
): object | undefined {
  const served = new Set(
    tasks.filter((task) => isWanted(task) || task.desired === 'complete').map(({ nodeId }) => nodeId),
  );
  const missing = [...view.nodes.values()].filter(({ id }) => !served.has(id));
  if (missing.length === 0) return undefined;
  const only = new Set(missing.map(({ id }) => id));
  return {
    Count: missing.length,
    Nodes: missing.slice(0, LISTED).map(nodeName),
    Explanation: encodeExplanation(explainPlacement(view, service, spec, ctx.clock.now(), only)),
  };
}

/** The newest first. */
function failures(view: View, tasks: readonly Task[]): object[] {
  return tasks
    .map((task) => ({ task, status: view.statuses.get(task.id) }))
    .filter(({ task, status }) => ['failed', 'rejected', 'orphaned'].includes(effectiveState(task, status)))
    .sort((a, b) => (b.status?.atMs ?? 0) - (a.status?.atMs ?? 0))
    .slice(0, LISTED)
    .map(({ task, status }) => {
      const node = task.nodeId === undefined ? undefined : view.nodes.get(task.nodeId);
      return defined({
        Time: timeText(status?.atMs),
        Task: task.id,
        Slot: task.slot > 0 ? task.slot : undefined,
        Node: node === undefined ? task.nodeId : nodeName(node),
        Revision: task.revision,
        State: status?.state,
        Error: status?.error ?? status?.message,
      });
    });
}
