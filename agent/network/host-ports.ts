/**
 * PURE. Ports that a task alone publishes on its node. One without a number gets it from the task's id: any agent of the node
 * finds the same, now and after a restart, without a note. If the number is taken the task fails, and the next one that replaces
 * it has another id and so another number.
 */
import { portText } from '../../shared/lib/published-port.ts';
import type { PublishedPort, TaskAssignment } from '../../shared/model/index.ts';
import { hashOf } from './hash.ts';

/** Where machines look for ports of their own, too, but nobody publishes by number; ingress takes those below by itself. */
const FIRST = 32_768;
const LAST = 60_999;

/** Those of mode host, each with its number. */
export function hostPortsOf({ taskId, spec }: Pick<TaskAssignment, 'taskId' | 'spec'>): PublishedPort[] {
  const ports = spec.ports.filter((port) => port.mode === 'host');
  const used = new Set(ports.map(({ publishedPort, protocol }) => `${publishedPort}/${protocol}`));
  return ports.map((port, index) => {
    if (port.publishedPort !== 0) return port;
    let publishedPort = FIRST + (hashOf(`${taskId} ${index}`) % (LAST - FIRST + 1));
    while (used.has(`${publishedPort}/${port.protocol}`))
      publishedPort = publishedPort === LAST ? FIRST : publishedPort + 1;
    used.add(`${publishedPort}/${port.protocol}`);
    return { ...port, publishedPort };
  });
}

/** A port of the task that others hold by what is assigned to this node: a task beside it, or the mesh. */
export function sharedPort(
  task: TaskAssignment,
  others: Iterable<TaskAssignment>,
  mesh: Iterable<{
    readonly ports: readonly { readonly publishedPort: number; readonly protocol: string }[];
  }>,
): string | undefined {
  const held = new Set<string>();
  const hold = ({ publishedPort, protocol }: { publishedPort: number; protocol: string }): void =>
    void held.add(`${publishedPort}/${protocol}`);
  for (const other of others) if (other.taskId !== task.taskId) hostPortsOf(other).forEach(hold);
  for (const { ports } of mesh) ports.forEach(hold);
  const own = hostPortsOf(task).filter((_, index) => isChosen(task, index));
  const shared = own.find(({ publishedPort, protocol }) => held.has(`${publishedPort}/${protocol}`));
  return shared === undefined ? undefined : portText(shared);
}

/** The scheduler sees to numbers that users gave. */
function isChosen({ spec }: TaskAssignment, index: number): boolean {
  return spec.ports.filter((port) => port.mode === 'host')[index]?.publishedPort === 0;
}
