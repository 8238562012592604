import test from 'ava';
import fc from 'fast-check';
import { AssignmentTracker } from '../../../manager/dispatcher/assignment-tracker.ts';
import { serviceRows } from '../../../manager/dispatcher/assignment-rows.ts';
import { networkRow } from '../../../shared/lib/network-row.ts';
import { assignmentsFor } from '../../../manager/dispatcher/assignments.ts';
import { viewOf } from '../../../manager/dispatcher/store-view.ts';
import type { Write } from '../../../manager/store/store.ts';
import { type AssignmentSet, INGRESS_NETWORK_ID } from '../../../shared/model/index.ts';
import {
  applyDiff,
  diffAssignments,
  EMPTY_ASSIGNMENTS,
  isEmptyDiff,
} from '../../../shared/wire/assignment-diff.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { testVault } from '../../harness/vault.ts';
import { addressOf, description, service, serviceSpec, status, task } from '../session/rig.ts';
import { anyWrites, NODE_IDS } from './generate.ts';

const { signal } = new AbortController();
const NOTHING_HELD: ReadonlySet<string> = new Set();

async function storeWith(...writes: readonly Write[]): Promise<MemoryStore> {
  const store = new MemoryStore();
  await store.commit(writes, { signal });
  return store;
}

function revision(id: string, networks: readonly string[]): Write {
  const value = {
    id: `${id}.1`,
    serviceId: id,
    revision: 1,
    createdAtMs: 1,
    spec: serviceSpec(id, networks),
  };
  return { table: 'revisions', key: value.id, value };
}

test('allow-lists go with the service and the network, but not to ingress', async (t) => {
  const spec = { ...serviceSpec('web', ['net1']), labels: { 'shoal.allow-from': 'app:80' } };
  const ports = [{ protocol: 'tcp', targetPort: 80, publishedPort: 80, mode: 'ingress' }] as const;
  const web = { ...service('web'), endpoint: { vips: [], ports } };
  const first = { id: 'web.1', serviceId: 'web', revision: 1, createdAtMs: 1, spec };
  const store = await storeWith({ table: 'revisions', key: 'web.1', value: first });
  t.deepEqual(
    serviceRows(viewOf(store, testVault, silentLogger), web).map((row) => [row.networkId, row.allowFrom]),
    [
      ['net1', [{ from: ['app'], protocol: 'tcp', ports: [80, 80] }]],
      [INGRESS_NETWORK_ID, undefined],
    ],
  );
  const labels = { 'shoal.allow': 'app>web', 'com.docker.stack.namespace': 's' };
  const row = networkRow({
    id: 'net1',
    createdAtMs: 1,
    allocation: { subnet: '10.0.0.0/24', gateway: '10.0.0.1', vni: 4097 },
    spec: {
      name: 's_net',
      labels,
      driver: 'overlay',
      internal: false,
      attachable: false,
      ingress: false,
      driverOptions: {},
    },
  });
  t.deepEqual(row?.allow, [{ from: ['s_app', 'app'], to: ['s_web', 'web'] }]);
});

test('an unhealthy task serves where its service asks for it, by what it asks for now', async (t) => {
  const ask = (number: number, serveUnready: boolean): Write => {
    const spec = { ...serviceSpec('web', ['net1']), ...(serveUnready ? { serveUnready } : {}) };
    const value = { id: `web.${number}`, serviceId: 'web', revision: number, createdAtMs: 1, spec };
    return { table: 'revisions', key: value.id, value };
  };
  const addresses = [{ network: 'net1', address: '10.0.0.2' }];
  const store = await storeWith(
    ...twoNodes,
    { table: 'services', key: 'web', value: service('web') },
    ask(1, false),
    { table: 'tasks', key: 't1', value: task('t1', 'web', 'n1', { addresses }) },
    { table: 'statuses', key: 't1', value: { ...status('t1', 'running'), health: 'starting' } },
  );
  const serving = (): boolean | undefined =>
    assignmentsFor(viewOf(store, testVault, silentLogger), 'n1', NOTHING_HELD).endpoints.get('net1/t1')
      ?.serving;
  t.false(serving());
  await store.commit(
    [ask(2, true), { table: 'services', key: 'web', value: { ...service('web'), revision: 2 } }],
    {
      signal,
    },
  );
  t.true(serving());
});

const twoNodes: readonly Write[] = [
  revision('web', ['net1']),
  { table: 'services', key: 'web', value: service('web') },
  {
    table: 'tasks',
    key: 't1',
    value: task('t1', 'web', 'n1', { addresses: [{ network: 'net1', address: '10.0.0.2' }] }),
  },
  {
    table: 'tasks',
    key: 't2',
    value: task('t2', 'web', 'n2', { addresses: [{ network: 'net1', address: '10.0.0.3' }] }),
  },
  { table: 'statuses', key: 't1', value: status('t1', 'running') },
];

