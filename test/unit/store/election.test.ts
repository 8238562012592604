import test from 'ava';
import type { ExecutionContext } from 'ava';
import { Election } from '../../../manager/store/election.ts';
import type { OnLeader } from '../../../manager/store/election.ts';
import { createEtcdClient } from '../../../manager/store/etcd-client.ts';
import { ELECTION_PREFIX } from '../../../manager/store/keys.ts';
import { StaleError } from '../../../manager/store/store.ts';
import type { Fence } from '../../../manager/store/store.ts';
import { startEtcd } from '../../harness/etcd.ts';
import type { TestEtcd } from '../../harness/etcd.ts';
import { eventually, open, put, silent, within } from './helpers.ts';

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });

interface Stander {
  readonly election: Election;
  /** The present reign, if any. */
  reign: { fence: Fence; signal: AbortSignal } | undefined;
  readonly fences: Fence[];
  resign(): Promise<void>;
}

/** One candidate with a client of its own, as another manager has. */
function stand(etcd: TestEtcd, id: string, onLeader?: OnLeader): Stander {
  const client = createEtcdClient({ endpoints: etcd.endpoints, callTimeoutMs: 2_000 });
  const stop = new AbortController();
  const stander: Stander = {
    election: new Election({ client, id, ttlSeconds: 2, logger: silent }),
    reign: undefined,
    fences: [],
    resign: async () => {
      stop.abort();
      await running;
      client.close();
    },
  };
  const lead: OnLeader = async (fence, signal) => {
    stander.reign = { fence, signal };
    stander.fences.push(fence);
    await (onLeader ?? ((_, aborted) => untilAborted(aborted)))(fence, signal);
    stander.reign = undefined;
  };
  const running = stander.election.run(stop.signal, lead);
  return stander;
}

async function leads(t: ExecutionContext, stander: Stander): Promise<Fence> {
  await eventually(t, 'it leads', () => stander.reign !== undefined);
  return (stander.reign as { fence: Fence }).fence;
}

test.serial(
  'one leads, all know who, and the next one in line follows at once when it resigns',
  async (t) => {
    await using etcd = await startEtcd();
    await using store = await open(etcd);
    const a = stand(etcd, 'a');
    const fence = await leads(t, a);
    const b = stand(etcd, 'b');
    await eventually(t, 'b hears of a', () => b.election.leaderId === 'a');
    t.is(b.reign, undefined);
    await store.commit([put('t1')], { fence, signal: within() });
    await a.resign();
    const next = await leads(t, b);
    await eventually(t, 'b hears of itself', () => b.election.leaderId === 'b');
    await t.throwsAsync(store.commit([put('t2')], { fence, signal: within() }), {
      instanceOf: StaleError,
      message: /not the leader/,
    });
    await store.commit([put('t3')], { fence: next, signal: within() });
    t.deepEqual([...store.all('tasks').keys()].sort(), ['t1', 't3']);
    await b.resign();
    t.is((await etcd.client.getAll().prefix(ELECTION_PREFIX).keys()).length, 0);
  },
);

test.serial('a leader whose key is taken away is told, can write no more, and stands again', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  const a = stand(etcd, 'a');
  const fence = await leads(t, a);
  const signal = a.reign?.signal;
  const b = stand(etcd, 'b');
  await eventually(t, 'b is in line', async () => {
    return (await etcd.client.getAll().prefix(ELECTION_PREFIX).keys()).length === 2;
  });
  await etcd.client.delete().key(fence.key);
  await leads(t, b);
  await eventually(t, 'a is told', () => signal?.aborted);
  const refused = await t.throwsAsync(store.commit([put('t1')], { fence, signal: within() }));
  t.true(refused instanceof StaleError && refused.fenced);
  await b.resign();
  const again = await leads(t, a);
  t.not(again.createRevision, fence.createRevision);
  await a.resign();
});

test.serial(
  'a leader that loses etcd stops leading before its lease can end, and leads again when etcd is back',
  async (t) => {
    await using etcd = await startEtcd();
    const a = stand(etcd, 'a');
    await leads(t, a);
    const signal = a.reign?.signal;
    await etcd.kill();
    await eventually(t, 'the leadership is given up', () => signal?.aborted);
    await eventually(t, 'its work has ended', () => a.reign === undefined);
    await etcd.start();
    await leads(t, a);
    t.is(a.fences.length, 2);
    await a.resign();
  },
);

