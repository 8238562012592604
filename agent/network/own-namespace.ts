import { statSync } from 'node:fs';
import { ConflictError } from '../../shared/errors/index.ts';
import type { TaskAssignment } from '../../shared/model/index.ts';

/**
 * Throws ConflictError when a task has interfaces, and the path of a network namespace leads to this process's own, which is the
 * node's: a container whose process is gone may have left its number to one of the node. Looks at procfs only, which does
 * not wait.
 */
export function requireOtherNamespace(task: TaskAssignment | undefined, netnsPath: string): void {
  // One on the node's own network has no interface of Shoal's.
  if (task?.addresses.length === 0 || !isOwn(netnsPath)) return;
  throw new ConflictError(`${netnsPath} is the node's own network`);
}

function isOwn(netnsPath: string): boolean {
  const own = statSync('/proc/self/ns/net');
  const there = statSync(netnsPath, { throwIfNoEntry: false });
  return there !== undefined && there.ino === own.ino && there.dev === own.dev;
}
