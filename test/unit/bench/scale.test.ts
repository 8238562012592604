/** That `npm run bench -- scale` can run: its cluster, small. */
import test from 'ava';
import { ApiClient } from '../../../deploy/cli/client.ts';
import { SimulatedCluster } from '../../bench/scale/simulated-cluster.ts';

const NODES = 30;
const SERVICES = 5;
const REPLICAS = 40;

interface TaskJson {
  readonly NodeID: string;
  readonly Status: { readonly State: string };
}

interface NodeJson {
  readonly ID: string;
  readonly Spec: { readonly Labels: Readonly<Record<string, string>> };
  readonly Status: { readonly State: string };
}

test('simulated agents run what is placed on them, before and after the manager is killed', async (t) => {
  t.timeout(240_000);
  const cluster = await SimulatedCluster.start(NODES);
  t.teardown(() => cluster[Symbol.asyncDispose]());
  await cluster.setPatience(30_000);
  await cluster.connect();
  await cluster.createServices('before', SERVICES, REPLICAS);
  await cluster.running(SERVICES * REPLICAS);
  await cluster.restartManager();
  await cluster.serves();
  await cluster.connected();
  await cluster.createServices('after', 1, REPLICAS);
  await cluster.running((SERVICES + 1) * REPLICAS);

  const client = new ApiClient(cluster.socket);
  const signal = AbortSignal.timeout(60_000);
  const tasks = (await client.get('/v1.41/tasks', signal)) as TaskJson[];
  const nodes = (await client.get('/v1.41/nodes', signal)) as NodeJson[];
  t.is(tasks.length, (SERVICES + 1) * REPLICAS);
  t.true(tasks.every(({ Status }) => Status.State === 'running'));
  t.deepEqual([nodes.length, new Set(nodes.map(({ Status }) => Status.State))], [NODES, new Set(['ready'])]);
  const fit = new Set(nodes.filter(({ Spec }) => Spec.Labels['disk'] === 'ssd').map(({ ID }) => ID));
  t.true(fit.size < NODES && tasks.every(({ NodeID }) => fit.has(NodeID)));
});
