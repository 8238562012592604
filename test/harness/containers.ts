/** What really runs, read from the kernel and not from the cluster under test. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { cgroupDirectories } from '../../deploy/local/cgroups.ts';
import { run } from '../../deploy/local/command.ts';
import type { Layout } from '../../deploy/local/layout.ts';
import { readProcess } from '../../deploy/local/proc.ts';
import type { ClusterState } from './cluster-state.ts';

const signal = new AbortController().signal;

/** The first process of a container. With its start time the pid names it for good. */
export interface LiveContainer {
  readonly id: string;
  /** Of the node that it is on. */
  readonly hostname: string;
  readonly pid: number;
  readonly startTime: string;
  /** Of its monitor. */
  readonly monitorPid: number;
}

/** Every container of the cluster that lives, by its id. */
export async function liveContainers(layout: Layout): Promise<Map<string, LiveContainer>> {
  const found = new Map<string, LiveContainer>();
  for (const directory of await cgroupDirectories(layout.cgroup)) {
    const id = path.basename(directory);
    if (!/^[0-9a-f]{64}$/.test(id) || found.has(id)) continue;
    const hostname = path.basename(path.dirname(directory));
    const procs = await readFile(path.join(directory, 'cgroup.procs'), 'utf8').catch(() => '');
    for (const pid of procs.split('\n').filter((line) => line !== '')) {
      const init = await readInit(Number(pid));
      if (init !== undefined) found.set(id, { id, hostname, ...init });
    }
  }
  return found;
}

/** Undefined for a process that is not the first of its pid namespace, see proc(5) on NSpid. */
async function readInit(
  pid: number,
): Promise<Pick<LiveContainer, 'pid' | 'startTime' | 'monitorPid'> | undefined> {
  const [status, info] = await Promise.all([
    readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''),
    readProcess(pid),
  ]);
  const inside = /^NSpid:.*\t(\d+)$/m.exec(status)?.[1];
  const parent = /^PPid:\t(\d+)$/m.exec(status)?.[1];
  if (inside !== '1' || parent === undefined || info === undefined) return undefined;
  return { pid, startTime: info.startTime, monitorPid: Number(parent) };
}

/** Sorted `id pid start-time`: equal before and after when no container noticed anything. */
export async function lifeLines(layout: Layout): Promise<string[]> {
  const all = [...(await liveContainers(layout)).values()];
  return all.map(({ id, pid, startTime }) => `${id} ${pid} ${startTime}`).toSorted();
}

/** True when the containers that live are those of the tasks that run and shall run: none missing, none too many. */
export async function runsExactlyTheDesired(layout: Layout, state: ClusterState): Promise<boolean> {
  const wanted = state.services.flatMap(({ Spec }) =>
    state.running(Spec.Name).tasks.map((task) => task.Status.ContainerStatus?.ContainerID ?? '?'),
  );
  const live = [...(await liveContainers(layout)).keys()];
  return JSON.stringify(wanted.toSorted()) === JSON.stringify(live.toSorted());
}

/** Runs a line of shell in the container, as `docker exec` would; the image must have busybox. */
export function inContainer(container: LiveContainer, line: string): Promise<string> {
  const namespaces = ['-m', '-n', '-u', '-i', '-p'];
  const shell = ['/bin/busybox', 'sh', '-c', line];
  return run('nsenter', ['-t', String(container.pid), ...namespaces, '--', ...shell], signal);
}

/** The containers of a service's tasks that run and shall run. */
export async function containersOf(
  layout: Layout,
  state: ClusterState,
  service: string,
): Promise<LiveContainer[]> {
  const live = await liveContainers(layout);
  return state.running(service).tasks.map((task) => {
    const container = live.get(task.Status.ContainerStatus?.ContainerID ?? '');
    if (container === undefined)
      throw new Error(`task ${task.ID} of ${service} runs, its container does not`);
    return container;
  });
}

/** A cgroup file of the container; the first of the names that exists, for cgroup v1 and v2 call it differently. */
export async function cgroupFile(
  layout: Layout,
  container: LiveContainer,
  ...names: readonly string[]
): Promise<string> {
  for (const directory of await cgroupDirectories(
    path.join(layout.cgroup, container.hostname, container.id),
  )) {
    for (const name of names) {
      const text = await readFile(path.join(directory, name), 'utf8').catch(() => undefined);
      if (text !== undefined) return text.trim();
    }
  }
  throw new Error(`the cgroups of ${container.id} have none of ${names.join(', ')}`);
}
