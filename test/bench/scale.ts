/**
 * How far one manager goes: real manager, real etcd, and agents that are real but for their containers, on this machine.
 *
 *   SHOAL_SCALE_NODES  sizes of the cluster, default 100,1000,10000
 *   SHOAL_SCALE_TASKS  tasks in all, default 100000; at most 100 a node. The full size: 1000000
 *   SHOAL_SCALE_REPLICAS  tasks of one service, default 1000
 *   SHOAL_SCALE_PATIENCE_MS  silence after which a node is down, default 30000: on a machine that does other work too, agents
 *       that wait for a processor would be down with the product's 2000
 *   SHOAL_SCALE_IDLE_PATIENCE_MS  the same while it is measured what idling costs, default 2000 as in the product
 *   SHOAL_SCALE_PROFILE  a directory: profiles of the manager while nodes connect, idle, while it places, and after its restart
 *
 * Nodes are written into etcd as if they had joined, and share one key; each has its own certificate, and everything else
 * is as in the product: TLS 1.3 on both sides, heartbeats, frames, batches. A task is counted when its agent knows that
 * `running` is in etcd. There is no peer: who publishes such figures publishes them for other machines.
 */
import { measure } from './scale/measure.ts';

const TASKS_PER_NODE = 100;

function setting(name: string, fallback: string): number[] {
  const text = process.env[`SHOAL_SCALE_${name}`] ?? fallback;
  const values = text.split(',').map(Number);
  if (values.every((value) => Number.isInteger(value) && value > 0)) return values;
  throw new Error(`SHOAL_SCALE_${name} must be whole numbers above 0, not ${text}`);
}

const sizes = setting('NODES', '100,1000,10000');
const [wanted = 0] = setting('TASKS', '100000');
const [most = 0] = setting('REPLICAS', '1000');
const [patienceMs = 0] = setting('PATIENCE_MS', '30000');
const [idlePatienceMs = 0] = setting('IDLE_PATIENCE_MS', '2000');
const profiles = process.env['SHOAL_SCALE_PROFILE'];
// Ended by a signal, it ends as an error would: children, etcd and files go.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

for (const nodes of sizes) {
  const tasks = Math.min(wanted, nodes * TASKS_PER_NODE);
  const replicas = Math.min(tasks, most);
  const services = Math.floor(tasks / replicas);
  const where = profiles === undefined ? {} : { profiles };
  await measure({ nodes, services, replicas, patienceMs, idlePatienceMs, ...where });
}
