/** Random clusters as stores hold them, and random changes to them: for properties. */
import fc from 'fast-check';
import { INGRESS_NETWORK_ID, TASK_STATES } from '../../../shared/model/index.ts';
import { testVault } from '../../harness/vault.ts';
import type { Network, PublishedPort, ServiceSpec } from '../../../shared/model/index.ts';
import type { Write } from '../../../manager/store/store.ts';
import { description, service, serviceSpec, status, task } from '../session/rig.ts';

const NETWORKS = ['net1', 'net2', INGRESS_NETWORK_ID];
const FILE_IDS = ['f1', 'f2'];
const nodeId = fc.constantFrom('n1', 'n2', 'n3');
const serviceId = fc.constantFrom('s1', 's2', 's3');
const taskId = fc.constantFrom('t1', 't2', 't3', 't4', 't5', 't6');
const networkIds = fc.subarray(NETWORKS);

const putNode = fc.tuple(nodeId, fc.boolean()).map(([id, described]): Write[] => [
  {
    table: 'nodes',
    key: id,
    value: {
      id,
      spec: { role: 'worker', availability: 'active', labels: {} },
      status: 'ready',
      statusAtMs: 1,
      createdAtMs: 1,
      updatedAtMs: 1,
      index: 1,
      ...(described ? { description: description(id) } : {}),
    },
  },
]);

const putNetwork = fc.tuple(fc.constantFrom(...NETWORKS), fc.boolean()).map(([id, allocated]): Write[] => {
  const value: Network = {
    id,
    createdAtMs: 1,
    spec: {
      name: id,
      labels: {},
      driver: 'overlay',
      internal: false,
      attachable: false,
      ingress: id === INGRESS_NETWORK_ID,
      driverOptions: {},
    },
    ...(allocated ? { allocation: { subnet: '10.0.0.0/20', gateway: '10.0.0.1', vni: 4096 } } : {}),
  };
  return [{ table: 'networks', key: id, value }];
});

const published: PublishedPort = {
  protocol: 'tcp',
  targetPort: 80,
  publishedPort: 8080,
  mode: 'ingress',
};

function specWith(
  spec: ServiceSpec,
  more: { secrets: string[]; configs: string[]; hostname: string | undefined },
): ServiceSpec {
  const target = { name: 'x', uid: '0', gid: '0', mode: 0o444 };
  const references = (ids: string[]) => ids.map((id) => ({ id, name: id, target }));
  const { hostname } = more;
  const container = {
    ...spec.container,
    secrets: references(more.secrets),
    configs: references(more.configs),
    ...(hostname === undefined ? {} : { hostname }),
  };
  return { ...spec, container };
}

const putFile = fc
  .record({
    table: fc.constantFrom('secrets' as const, 'configs' as const),
    id: fc.constantFrom(...FILE_IDS),
  })
  .map(({ table, id }): Write[] => {
    const sealed = testVault.seal(
      table === 'secrets' ? 'secret' : 'config',
      id,
      Buffer.from(`contents of ${id}`),
    );
    const spec = { name: id, labels: {} };
    return [{ table, key: id, value: { id, spec, version: 1, createdAtMs: 1, updatedAtMs: 1, sealed } }];
  });

const putService = fc
  .record({
    id: serviceId,
    revision: fc.integer({ min: 1, max: 2 }),
    networks: networkIds,
    publishes: fc.boolean(),
    scales: fc.boolean(),
    secrets: fc.subarray(FILE_IDS),
    configs: fc.subarray(FILE_IDS),
    hostname: fc.constantFrom(undefined, 'fixed', '{{.Node.Hostname}}-{{.Task.Slot}}'),
  })
  .map(({ id, revision, networks, publishes, scales, secrets, configs, hostname }): Write[] => [
    {
      table: 'revisions',
      key: `${id}.${revision}`,
      value: {
        id: `${id}.${revision}`,
        serviceId: id,
        revision,
        createdAtMs: 1,
        spec: {
          ...specWith(serviceSpec(id, networks), { secrets, configs, hostname }),
          ...(scales ? { autoscale: { min: 1, max: 5, cpuPercent: 50, coolDownMs: 60_000 } } : {}),
        },
      },
    },
    {
      table: 'services',
      key: id,
      value: {
        ...service(id),
        revision,
        endpoint: {
          vips: networks.map((network) => ({ network, address: '10.0.0.9' })),
          ports: publishes ? [published] : [],
        },
      },
    },
  ]);

const putTask = fc
  .record({
    id: taskId,
    serviceId,
    nodeId,
    hasNode: fc.boolean(),
    desired: fc.constantFrom('ready' as const, 'running' as const, 'shutdown' as const, 'remove' as const),
    networks: networkIds,
  })
  .map(({ id, serviceId: owner, nodeId: node, hasNode, desired, networks }): Write[] => {
    const addresses = networks.map((network) => ({ network, address: '10.0.0.10' }));
    const { nodeId: assigned, ...rest } = task(id, owner, node, { desired, addresses });
    const value = hasNode && assigned !== undefined ? { ...rest, nodeId: assigned } : rest;
    return [{ table: 'tasks', key: id, value }];
  });

const putStatus = fc
  .record({
    id: taskId,
    state: fc.oneof(fc.constant('running' as const), fc.constantFrom(...TASK_STATES)),
    health: fc.option(fc.constantFrom('starting' as const, 'healthy' as const, 'unhealthy' as const), {
      nil: undefined,
    }),
  })
  .map(({ id, state, health }): Write[] => [
    { table: 'statuses', key: id, value: status(id, state, health === undefined ? {} : { health }) },
  ]);

const remove = fc
  .oneof(
    fc.record({ table: fc.constant('tasks' as const), key: taskId }),
    fc.record({ table: fc.constant('statuses' as const), key: taskId }),
    fc.record({ table: fc.constant('services' as const), key: serviceId }),
    fc.record({ table: fc.constant('nodes' as const), key: nodeId }),
    fc.record({ table: fc.constant('networks' as const), key: fc.constantFrom(...NETWORKS) }),
    fc.record({
      table: fc.constantFrom('secrets' as const, 'configs' as const),
      key: fc.constantFrom(...FILE_IDS),
    }),
    fc.record({ table: fc.constant('revisions' as const), key: serviceId.map((id) => `${id}.1`) }),
  )
  .map(({ table, key }): Write[] => [{ table, key, value: null }]);

/** One transaction. */
export const anyWrites: fc.Arbitrary<Write[]> = fc.oneof(
  { arbitrary: putTask, weight: 5 },
  { arbitrary: putStatus, weight: 5 },
  { arbitrary: putService, weight: 3 },
  { arbitrary: putNetwork, weight: 1 },
  { arbitrary: putNode, weight: 1 },
  { arbitrary: putFile, weight: 2 },
  { arbitrary: remove, weight: 2 },
);

export const NODE_IDS = ['n1', 'n2', 'n3'];
