import test from 'ava';
import { lead } from '../../../manager/leader/leader.ts';
import type { LeaderOptions } from '../../../manager/leader/leader.ts';
import type { Fence } from '../../../manager/store/store.ts';
import { delay } from '../../../shared/lib/abort.ts';
import { cluster, GB } from '../plan/_cluster.ts';
import type { TestCluster } from '../plan/_cluster.ts';

const fence: Fence = { key: '/election/a', createRevision: '7' };
const silent = { debug() {}, info() {}, warn() {}, error() {} };

function start(swarm: TestCluster, more: Partial<LeaderOptions> = {}) {
  swarm.store.leader ??= fence;
  const stop = new AbortController();
  const clock = { now: () => Date.now() };
  const done = lead({ store: swarm.store, fence, clock, logger: silent, ...more }, stop.signal);
  return { done, stop: async () => (stop.abort(), await done) };
}

async function eventually(condition: () => boolean): Promise<void> {
  const signal = AbortSignal.timeout(20_000);
  while (!condition()) await delay(2, signal);
}

function build(nodes: number): TestCluster {
  const swarm = cluster();
  swarm.now = Date.now();
  return swarm.nodes(nodes);
}

test('what is there at the start and what comes later is assigned', async (t) => {
  const swarm = build(3).service('web', { replicas: 3 });
  const leader = start(swarm);
  await eventually(() => swarm.wanted('web').length === 3);
  swarm.service('api', { replicas: 2 });
  await eventually(() => swarm.wanted('api').length === 2);
  t.true(swarm.wanted('api').every(({ nodeId }) => nodeId !== undefined));
  await leader.stop();
});

// 252: a /24 without its own, its gateway, its broadcast and the service's virtual address.
test('a plan larger than a commit or a turn is written in pieces', async (t) => {
  const swarm = build(50);
  const sizes: number[] = [];
  swarm.store.onChange((changes) => sizes.push(changes.length));
  const leader = start(swarm, { operationsPerCommit: 40, slotsPerTurn: 150 });
  swarm.network('front').service('web', {
    replicas: 500,
    networks: [{ network: 'front', aliases: [] }],
    ports: [{ protocol: 'tcp', targetPort: 80, publishedPort: 0, mode: 'ingress' }],
  });
  await eventually(() => swarm.wanted('web').filter(({ nodeId }) => nodeId !== undefined).length === 252);
  t.true(Math.max(...sizes) <= 40);
  await leader.stop();
});

test('after a restart nodes come back one by one, and the first of them is not given everything', async (t) => {
  const swarm = build(3);
  for (const id of ['n1', 'n2', 'n3']) swarm.node(id, { status: 'unknown' });
  swarm.service('web', { replicas: 3 });
  const leader = start(swarm);
  for (const id of ['n1', 'n2', 'n3']) {
    await delay(30, AbortSignal.timeout(20_000));
    t.is(swarm.tasks('web').length, 0, `${id} has not come`);
    swarm.node(id, { status: 'ready' });
  }
  await eventually(() => new Set(swarm.wanted('web').map(({ nodeId }) => nodeId)).size === 3);
  await leader.stop();
});

test('a node that does not come back holds up the others for a moment only', async (t) => {
  const swarm = build(2);
  swarm.node('n1', { status: 'unknown' });
  swarm.service('web', { replicas: 3 });
  const leader = start(swarm);
  await eventually(() => swarm.wanted('web').filter(({ nodeId }) => nodeId === 'n2').length === 3);
  t.pass();
  await leader.stop();
});

test('invariant 4: a deposed leader writes nothing and leaves', async (t) => {
  const swarm = build(1);
  const leader = start(swarm);
  await eventually(() => swarm.store.all('networks').size === 1);
  swarm.store.leader = { key: '/election/b', createRevision: '8' };
  swarm.service('web');
  await leader.done;
  t.is(swarm.tasks('web').length, 0);
});

