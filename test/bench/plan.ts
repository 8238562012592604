/**
 * Placements decided a second: whole plans (reconcile, allocate, schedule, records made) against a scheduler alone that
 * looks at every node object for every task. Prints JSON lines; the peer does less work per task, and is not told to wait.
 */
import { plan } from '../../manager/plan/plan.ts';
import { meetsConstraint, parseConstraint } from '../../manager/plan/constraint.ts';
import type { View } from '../../manager/plan/view.ts';
import type { Node, ServiceSpec } from '../../shared/model/index.ts';
import { cluster, GB, specOf } from '../unit/plan/_cluster.ts';

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
  const swarm = cluster().nodes(nodes, { labels: { disk: 'ssd' }, description: { memoryBytes: 64 * GB } });
  // The ingress network is there before the first service, as on every cluster.
  swarm.plan();
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

for (const nodes of [100, 1_000, 10_000]) {
  for (const shape of SHAPES) {
    const view = viewOfSize(nodes, shape);
    const mine = rate(() => ours(view, shape));
    const peer = rate(() => fullScan(view, shape));
    const bench = `plan: ${shape.name} on ${nodes.toLocaleString('en')} nodes, against a full scan`;
    console.log(
      JSON.stringify({
        bench,
        ours: mine,
        peer,
        ratio: Number((mine / peer).toFixed(2)),
        unit: 'placements/s',
      }),
    );
  }
}