test('a node holds its own tasks and the endpoints of others on its networks', async (t) => {
  const store = await storeWith(...twoNodes);
  const set = assignmentsFor(viewOf(store, testVault, silentLogger), 'n1', NOTHING_HELD);
  t.deepEqual([...set.tasks.keys()], ['t1']);
  t.deepEqual([...set.endpoints.keys()].sort(), ['net1/t1', 'net1/t2']);
  t.true(set.endpoints.get('net1/t1')?.serving);
  t.false(set.endpoints.get('net1/t2')?.serving, 'a task that does not run yet gets no traffic');
  t.deepEqual(set.services.get('net1/web')?.aliases, ['web-alias']);
});

test('a node that is on no network learns of none', async (t) => {
  const store = await storeWith(...twoNodes);
  const set = assignmentsFor(viewOf(store, testVault, silentLogger), 'n3', NOTHING_HELD);
  t.deepEqual([set.tasks.size, set.networks.size, set.endpoints.size, set.services.size], [0, 0, 0, 0]);
});

test('invariant 9: a secret goes to the nodes that have a task which uses it, until the task is over', async (t) => {
  const sealed = testVault.seal('secret', 'key', Buffer.from('k3y'));
  const file = {
    id: 'key',
    spec: { name: 'key', labels: {} },
    version: 1,
    createdAtMs: 1,
    updatedAtMs: 1,
    sealed,
  };
  const target = { name: 'key', uid: '0', gid: '0', mode: 0o444 };
  const spec = serviceSpec('web');
  const container = { ...spec.container, secrets: [{ id: 'key', name: 'key', target }] };
  const store = await storeWith(
    { table: 'secrets', key: 'key', value: file },
    { table: 'secrets', key: 'other', value: { ...file, id: 'other' } },
    { table: 'services', key: 'web', value: service('web') },
    {
      table: 'revisions',
      key: 'web.1',
      value: { id: 'web.1', serviceId: 'web', revision: 1, createdAtMs: 1, spec: { ...spec, container } },
    },
    { table: 'tasks', key: 't1', value: task('t1', 'web', 'n1') },
    { table: 'tasks', key: 't2', value: task('t2', 'web', 'n2') },
    { table: 'statuses', key: 't2', value: status('t2', 'failed') },
  );
  const secretsOf = (nodeId: string) =>
    [...assignmentsFor(viewOf(store, testVault, silentLogger), nodeId, NOTHING_HELD).secrets].map(
      ([id, { data }]) => [id, Buffer.from(data, 'base64').toString()],
    );
  t.deepEqual(secretsOf('n1'), [['key', 'k3y']]);
  t.deepEqual(secretsOf('n2'), [], 'its task is over');
  t.deepEqual(secretsOf('n3'), []);
});

test('every node is on ingress once a service publishes there', async (t) => {
  const published = { protocol: 'tcp', targetPort: 80, publishedPort: 8080, mode: 'ingress' } as const;
  const endpoint = {
    vips: [{ network: INGRESS_NETWORK_ID, address: '10.255.0.2' }],
    ports: [published, { ...published, publishedPort: 9000, mode: 'host' as const }],
  };
  const store = await storeWith(...twoNodes, {
    table: 'services',
    key: 'web',
    value: { ...service('web'), endpoint },
  });
  const row = assignmentsFor(viewOf(store, testVault, silentLogger), 'n3', NOTHING_HELD).services.get(
    `${INGRESS_NETWORK_ID}/web`,
  );
  t.deepEqual(row?.ports, [{ protocol: 'tcp', publishedPort: 8080, targetPort: 80 }]);
  t.is(row?.vip, '10.255.0.2');
});

test('health and desired state decide who serves', async (t) => {
  const store = await storeWith(...twoNodes);
  const serves = (): boolean | undefined =>
    assignmentsFor(viewOf(store, testVault, silentLogger), 'n1', NOTHING_HELD).endpoints.get('net1/t1')
      ?.serving;
  for (const [health, expected] of [
    ['starting', false],
    ['healthy', true],
    ['unhealthy', false],
  ] as const) {
    await store.commit([{ table: 'statuses', key: 't1', value: status('t1', 'running', { health }) }], {
      signal,
    });
    t.is(serves(), expected, health);
  }
  await store.commit([{ table: 'statuses', key: 't1', value: status('t1', 'running') }], { signal });
  const known = store.get('tasks', 't1');
  if (known === undefined) return t.fail();
  await store.commit([{ table: 'tasks', key: 't1', value: { ...known, desired: 'shutdown' } }], { signal });
  t.is(serves(), false);
});

