/** The one state that every disturbance must end in. */
import { runsExactlyTheDesired } from './containers.ts';
import type { TestCluster } from './cluster.ts';
import type { ClusterState } from './cluster-state.ts';

/** Of a service under test: replaced at once when it fails, and gone at once when it is to stop. */
export const QUICK = ['--restart-delay', '100ms', '--stop-grace-period', '1s'];

/** All nodes are ready, so many tasks of each service run, and just their containers live: none is missing or left. */
export function settled(
  swarm: TestCluster,
  services: Readonly<Record<string, number>>,
): Promise<ClusterState> {
  return swarm.eventually(
    async (s) => {
      const nodes = s.nodes.every((node) => node.Status.State === 'ready');
      const counts = Object.entries(services).every(([name, count]) => s.running(name).count === count);
      return nodes && counts && (await runsExactlyTheDesired(swarm.layout, s));
    },
    { within: 60_000 },
  );
}