test('what the leader before wrote last is in the mirror before anything is planned', async (t) => {
  const swarm = build(2).service('web', { replicas: 2 });
  const { store } = swarm;
  // The mirror shows the two tasks only once a commit of the new leader has come back.
  const commit = store.commit.bind(store);
  let first = true;
  store.commit = async (writes, options) => {
    const revision = await commit(writes, options);
    if (first) swarm.plan();
    first = false;
    return revision;
  };
  const leader = start(swarm);
  await eventually(() => swarm.wanted('web').length === 2);
  swarm.service('api');
  await eventually(() => swarm.wanted('api').length === 1);
  t.is(swarm.tasks('web').length, 2);
  await leader.stop();
});

test('a commit that was written though etcd said no is seen before the next plan', async (t) => {
  const swarm = build(2).service('web', { replicas: 2 });
  const { store } = swarm;
  const commit = store.commit.bind(store);
  let hidden: (() => void) | undefined;
  let lost = false;
  store.commit = async (writes, options) => {
    if (!lost && writes.some(({ table }) => table === 'tasks')) {
      lost = true;
      hidden = () => store.commitNow(writes, options);
      throw new Error('14 UNAVAILABLE');
    }
    // A revision after it: who waits for this one has seen that one.
    hidden?.();
    hidden = undefined;
    return commit(writes, options);
  };
  const leader = start(swarm);
  await eventually(() => lost && swarm.wanted('web').length >= 2);
  swarm.service('api');
  await eventually(() => swarm.wanted('api').length === 1);
  t.is(swarm.tasks('web').length, 2);
  await leader.stop();
});

test('a node that changes between plan and commit gets no task', async (t) => {
  const swarm = build(2);
  const { store } = swarm;
  const commit = store.commit.bind(store);
  let drained = false;
  store.commit = async (writes, options) => {
    if (!drained && writes.some(({ table }) => table === 'tasks')) {
      drained = true;
      swarm.node('n1', { availability: 'drain' });
    }
    return commit(writes, options);
  };
  const leader = start(swarm);
  swarm.service('web', { replicas: 4 });
  await eventually(() => swarm.wanted('web').length === 4);
  t.deepEqual(swarm.spread('web'), { n2: 4 });
  await leader.stop();
});

test('a timer replaces a failed task without any change', async (t) => {
  const swarm = build(1).service('web', { restart: { delayNs: 50_000_000 } });
  const leader = start(swarm);
  await eventually(() => swarm.wanted('web').length === 1);
  const [first] = swarm.wanted('web');
  swarm.now = Date.now();
  swarm.report(first?.id ?? '', 'failed');
  await eventually(() =>
    swarm.wanted('web').some(({ id, desired }) => id !== first?.id && desired === 'running'),
  );
  await leader.stop();
  t.pass();
});

test('a pending task is placed when room is made', async (t) => {
  const swarm = build(1).service('big', { reservations: { nanoCpus: 4e9 } });
  const leader = start(swarm);
  await eventually(() => swarm.wanted('big').length === 1);
  swarm.service('small', { reservations: { nanoCpus: 1e9 } });
  await eventually(() => swarm.reasons('small')[0]?.includes('insufficient CPU on 1 node') === true);
  swarm.removeService('big');
  await eventually(() => swarm.tasks('big').every(({ desired }) => desired === 'remove'));
  for (const { id } of swarm.tasks('big')) swarm.report(id, 'shutdown');
  await eventually(() => swarm.wanted('small')[0]?.nodeId === 'n1');
  await eventually(() => swarm.store.get('services', 'big') === undefined);
  await leader.stop();
  t.pass();
});

test('a task that wants to be where another is, is placed when that one is', async (t) => {
  const swarm = build(2);
  const affinities = [{ service: 'db', kind: 'with', hard: true }] as const;
  swarm.service('web', { placement: { affinities } });
  const leader = start(swarm);
  await eventually(() => swarm.reasons('web')[0]?.includes('no task of service db') === true);
  swarm.service('db');
  await eventually(() => swarm.wanted('web')[0]?.nodeId !== undefined);
  t.is(swarm.wanted('web')[0]?.nodeId, swarm.wanted('db')[0]?.nodeId);
  await leader.stop();
});

