/**
 * Placements decided a second: whole plans (reconcile, allocate, schedule, records made) against a scheduler alone that
 * looks at every node object for every task. Prints JSON lines; the peer does less work per task, and is not told to wait.
 */
import { plan } from '../../manager/plan/plan.ts';
import { meetsConstraint, parseConstraint } from '../../manager/plan/constraint.ts';
import type { View } from '../../manager/plan/view.ts';
import type { Node, ServiceSpec } from '../../shared/model/index.ts';
import { cluster, GB, specOf } from '../unit/plan/_cluster.ts';
import { report, reportRate } from './report.ts';

const CONSTRAINT = 'node.labels.disk==ssd';
const CHANGES = { constraints: [CONSTRAINT], reservations: { nanoCpus: 1e6, memoryBytes: 2 ** 20 } };
/** Measured for at least this long each, after one run that warms up. */
const LEAST_MS = 1500;

interface Shape {
  readonly name: string;
  readonly services: number;
  readonly replicas: number;
}

const SHAPES: readonly Shape[] = [
  { name: 'one service of 1,000', services: 1, replicas: 1000 },
  { name: '200 services of 5', services: 200, replicas: 5 },
];

function viewOfSize(nodes: number, shape: Shape): View {
  const swarm = emptyCluster(nodes);
  for (let i = 0; i < shape.services; i += 1)
    swarm.service(`s${i}`, { ...CHANGES, replicas: shape.replicas });
  return swarm.view();
}

/** How often `run` places its tasks, as tasks a second. */
function rate(run: () => number): number {
  run();
  const start = performance.now();
  let placed = 0;
  do placed += run();
  while (performance.now() - start < LEAST_MS);
  return Math.round((placed * 1000) / (performance.now() - start));
}

function ours(view: View, shape: Shape): number {
  const limit = shape.services * shape.replicas;
  const { writes } = plan(view, { dirtyServices: 'all', now: 2_000_000, seed: 'bench', limit });
  const placed = writes.filter(
    ({ table, value }) => table === 'tasks' && value !== null && 'nodeId' in value,
  );
  if (placed.length !== limit) throw new Error(`${placed.length} of ${limit} placed`);
  return placed.length;
}

interface Candidate {
  readonly node: Node;
  free: number;
  freeCpus: number;
  active: number;
  readonly ofService: Map<string, number>;
}

/** The plain way, in the order of the same rules: filter all, then the fewest of the service, then the fewest in all. */
function fullScan(view: View, shape: Shape): number {
  const nodes = [...view.nodes.values()].map(
    (node): Candidate => ({
      node,
      free: node.description?.memoryBytes ?? 0,
      freeCpus: node.description?.nanoCpus ?? 0,
      active: 0,
      ofService: new Map(),
    }),
  );
  const spec = specOf('peer', CHANGES);
  let placed = 0;
  for (let service = 0; service < shape.services; service += 1) {
    for (let i = 0; i < shape.replicas; i += 1) if (scanOnce(nodes, `s${service}`, spec)) placed += 1;
  }
  return placed;
}

const constraint = parseConstraint(CONSTRAINT);

function scanOnce(nodes: readonly Candidate[], serviceId: string, { reservations }: ServiceSpec): boolean {
  const memoryBytes = reservations.memoryBytes ?? 0;
  const nanoCpus = reservations.nanoCpus ?? 0;
  let best: Candidate | undefined;
  let bestCount = 0;
  for (const candidate of nodes) {
    const { node } = candidate;
    if (node.status !== 'ready' || node.spec.availability !== 'active') continue;
    if (candidate.free < memoryBytes || candidate.freeCpus < nanoCpus) continue;
    if (!meetsConstraint(node, constraint)) continue;
    const count = candidate.ofService.get(serviceId) ?? 0;
    const better =
      best === undefined || count < bestCount || (count === bestCount && candidate.active < best.active);
    if (!better) continue;
    best = candidate;
    bestCount = count;
  }
  if (best === undefined) return false;
  best.free -= memoryBytes;
  best.freeCpus -= nanoCpus;
  best.active += 1;
  best.ofService.set(serviceId, bestCount + 1);
  return true;
}

/** Services of tasks of different sizes, packed. */
const PACKED = [1, 2, 3, 5, 8].flatMap((gigabytes, at) =>
  Array.from({ length: 8 }, (_, i) => ({ name: `p${at}-${i}`, memoryBytes: gigabytes * GB, replicas: 25 })),
);

function emptyCluster(nodes: number): ReturnType<typeof cluster> {
  const swarm = cluster().nodes(nodes, { labels: { disk: 'ssd' }, description: { memoryBytes: 64 * GB } });
  // The ingress network is there before the first service, as on every cluster.
  swarm.plan();
  return swarm;
}

/** How many nodes are in use once all of them are placed, in the same order, by us and by a scan of all nodes. */
function nodesPacked(nodes: number): { readonly mine: number; readonly scan: number } {
  const swarm = emptyCluster(nodes);
  const free = Array.from({ length: nodes }, () => 64 * GB);
  for (const { name, memoryBytes, replicas } of PACKED) {
    const placement = { strategy: 'binpack' } as const;
    swarm.service(name, { constraints: [CONSTRAINT], reservations: { memoryBytes }, placement, replicas });
    swarm.plan();
    for (let i = 0; i < replicas; i += 1) bestFit(free, memoryBytes);
  }
  const used = new Set([...swarm.store.all('tasks').values()].map(({ nodeId }) => nodeId));
  return { mine: used.size, scan: free.filter((bytes) => bytes < 64 * GB).length };
}

/** The fullest node that has room. */
function bestFit(free: number[], memoryBytes: number): void {
  let best = -1;
  for (const [at, bytes] of free.entries())
    if (bytes >= memoryBytes && (best < 0 || bytes < (free[best] ?? 0))) best = at;
  free[best] = (free[best] ?? 0) - memoryBytes;
}

/** The most tasks that any node has, when services of five have put five on each in the mean. */
function fullestSpread(nodes: number): number {
  const swarm = emptyCluster(nodes);
  for (let i = 0; i < nodes; i += 1) {
    swarm.service(`s${i}`, { ...CHANGES, replicas: 5 });
    if (i % 100 === 99) swarm.plan();
  }
  const counts = new Map<string, number>();
  for (const { nodeId = '' } of swarm.store.all('tasks').values())
    counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
  return Math.max(...counts.values());
}

for (const nodes of [100, 1_000, 10_000]) {
  for (const shape of SHAPES) {
    const view = viewOfSize(nodes, shape);
    const mine = rate(() => ours(view, shape));
    const peer = rate(() => fullScan(view, shape));
    const bench = `plan: ${shape.name} on ${nodes.toLocaleString('en')} nodes, against a full scan`;
    reportRate(bench, mine, peer, 'placements/s');
  }
  const size = `${nodes.toLocaleString('en')} nodes`;
  const packed = nodesPacked(nodes);
  report(`plan: nodes in use after packing 1,000 tasks on ${size}`, packed.mine, packed.scan, 'nodes');
  // A scan of all nodes puts each next task on one with the fewest.
  report(`plan: tasks on the fullest of ${size}, 5 in the mean`, fullestSpread(nodes), 5, 'tasks');
}
