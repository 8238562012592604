/** A container as this node describes it to managers. */
import type { ContainerInfo } from '../../shared/model/node-methods/index.ts';
import type { Containers } from './containers.ts';
import type { HealthState } from './health-state.ts';
import type { ContainerRecord } from './record.ts';

/** Asks its monitor what there is to know. */
export async function describeContainer(
  containers: Containers,
  record: ContainerRecord,
  health: HealthState | undefined,
): Promise<ContainerInfo> {
  const { exit } = record;
  const live = exit === undefined ? await containers.state(record.id).catch(() => undefined) : undefined;
  const paused = live?.status === 'running' && (await containers.paused(record.id));
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
    state: stateOf(neverBegun(record) ? 'created' : live?.status, paused),
    pid: live?.status === 'running' ? live.pid : 0,
    logPath: containers.logPath(record.id),
    tty: record.tty ?? false,
    openStdin: record.openStdin ?? false,
    stdinOnce: record.stdinOnce ?? false,
    networks: record.networks,
    ...(health === undefined ? {} : { health: health.health }),
    ...(startedAtMs === undefined ? {} : { startedAtMs }),
    ...(exit === undefined
      ? {}
      : { exitCode: exit.exitCode, oomKilled: exit.oomKilled, finishedAtMs: exit.finishedAtMs }),
    ...(exit?.error === undefined ? {} : { error: exit.error }),
    ...(record.apparmorProfile === undefined ? {} : { apparmorProfile: record.apparmorProfile }),
    ...(record.selinuxLabel === undefined ? {} : { processLabel: record.selinuxLabel }),
    ...(record.mountLabel === undefined ? {} : { mountLabel: record.mountLabel }),
    ...(record.standalone === undefined ? {} : { details: record.standalone.details }),
  };
}

/** Docker goes on calling it created when its command could not be run. */
function neverBegun({ standalone, exit }: ContainerRecord): boolean {
  if (standalone === undefined) return false;
  return standalone.created === true || exit?.neverRan === true;
}

function stateOf(
  status: 'created' | 'running' | 'stopped' | undefined,
  paused: boolean,
): ContainerInfo['state'] {
  if (paused) return 'paused';
  return status === 'created' || status === 'running' ? status : 'exited';
}
