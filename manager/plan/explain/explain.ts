/**
 * Why tasks of a service have no node, found by asking every filter of every node without placing anything, and what would
 * help: for each reason the node that is nearest to taking a task, and all the steps that are missing there.
 */
import type { Service, ServiceSpec } from '../../../shared/model/index.ts';
import { affinityRows } from '../schedule/affinity.ts';
import { ClusterColumns } from '../schedule/columns.ts';
import {
  CHANGING_FILTERS,
  describeRefusals,
  type Filter,
  FIXED_FILTERS,
  requestFor,
} from '../schedule/filters.ts';
import type { Request } from '../schedule/filters.ts';
import { countTasks } from '../schedule/scheduler.ts';
import type { View } from '../view.ts';
import { blockerOf } from './blockers.ts';
import { type Case, nodeName, REMEDIES } from './remedies.ts';
import type { Step } from './step.ts';

/** Of the nodes that a filter removed, so many are named. */
const NAMES = 10;

/** What a filter removed. */
export interface Removal {
  readonly filter: string;
  readonly reason: string;
  readonly nodes: number;
  /** Some of them. */
  readonly names: readonly string[];
  /** What the nearest of these nodes lacks, all of it: also what later filters would say. */
  readonly help: { readonly node: string; readonly steps: readonly Step[] };
}

export interface Explanation {
  readonly reason: string;
  /** Nodes that were looked at. */
  readonly nodes: number;
  /** Of these, those that would take a task. */
  readonly suitable: number;
  readonly filters: readonly Removal[];
  /** When it is not for the nodes to decide. */
  readonly help: readonly Step[];
}

/** `only`: of global services, the nodes that are to have a task. */
export function explainPlacement(
  view: View,
  service: Service,
  spec: ServiceSpec,
  now: number,
  only?: ReadonlySet<string>,
): Explanation {
  const blocker = blockerOf(view, service, spec);
  if (blocker !== undefined) return { ...blocker, nodes: view.nodes.size, suitable: 0, filters: [] };
  const columns = new ClusterColumns(view);
  const { counts } = countTasks(view, columns, service.id, now, new Set());
  const request = requestFor(spec, counts, affinityRows(view, columns, spec), view);
  const filters = [...FIXED_FILTERS, ...CHANGING_FILTERS].filter((filter) => filter.applies(request));
  const groups = new Map<string, Group>();
  let nodes = 0;
  let suitable = 0;
  for (let row = 0; row < columns.nodes.length; row += 1) {
    if (only !== undefined && !only.has(columns.node(row).id)) continue;
    nodes += 1;
    const failed = filters.filter((filter) => !filter.check(request, columns, row));
    if (failed.length === 0) suitable += 1;
    else addTo(groups, failed, request, columns, row);
  }
  const removals = [...groups.values()].sort((a, b) => b.nodes - a.nodes || (a.reason < b.reason ? -1 : 1));
  const counted = new Map(removals.map((group) => [group.reason, group.nodes]));
  return {
    reason: suitable > 0 ? suitableText(suitable) : describeRefusals(counted),
    nodes,
    suitable,
    filters: removals.map((group) => removalOf(group, { view, columns, request })),
    help: [],
  };
}

/** The leader has not come to it, or is away. */
function suitableText(count: number): string {
  return `${count} ${count === 1 ? 'node is' : 'nodes are'} suitable: to be placed with the leader's next decision`;
}

interface Group {
  readonly filter: string;
  readonly reason: string;
  nodes: number;
  readonly names: string[];
  /** The node with the fewest filters against it, then with the most room. */
  nearest: { readonly row: number; readonly failed: readonly Filter[] };
}

function addTo(
  groups: Map<string, Group>,
  failed: readonly Filter[],
  request: Request,
  columns: ClusterColumns,
  row: number,
): void {
  const [first] = failed;
  if (first === undefined) return;
  const reason = first.explain(request, columns, row);
  const name = nodeName(columns.node(row));
  const group = groups.get(reason);
  if (group === undefined) {
    groups.set(reason, { filter: first.name, reason, nodes: 1, names: [name], nearest: { row, failed } });
    return;
  }
  group.nodes += 1;
  if (group.names.length < NAMES) group.names.push(name);
  if (isNearer(columns, { row, failed }, group.nearest)) group.nearest = { row, failed };
}

function isNearer(columns: ClusterColumns, one: Group['nearest'], than: Group['nearest']): boolean {
  if (one.failed.length !== than.failed.length) return one.failed.length < than.failed.length;
  // Room is worth a look only where it is what lacks.
  if (!one.failed.some(({ name }) => name === 'resources')) return false;
  columns.load(one.row);
  columns.load(than.row);
  return columns.freeShare(one.row) > columns.freeShare(than.row);
}

function removalOf(group: Group, about: Omit<Case, 'row'>): Removal {
  const { filter, reason, nodes, names, nearest } = group;
  const steps = nearest.failed.flatMap(({ name }) => REMEDIES[name]?.({ ...about, row: nearest.row }) ?? []);
  return { filter, reason, nodes, names, help: { node: nodeName(about.columns.node(nearest.row)), steps } };
}