test.serial('a short absence of etcd does not end a leadership', async (t) => {
  await using etcd = await startEtcd();
  const client = createEtcdClient({ endpoints: etcd.endpoints });
  const stop = new AbortController();
  const election = new Election({ client, id: 'a', ttlSeconds: 60, logger: silent });
  const fences: Fence[] = [];
  const running = election.run(stop.signal, async (fence, signal) => {
    fences.push(fence);
    await untilAborted(signal);
  });
  await eventually(t, 'it leads', () => fences.length === 1);
  await etcd.restart();
  await using store = await open(etcd);
  await store.commit([put('t1')], { fence: fences[0] as Fence, signal: within() });
  t.is(fences.length, 1);
  stop.abort();
  await running;
  client.close();
});

test.serial('a lease that is kept outlives its time to live', async (t) => {
  await using etcd = await startEtcd();
  const a = stand(etcd, 'a');
  const fence = await leads(t, a);
  // Other leases of the same length, not kept, end meanwhile: twice in a row.
  for (let i = 0; i < 2; i += 1) {
    const { ID } = await etcd.client.leaseClient.leaseGrant({ TTL: 2 });
    await etcd.client.kv.put({ key: Buffer.from('/other'), value: Buffer.from('x'), lease: ID });
    await eventually(t, 'the other ends', async () => (await etcd.client.get('/other').string()) === null);
  }
  t.is(a.reign?.fence.createRevision, fence.createRevision);
  t.false(a.reign?.signal.aborted);
  await a.resign();
});

test.serial('work that fails or returns gives the leadership up, and the manager stands again', async (t) => {
  await using etcd = await startEtcd();
  let turns = 0;
  const a = stand(etcd, 'a', async (_, signal) => {
    turns += 1;
    if (turns === 1) throw new Error('planted');
    if (turns === 2) return;
    await untilAborted(signal);
  });
  await eventually(t, 'the third turn', () => turns === 3);
  await a.resign();
  t.is(new Set(a.fences.map(({ createRevision }) => createRevision)).size, 3);
});

test.serial('invariant 4: of many candidates that come and go, never two can write', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  const writers: string[] = [];
  let reigning = 0;
  const work =
    (id: string): OnLeader =>
    async (fence, signal) => {
      reigning += 1;
      t.is(reigning, 1, 'nobody else leads');
      for (let i = 0; i < 3; i += 1) {
        await store.commit([put('t1', { pendingReason: id })], { fence, signal });
        writers.push(id);
      }
      reigning -= 1;
    };
  const standers = ['a', 'b', 'c', 'd'].map((id) => stand(etcd, id, work(id)));
  await eventually(t, 'each has had a turn', () => new Set(writers).size === 4);
  await Promise.all(standers.map((one) => one.resign()));
  t.pass();
});

test.serial(
  'a manager that was killed leads again as soon as it is back, not once its old lease has run out',
  async (t) => {
    await using etcd = await startEtcd();
    const { ID } = await etcd.client.leaseClient.leaseGrant({ TTL: 3600 });
    const key = Buffer.from(`${ELECTION_PREFIX}0000000000000001`);
    const { header } = await etcd.client.kv.put({ key, value: Buffer.from('a'), lease: ID });
    const other = stand(etcd, 'b');
    await eventually(t, 'b waits for it', () => other.election.leaderId === 'a');
    await using store = await open(etcd);
    const a = stand(etcd, 'a');
    // b has waited longer than the new candidacy of a: of the two one leads, an hour early.
    await eventually(t, 'one leads', () => a.reign !== undefined || other.reign !== undefined);
    const past = { key: key.toString(), createRevision: header.revision };
    const late = store.commit([put('t1')], { fence: past, signal: within() });
    await t.throwsAsync(late, { instanceOf: StaleError }, 'what the killed one may still send is refused');
    await a.resign();
    await other.resign();
  },
);
