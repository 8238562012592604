import type { AssignmentSet, TaskAssignment } from '../../shared/model/index.ts';
import { defaultInterface, interfacesOf, type Joins } from './container-scope.ts';
import { nameServerOf } from './local.ts';
import { resolvConf, resolvConfOfNode } from './resolv-conf.ts';

/** The text of a task's /etc/resolv.conf, by the networks that it is on. */
export function resolvConfOfTask(
  task: TaskAssignment,
  networks: AssignmentSet['networks'],
  joins: Joins | undefined,
): string {
  const { runtime, dns } = task.spec.container;
  if (runtime?.network === 'host') return resolvConfOfNode(dns);
  const way = defaultInterface(interfacesOf(task, networks, joins));
  return resolvConf(way && nameServerOf(way.network), dns);
}
