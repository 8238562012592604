/** Standalone containers in a cluster in memory, as the API makes and wants them. */
import type { ContainerMode, ContainerRun } from '../../../shared/model/index.ts';
import { specOf, type SpecChanges, type TestCluster } from './_cluster.ts';

export interface ContainerOptions extends SpecChanges {
  readonly autoRemove?: boolean;
  readonly nodes?: readonly string[];
}

export function createContainer(
  swarm: TestCluster,
  id: string,
  { autoRemove = false, nodes, ...changes }: ContainerOptions = {},
): TestCluster {
  const containerId = Buffer.from(id).toString('hex').padEnd(64, '0');
  const mode: ContainerMode = { kind: 'container', containerId, autoRemove };
  const restart = { condition: 'none' as const, ...changes.restart };
  const spec = {
    ...specOf(id, { ...changes, restart }),
    mode: nodes === undefined ? mode : { ...mode, nodes },
  };
  const key = `${id}.1`;
  swarm.put('revisions', key, { id: key, serviceId: id, revision: 1, createdAtMs: swarm.now, spec });
  swarm.put('names', `container:${id}`, { id });
  return swarm.put('services', id, {
    id,
    name: id,
    revision: 1,
    createdAtMs: swarm.now,
    updatedAtMs: swarm.now,
    run: { wanted: 'created', serial: 0 },
  });
}

/** Wanting it to run is a new start. */
export function wantContainer(swarm: TestCluster, id: string, wanted: ContainerRun['wanted']): TestCluster {
  const service = swarm.get(id);
  const serial = (service.run?.serial ?? 0) + (wanted === 'running' ? 1 : 0);
  return swarm.put('services', id, { ...service, run: { wanted, serial } });
}
