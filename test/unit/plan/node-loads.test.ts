import test from 'ava';
import fc from 'fast-check';
import { ClusterColumns } from '../../../manager/plan/schedule/columns.ts';
import { NodeLoads } from '../../../manager/plan/schedule/node-loads.ts';
import { viewOf } from '../../../manager/plan/view.ts';
import type { Write } from '../../../manager/store/store.ts';
import type { MemoryStore } from '../../sim/memory-store.ts';
import { cluster, GB, specOf } from './_cluster.ts';

const NODES = ['n1', 'n2', 'n3'];
const nodeId = fc.constantFrom(...NODES);
const taskId = fc.constantFrom('t1', 't2', 't3', 't4', 't5');
const serviceId = fc.constantFrom('plain', 'ports');
const desired = fc.constantFrom('ready' as const, 'running' as const, 'shutdown' as const);
const state = fc.constantFrom(
  'running' as const,
  'preparing' as const,
  'failed' as const,
  'complete' as const,
);

const putTask = fc
  .record({ id: taskId, nodeId: fc.option(nodeId, { nil: undefined }), serviceId, desired })
  .map(({ nodeId: node, ...task }): Write => {
    const where = node === undefined ? {} : { nodeId: node };
    const value = { ...task, ...where, revision: 1, slot: 1, createdAtMs: 1, desiredAtMs: 1, addresses: [] };
    return { table: 'tasks', key: task.id, value };
  });
const putStatus = fc.record({ taskId, state }).map(
  (status): Write => ({
    table: 'statuses',
    key: status.taskId,
    value: { ...status, atMs: 1, message: '' },
  }),
);
const dropOne = fc
  .tuple(fc.constantFrom('tasks' as const, 'statuses' as const), taskId)
  .map(([table, key]): Write => ({ table, key, value: null }));
const dropRevision = serviceId.map((id): Write => ({ table: 'revisions', key: `${id}.1`, value: null }));
const anyWrite = fc.oneof(
  { weight: 8, arbitrary: putTask },
  { weight: 6, arbitrary: putStatus },
  { weight: 3, arbitrary: dropOne },
  { weight: 1, arbitrary: dropRevision },
);

const PORT = { protocol: 'tcp', targetPort: 80, publishedPort: 8080, mode: 'host' } as const;

function newStore(): MemoryStore {
  const { store } = cluster();
  const reservations = { nanoCpus: 1e9, memoryBytes: GB };
  for (const id of ['plain', 'ports']) {
    const spec = specOf(id, { reservations, ports: id === 'ports' ? [PORT] : [] });
    const value = { id: `${id}.1`, serviceId: id, revision: 1, createdAtMs: 1, spec };
    store.commitNow([{ table: 'revisions', key: value.id, value }]);
  }
  for (const [at, id] of NODES.entries()) {
    const description = { ...NODE, hostname: id };
    const spec = { role: 'worker', availability: 'active', labels: {} } as const;
    const times = { statusAtMs: 1, createdAtMs: 1, updatedAtMs: 1 };
    const value = { id, spec, status: 'ready', ...times, index: at + 1, description } as const;
    store.commitNow([{ table: 'nodes', key: id, value }]);
  }
  return store;
}

const NODE = {
  os: 'linux',
  arch: 'x86_64',
  nanoCpus: 8e9,
  memoryBytes: 64 * GB,
  engineVersion: '1',
  engineLabels: {},
  address: '192.0.2.1',
  localSubnets: [],
};

/** What a plan sees of each node. */
function sums(store: MemoryStore, loads?: NodeLoads): unknown {
  const view = viewOf(store);
  if (view === undefined) throw new Error('no cluster');
  const columns = new ClusterColumns(loads === undefined ? view : { ...view, loads });
  return columns.nodes.map((_, row) => {
    columns.load(row);
    const { freeNanoCpus, freeMemoryBytes, active } = columns;
    return [freeNanoCpus[row], freeMemoryBytes[row], active[row], columns.hostPorts(row).ofNumber(PORT)];
  });
}

test('sums that are kept are those that are made anew, after any changes', (t) => {
  const rounds = fc.array(fc.array(anyWrite, { minLength: 1, maxLength: 4 }), { maxLength: 20 });
  fc.assert(
    fc.property(rounds, (all) => {
      const store = newStore();
      const loads = new NodeLoads();
      store.onChange((changes) => {
        const view = viewOf(store);
        if (view !== undefined) loads.note(changes, view);
      });
      for (const writes of all) {
        const distinct = new Map(writes.map((write) => [`${write.table}/${write.key}`, write]));
        store.commitNow([...distinct.values()]);
        t.deepEqual(sums(store, loads), sums(store));
      }
    }),
    { numRuns: 300 },
  );
});

test('a new task does not make its node be summed up again', (t) => {
  const store = newStore();
  const loads = new NodeLoads();
  sums(store, loads);
  const before = loads.get('n1');
  const value = {
    id: 't1',
    nodeId: 'n1',
    serviceId: 'plain',
    revision: 1,
    slot: 1,
    desired: 'running',
    createdAtMs: 1,
    desiredAtMs: 1,
    addresses: [],
  } as const;
  const view = viewOf(store);
  if (view === undefined) return t.fail();
  loads.note([{ table: 'tasks', key: 't1', before: undefined, after: value, version: 1 }], view);
  t.deepEqual([before?.active, loads.get('n1')?.active, loads.get('n2')?.active], [0, 1, 0]);
});
