import { readFileSync } from 'node:fs';
import type { TaskAssignment } from '../../shared/model/index.ts';
import { hostsFile, hostsFileOfNode, withGateway } from './hosts-file.ts';

/** The text of the task's /etc/hosts. `nodeAddress`: where its containers find this node. */
export function hostsOf(task: TaskAssignment, hostname: string, nodeAddress: string): string {
  const { extraHosts = [], runtime } = task.spec.container;
  const extra = withGateway(extraHosts, nodeAddress);
  if (runtime?.network === 'host') return hostsFileOfNode(readFileSync('/etc/hosts', 'utf8'), extra);
  const addresses = task.addresses.map((one) => one.address);
  return hostsFile(hostname, addresses, extra);
}
