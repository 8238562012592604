import { statSync } from 'node:fs';

/**
 * Whether a path of a network namespace leads to this process's own, which is the node's: a container whose process is gone
 * may have left its number to one of the node. False for what is not there. Looks at procfs only, which does not wait.
 */
export function isOwnNamespace(netnsPath: string): boolean {
  const own = statSync('/proc/self/ns/net');
  const there = statSync(netnsPath, { throwIfNoEntry: false });
  return there !== undefined && there.ino === own.ino && there.dev === own.dev;
}
