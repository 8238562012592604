/** Task record + status + revision -> the Docker Engine API's Task. */
import { prefixed6 } from '../../../shared/lib/network-ipv6.ts';
import { prefixBits } from '../../../shared/lib/network-subnets.ts';
import type { Network, ServiceSpec, Task, TaskState, TaskStatus } from '../../../shared/model/index.ts';
import { isJob } from '../../../shared/model/index.ts';
import { EAGER_RETRIES } from '../../plan/reconcile/restart.ts';
import type { Store } from '../../store/store.ts';
import { encodeNetwork } from './network-codec.ts';
import { defined, timeText } from './common.ts';
import { encodeGenericResources } from './generic-resource-codec.ts';
import { encodeTaskTemplate } from './service-spec-codec.ts';

/** The state that is shown: what the node reported, or what the record alone says. */
export function observedState(task: Task, status: TaskStatus | undefined): TaskState {
  return status?.state ?? (task.nodeId === undefined ? 'pending' : 'assigned');
}

/** As `docker service ps` composes it: web.1, or agent.<node id> for a global service. */
export function taskName(task: Task, serviceName: string): string {
  return `${serviceName}.${task.slot > 0 ? task.slot : (task.nodeId ?? '')}`;
}

export function encodeTask(
  store: Store,
  task: Task,
  spec: ServiceSpec | undefined,
  shownSpec: unknown = encodeSpec(spec),
  note?: string,
): object {
  const status = store.get('statuses', task.id);
  const job = spec !== undefined && isJob(spec.mode);
  const granted = encodeGenericResources(task.granted);
  const version = Math.max(store.version('tasks', task.id), store.version('statuses', task.id));
  return defined({
    ID: task.id,
    Version: { Index: version },
    CreatedAt: timeText(task.createdAtMs),
    UpdatedAt: timeText(Math.max(task.desiredAtMs, status?.atMs ?? 0)),
    Labels: {},
    Spec: shownSpec,
    ServiceID: task.serviceId,
    Slot: task.slot > 0 ? task.slot : undefined,
    NodeID: task.nodeId,
    Status: encodeStatus(task, status, note),
    JobIteration: job ? { Index: task.revision - 1 } : undefined,
    DesiredState: desiredText(task, job),
    // The first is what dockerd writes, the second what its documentation calls it.
    GenericResources: granted,
    AssignedGenericResources: granted,
    NetworksAttachments: task.addresses.flatMap((a) => {
      const network = store.get('networks', a.network);
      if (network === undefined) return [];
      const encoded = encodeNetwork(network, store.version('networks', network.id));
      return [{ Network: attachedNetwork(encoded), Addresses: prefixed(network, a.address) }];
    }),
  });
}

/** The address, and that of IPv6 which goes with it, with the lengths of their prefixes. */
function prefixed({ allocation }: Network, address: string): string[] {
  if (allocation === undefined) return [`${address}/32`];
  const own = prefixed6(allocation, address);
  return [`${address}/${prefixBits(allocation, address)}`, ...(own === undefined ? [] : [own])];
}

/** What Docker calls running is, of a job's task, complete: it shall run to its end. */
export function desiredText(task: Task, job: boolean): string {
  return job && task.desired === 'running' ? 'complete' : task.desired;
}

/** The CLI dereferences ContainerSpec; a revision can be gone only while the whole service goes. */
function encodeSpec(spec: ServiceSpec | undefined): object {
  return spec === undefined ? { ContainerSpec: { Image: '' }, ForceUpdate: 0 } : encodeTaskTemplate(spec);
}

function encodeStatus(task: Task, status: TaskStatus | undefined, note: string | undefined): object {
  const state = observedState(task, status);
  const container = status?.container;
  return defined({
    Timestamp: timeText(status?.atMs ?? task.createdAtMs),
    State: state,
    Message: status?.message ?? (state === 'pending' ? 'pending task scheduling' : 'task assigned to a node'),
    Err: status?.error ?? task.pendingReason ?? preemption(task) ?? backedOff(task) ?? note,
    ContainerStatus:
      container === undefined
        ? undefined
        : { ContainerID: container.containerId, PID: container.pid ?? 0, ExitCode: container.exitCode ?? 0 },
    PortStatus: {
      ...(status?.hostPorts === undefined || status.hostPorts.length === 0
        ? {}
        : {
            Ports: status.hostPorts.map((port) => ({
              Protocol: port.protocol,
              TargetPort: port.targetPort,
              PublishedPort: port.publishedPort,
              PublishMode: 'host',
              ...(port.hostIp === undefined ? {} : { HostIp: port.hostIp }),
            })),
          }),
    },
  });
}

/** Why nothing happens in a slot whose tasks keep failing, and until when. */
function backedOff({ desired, startAfterMs, failures = 0 }: Task): string | undefined {
  if (desired !== 'ready' || startAfterMs === undefined || failures <= EAGER_RETRIES) return undefined;
  const at = `${new Date(startAfterMs).toISOString().slice(0, 19)}Z`;
  return `next try at ${at}: the last ${failures} tasks here failed soon after their start`;
}

function preemption({ preemptedBy }: Task): string | undefined {
  return preemptedBy === undefined ? undefined : `preempted by service ${preemptedBy.serviceName}`;
}

/** A network in the shape that swarm objects embed. */
function attachedNetwork(network: ReturnType<typeof encodeNetwork>): object {
  return {
    ID: network.Id,
    Version: { Index: network.Version },
    CreatedAt: network.Created,
    UpdatedAt: network.Created,
    Spec: {
      Name: network.Name,
      Labels: network.Labels,
      DriverConfiguration: { Name: network.Driver },
      Scope: 'swarm',
      ...(network.Ingress ? { Ingress: true } : {}),
    },
    DriverState: { Name: network.Driver, Options: network.Options },
    IPAMOptions: { Driver: { Name: 'default' }, Configs: network.IPAM.Config },
  };
}