test('a task that is over stays with its node but never to run, and leaves the networks', async (t) => {
  const store = await storeWith(...twoNodes);
  await store.commit([{ table: 'statuses', key: 't1', value: status('t1', 'failed') }], { signal });
  const set = assignmentsFor(viewOf(store, testVault, silentLogger), 'n1', NOTHING_HELD);
  t.is(set.tasks.get('t1')?.desired, 'shutdown');
  t.is(set.endpoints.size, 0);
});

test('a node knows itself and those on its networks that have said where they are, on ingress all', async (t) => {
  const node = (id: string, index: number): Write => ({
    table: 'nodes',
    key: id,
    value: {
      id,
      spec: { role: 'worker', availability: 'active', labels: {} },
      status: 'ready',
      statusAtMs: 1,
      createdAtMs: 1,
      updatedAtMs: 1,
      index,
      ...(id === 'n4' ? {} : { description: description(id) }),
    },
  });
  const nodes = ['n1', 'n2', 'n3', 'n4'].map((id, at) => node(id, at + 1));
  const on4 = task('t4', 'web', 'n4', { addresses: [{ network: 'net1', address: '10.0.0.4' }] });
  const store = await storeWith(...twoNodes, ...nodes, { table: 'tasks', key: 't4', value: on4 });
  const peersOf = (id: string) => [
    ...assignmentsFor(viewOf(store, testVault, silentLogger), id, NOTHING_HELD).peers.values(),
  ];
  t.deepEqual(peersOf('n1')[0], { nodeId: 'n1', hostname: 'n1', index: 1, address: addressOf('n1') });
  t.deepEqual(
    ['n1', 'n3', 'n4'].map((id) => peersOf(id).map(({ nodeId }) => nodeId)),
    [['n1', 'n2'], ['n3'], ['n1', 'n2']],
  );
  const ports = [{ protocol: 'tcp', targetPort: 80, publishedPort: 8080, mode: 'ingress' } as const];
  const publishing = { ...service('web'), endpoint: { vips: [], ports } };
  await store.commit([{ table: 'services', key: 'web', value: publishing }], { signal });
  t.deepEqual(
    peersOf('n3').map(({ nodeId }) => nodeId),
    ['n1', 'n2', 'n3'],
  );
});

test('the tracker agrees with assignmentsFor after any changes', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyWrites, { maxLength: 10 }),
      fc.array(fc.array(anyWrites, { minLength: 1, maxLength: 4 }), { maxLength: 12 }),
      fc.integer({ min: 0, max: 3 }),
      async (before, rounds, releaseEvery) => {
        const store = new MemoryStore();
        for (const writes of before) await store.commit(writes, { signal });
        const tracker = new AssignmentTracker(viewOf(store, testVault, silentLogger));
        store.onChange((changes) => tracker.note(changes));
        const sets = new Map<string, AssignmentSet>(NODE_IDS.map((id) => [id, EMPTY_ASSIGNMENTS]));
        const flush = (): void =>
          tracker.flush(({ nodes, diffOf }) => {
            for (const [id, set] of sets) {
              if (nodes === 'all' || nodes.has(id)) sets.set(id, applyDiff(set, diffOf(id)));
              else t.true(isEmptyDiff(diffOf(id)), `${id} has something to be told`);
            }
          });
        flush();
        for (const [index, round] of rounds.entries()) {
          for (const writes of round) await store.commit(writes, { signal });
          if (releaseEvery > 0 && index % releaseEvery === 0)
            for (const id of tracker.held) tracker.release(id);
          flush();
          for (const [id, set] of sets) {
            const expected = assignmentsFor(viewOf(store, testVault, silentLogger), id, tracker.held);
            t.deepEqual(diffAssignments(set, expected), { put: {}, drop: {} });
            t.deepEqual(diffAssignments(tracker.full(id), expected), { put: {}, drop: {} });
          }
        }
      },
    ),
    { numRuns: 150 },
  );
});

test('apply(diff(a, b), a) is b', async (t) => {
  const sets = async (rounds: Write[][]): Promise<AssignmentSet> => {
    const store = new MemoryStore();
    for (const writes of rounds) await store.commit(writes, { signal });
    return assignmentsFor(viewOf(store, testVault, silentLogger), 'n1', NOTHING_HELD);
  };
  const rounds = fc.array(anyWrites, { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(rounds, rounds, async (left, right) => {
      const [a, b] = [await sets(left), await sets(right)];
      const made = applyDiff(a, diffAssignments(a, b));
      for (const table of ['tasks', 'networks', 'endpoints', 'services', 'peers'] as const) {
        t.deepEqual(Object.fromEntries(made[table]), Object.fromEntries(b[table]));
      }
    }),
    { numRuns: 200 },
  );
});
