/** Service record + revision -> the Docker Engine API's Service. */
import type { Service, ServiceSpec, UpdateStatus } from '../../../shared/model/index.ts';
import type { Store } from '../../store/store.ts';
import { specOf } from '../ops/service-reads.ts';
import { defined, timeText } from './common.ts';
import { encodePort, encodeServiceSpec } from './service-spec-codec.ts';
import { observedState } from './task-codec.ts';

export function encodeService(
  store: Store,
  service: Service,
  spec: ServiceSpec,
  encodeSpec: (spec: ServiceSpec) => unknown = encodeServiceSpec,
): object {
  const previous =
    service.previousRevision === undefined ? undefined : specOf(store, service, service.previousRevision);
  return defined({
    ID: service.id,
    Version: { Index: store.version('services', service.id) },
    CreatedAt: timeText(service.createdAtMs),
    UpdatedAt: timeText(service.updatedAtMs),
    Spec: encodeSpec(spec),
    PreviousSpec: previous === undefined ? undefined : encodeSpec(previous),
    Endpoint: encodeEndpoint(store, service, spec),
    UpdateStatus: service.updateStatus === undefined ? undefined : encodeUpdateStatus(service.updateStatus),
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
            const bits = store.get('networks', vip.network)?.allocation?.subnet.split('/')[1] ?? '32';
            return { NetworkID: vip.network, Addr: `${vip.address}/${bits}` };
          }),
  });
}

function encodeUpdateStatus(status: UpdateStatus): object {
  return defined({
    State: status.state.replaceAll('-', '_'),
    StartedAt: timeText(status.startedAtMs),
    CompletedAt: status.completedAtMs === undefined ? undefined : timeText(status.completedAtMs),
    Message: status.message,
  });
}

/** Counts as swarmkit's ListServiceStatuses makes them. */
export function serviceStatus(store: Store, service: Service, spec: ServiceSpec): object {
  let running = 0;
  let desired = 0;
  let completed = 0;
  for (const id of store.tasksOfService(service.id)) {
    const task = store.get('tasks', id);
    if (task === undefined) continue;
    const state = observedState(task, store.get('statuses', id));
    if (task.desired === 'running') desired += 1;
    if (task.desired === 'running' && state === 'running') running += 1;
    if (state === 'complete') completed += 1;
  }
  return {
    RunningTasks: running,
    DesiredTasks: spec.mode.kind === 'replicated' ? spec.mode.replicas : desired,
    CompletedTasks: completed,
  };
}
