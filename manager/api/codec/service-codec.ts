/** Service record + revision -> the Docker Engine API's Service. */
import { prefixBits } from '../../../shared/lib/network-subnets.ts';
import type { Service, ServiceMode, ServiceSpec, UpdateStatus } from '../../../shared/model/index.ts';
import { isJob } from '../../../shared/model/index.ts';
import type { Store } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';
import { revisionKey, shownSpec, specOf } from '../ops/service-reads.ts';
import { encodeAutoscale } from './autoscale-codec.ts';
import { defined, timeText } from './common.ts';
import { encodeDependencies } from './dependency-codec.ts';
import { encodePort, encodeServiceSpec } from './service-spec-codec.ts';
import { observedState } from './task-codec.ts';

/** Where what is shown of a service comes from. */
export type ServiceSources = Pick<ApiContext, 'store' | 'usage' | 'clock'>;

export function encodeService(
  api: ServiceSources,
  service: Service,
  spec: ServiceSpec,
  encodeSpec: (spec: ServiceSpec) => unknown = encodeServiceSpec,
): object {
  const { store } = api;
  const previous =
    service.previousRevision === undefined ? undefined : specOf(store, service, service.previousRevision);
  return defined({
    ID: service.id,
    Version: { Index: store.version('services', service.id) },
    CreatedAt: timeText(service.createdAtMs),
    UpdatedAt: timeText(service.updatedAtMs),
    Spec: encodeSpec(shownSpec(service, spec)),
    PreviousSpec: previous === undefined ? undefined : encodeSpec(previous),
    Endpoint: encodeEndpoint(store, service, spec),
    UpdateStatus: service.updateStatus === undefined ? undefined : encodeUpdateStatus(service.updateStatus),
    JobStatus: isJob(spec.mode) ? encodeJobStatus(store, service) : undefined,
    ...encodeDependencies(store, service, spec),
    Autoscale: encodeAutoscale(api, service, spec),
  });
}

function encodeEndpoint(store: Store, service: Service, spec: ServiceSpec): object {
  const ports = service.endpoint?.ports ?? [];
  const vips = service.endpoint?.vips ?? [];
  return defined({
    Spec: defined({
      Mode: spec.endpointMode,
      Ports: spec.ports.length > 0 ? spec.ports.map(encodePort) : undefined,
    }),
    Ports: ports.length > 0 ? ports.map(encodePort) : undefined,
    VirtualIPs:
      vips.length === 0
        ? undefined
        : vips.map((vip) => {
            const allocation = store.get('networks', vip.network)?.allocation;
            const bits = allocation === undefined ? 32 : prefixBits(allocation, vip.address);
            return { NetworkID: vip.network, Addr: `${vip.address}/${bits}` };
          }),
  });
}

/** Each revision of a job is one execution; Docker counts them from 0. */
function encodeJobStatus(store: Store, service: Service): object {
  const startedAtMs = store.get('revisions', revisionKey(service.id, service.revision))?.createdAtMs;
  return {
    JobIteration: { Index: service.revision - 1 },
    LastExecution: timeText(startedAtMs ?? service.updatedAtMs),
  };
}

export function encodeUpdateStatus(status: UpdateStatus): object {
  return defined({
    State: status.state.replaceAll('-', '_'),
    StartedAt: timeText(status.startedAtMs),
    CompletedAt: status.completedAtMs === undefined ? undefined : timeText(status.completedAtMs),
    Message: status.message,
  });
}

/** Counts as swarmkit's ListServiceStatuses makes them. */
export function serviceStatus(store: Store, service: Service, spec: ServiceSpec): object {
  const job = isJob(spec.mode);
  // An update starts a job anew; the runs of a schedule go on.
  const anew = job && spec.mode.kind !== 'cron';
  let running = 0;
  let desired = 0;
  let completed = 0;
  for (const id of store.tasksOfService(service.id)) {
    const task = store.get('tasks', id);
    if (task === undefined || (anew && task.revision !== service.revision)) continue;
    const state = observedState(task, store.get('statuses', id));
    if (task.desired === 'running' && !(job && state === 'complete')) desired += 1;
    if (task.desired === 'running' && state === 'running') running += 1;
    if (state === 'complete') completed += 1;
  }
  return {
    RunningTasks: running,
    DesiredTasks: desiredTasks(shownSpec(service, spec).mode) ?? desired,
    CompletedTasks: completed,
  };
}

/** Undefined: as many as there are tasks that shall run. */
function desiredTasks(mode: ServiceMode): number | undefined {
  if (mode.kind === 'replicated') return mode.replicas;
  if (mode.kind === 'cron') return 0;
  return mode.kind === 'replicated-job' ? mode.maxConcurrent : undefined;
}