test('it survives a store that fails for a while', async (t) => {
  const swarm = build(1);
  const { store } = swarm;
  const commit = store.commit.bind(store);
  let left = 3;
  store.commit = async (writes, options) => {
    if (left > 0) {
      left -= 1;
      throw new Error('etcd is away');
    }
    return commit(writes, options);
  };
  const leader = start(swarm);
  swarm.service('web');
  await eventually(() => swarm.wanted('web').length === 1);
  await leader.stop();
  t.is(left, 0);
});

test('a service that is updated between plan and commit gets no task of the old revision', async (t) => {
  const swarm = build(2);
  const { store } = swarm;
  const commit = store.commit.bind(store);
  let updated = false;
  store.commit = async (writes, options) => {
    if (!updated && writes.some(({ table }) => table === 'tasks')) {
      updated = true;
      swarm.service('web', { image: 'img:2' });
    }
    return commit(writes, options);
  };
  const revisions = new Set<number | undefined>();
  store.onChange((changes) => {
    for (const change of changes) if (change.table === 'tasks') revisions.add(change.after?.revision);
  });
  const leader = start(swarm);
  swarm.service('web', { replicas: 4 });
  await eventually(() => swarm.wanted('web').length === 4);
  await leader.stop();
  t.deepEqual([...revisions], [2]);
});

test('what a plan builds upon its own first commit is not stale', async (t) => {
  const swarm = build(2);
  const { store } = swarm;
  const commit = store.commit.bind(store);
  let refused = 0;
  store.commit = (writes, options) =>
    commit(writes, options).catch((error: unknown) => {
      refused += 1;
      throw error;
    });
  const leader = start(swarm);
  // The network gets its subnet, the service its address, and the tasks theirs, all in one plan.
  swarm.network('front').service('web', { replicas: 4, networks: [{ network: 'front', aliases: [] }] });
  await eventually(() => swarm.wanted('web').length === 4);
  await leader.stop();
  t.is(refused, 0);
});

test('what tasks use scales their service, up at once and down by timers', async (t) => {
  const swarm = build(2);
  let nanoCpus = 2e9;
  const usage = { samples: () => [{ atMs: Date.now(), nanoCpus, memoryBytes: 0 }] };
  const leader = start(swarm, { usage });
  swarm.service('web', { autoscale: { min: 1, max: 4, cpuPercent: 50, coolDownMs: 1_000 } });
  await eventually(() => swarm.wanted('web').length === 1);
  swarm.obey();
  await eventually(() => swarm.wanted('web').length === 4);
  swarm.obey();
  t.is(swarm.get('web').scaled?.reason, 'mean cpu use was 200 %, the target is 50 %');
  nanoCpus = 0;
  await eventually(() => swarm.wanted('web').length === 1);
  t.is(swarm.get('web').scaled?.replicas, 1);
  await leader.stop();
});

test('a node that comes makes a service look whether it lies evenly, one that makes room does so too', async (t) => {
  const swarm = build(1)
    .service('big', { reservations: { memoryBytes: 8 * GB }, constraints: ['node.id==n3'] })
    .service('web', { replicas: 4, rebalanceEveryMs: 1, update: { monitorNs: 1 } });
  const leader = start(swarm);
  const obey = (): boolean => {
    swarm.now = Date.now();
    swarm.obey();
    return true;
  };
  await eventually(() => obey() && swarm.running('web').length === 4);
  const idle = swarm.store.revision;
  await delay(50, AbortSignal.timeout(20_000));
  t.is(swarm.store.revision, idle, 'alone there is nothing to level');
  swarm.node('n2');
  await eventually(() => obey() && JSON.stringify(swarm.spread('web')) === '{"n1":2,"n2":2}');
  swarm.service('web', { reservations: { memoryBytes: GB }, replicas: 6 });
  await eventually(() => obey() && swarm.get('web').updateStatus?.state === 'completed');
  swarm.node('n3');
  await eventually(() => obey() && swarm.running('big').length === 1);
  t.deepEqual(swarm.spread('web'), { n1: 3, n2: 3 });
  swarm.removeService('big');
  await eventually(() => obey() && JSON.stringify(swarm.spread('web')) === '{"n1":2,"n2":2,"n3":2}');
  await leader.stop();
});
