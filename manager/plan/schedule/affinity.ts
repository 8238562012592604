/** Which nodes are near to, or away from, the tasks of other services. */
import type { Affinity, Service, ServiceSpec } from '../../../shared/model/index.ts';
import { isTerminal, STACK_LABEL } from '../../../shared/model/index.ts';
import { effectiveState, isWanted } from '../states.ts';
import type { View } from '../view.ts';
import type { ClusterColumns } from './columns.ts';

export interface AffinityRows {
  readonly affinity: Affinity;
  /** Rows of the nodes that have a wanted task of the other service. */
  readonly rows: ReadonlySet<number>;
}

export function affinityRows(view: View, columns: ClusterColumns, spec: ServiceSpec): AffinityRows[] {
  return (spec.placement.affinities ?? []).map((affinity) => {
    const rows = new Set<number>();
    for (const { id, name } of servicesOf(view, affinity.service, spec)) {
      addRows(view, columns, id, rows);
      for (const row of columns.placedRows(name)) rows.add(row);
    }
    return { affinity, rows };
  });
}

/** A name within the own stack comes first, as it does in DNS. */
function servicesOf(view: View, name: string, spec: ServiceSpec): Service[] {
  const stack = spec.labels[STACK_LABEL];
  const byName = (wanted: string): Service[] =>
    [...view.services.values()].filter((service) => service.name === wanted);
  const own = stack === undefined ? [] : byName(`${stack}_${name}`);
  return own.length > 0 ? own : byName(name);
}

function addRows(view: View, columns: ClusterColumns, serviceId: string, rows: Set<number>): void {
  for (const id of view.tasksOfService(serviceId)) {
    const task = view.tasks.get(id);
    const row = task?.nodeId === undefined ? undefined : columns.row(task.nodeId);
    if (task === undefined || row === undefined || !isWanted(task)) continue;
    if (!isTerminal(effectiveState(task, view.statuses.get(id)))) rows.add(row);
  }
}

/** The node is as the rule asks. */
export function suits({ affinity, rows }: AffinityRows, row: number): boolean {
  return rows.has(row) === (affinity.kind === 'with');
}

/** How many of the soft rules a node is against. */
export function misfit(affinities: readonly AffinityRows[], row: number): number {
  let count = 0;
  for (const one of affinities) if (!one.affinity.hard && !suits(one, row)) count += 1;
  return count;
}
