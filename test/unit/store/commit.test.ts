import test from 'ava';
import { StaleError } from '../../../manager/store/store.ts';
import type { Change } from '../../../manager/store/store.ts';
import { InvalidError, UnavailableError } from '../../../shared/errors/index.ts';
import { startEtcd } from '../../harness/etcd.ts';
import type { TestEtcd } from '../../harness/etcd.ts';
import { contentOf, contentOfEtcd, eventually, open, put, remove, within } from './helpers.ts';

const never = new AbortController().signal;

/** How many transactions that wrote something etcd has seen: its revision. */
async function revisionOf(etcd: TestEtcd): Promise<number> {
  const { header } = await etcd.client.kv.range({ key: Buffer.from('/'), limit: 1 });
  return Number(header.revision);
}

test.serial('who writes reads it at once, with its version', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  for (let slot = 1; slot <= 20; slot += 1) {
    const revision = await store.commit([put('t1', { slot })], { signal: never });
    t.is(store.get('tasks', 't1')?.slot, slot);
    t.is(store.version('tasks', 't1'), revision);
    t.true(store.revision >= revision);
  }
  await store.commit([remove('t1')], { signal: never });
  t.is(store.get('tasks', 't1'), undefined);
  t.is(store.version('tasks', 't1'), 0);
});

test.serial('expect and guards hold back a commit as a whole', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  const first = await store.commit([put('t1', {}, 0)], { signal: never });
  const stale = { instanceOf: StaleError, message: /tasks/ };
  const again = await t.throwsAsync(store.commit([put('t1', {}, 0), put('t2')], { signal: never }), stale);
  t.false(again?.fenced);
  t.is(store.get('tasks', 't2'), undefined);
  const guards = [{ table: 'tasks', key: 't1', expect: first } as const];
  await store.commit([put('t2', {}, 0)], { guards, signal: never });
  await store.commit([put('t1', { slot: 2 }, first)], { signal: never });
  await t.throwsAsync(store.commit([put('t3')], { guards, signal: never }), stale);
  const absent = [{ table: 'nodes', key: 'n1', expect: 0 } as const];
  await store.commit([put('t3')], { guards: absent, signal: never });
  t.deepEqual([...store.all('tasks').keys()].sort(), ['t1', 't2', 't3']);
  t.deepEqual(contentOf(store), await contentOfEtcd(etcd));
});

test.serial('a commit without effect on the tables resolves too', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  await store.commit([], { signal: never });
  await store.commit([remove('absent')], { signal: never });
  await etcd.client.put('/elsewhere').value('x');
  const guards = [{ table: 'tasks', key: 'absent', expect: 0 } as const];
  await store.commit([], { guards, signal: within() });
  t.pass();
});

test.serial('concurrent commits share transactions, and each gets its own answer', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  const before = await revisionOf(etcd);
  const ids = Array.from({ length: 300 }, (_, i) => `t${i}`);
  await Promise.all(ids.map((id) => store.commit([put(id, {}, 0)], { signal: never })));
  const transactions = (await revisionOf(etcd)) - before;
  t.true(transactions < 30, `${transactions} transactions for 300 commits`);
  t.is(store.all('tasks').size, 300);
});

test.serial('a group with stale members: those are refused, the others are written', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  await store.commit([put('taken')], { signal: never });
  const changes: Change[] = [];
  store.onChange((batch) => changes.push(...batch));
  const commits = Array.from({ length: 60 }, (_, i) =>
    i % 10 === 3
      ? store.commit([put(`t${i}`), put('taken', { slot: 9 }, i + 100_000)], { signal: never })
      : store.commit([put(`t${i}`, {}, 0)], { signal: never }),
  );
  const results = await Promise.allSettled(commits);
  results.forEach((result, i) => t.is(result.status, i % 10 === 3 ? 'rejected' : 'fulfilled', `member ${i}`));
  t.is(store.all('tasks').size, 55);
  t.is(store.get('tasks', 'taken')?.slot, 1);
  t.is(changes.length, 54);
  t.deepEqual(contentOf(store), await contentOfEtcd(etcd));
});

test.serial('commits of one key are not grouped and keep their order', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  const seen: (number | undefined)[] = [];
  store.onChange((changes) => {
    for (const change of changes) if (change.table === 'tasks') seen.push(change.after?.slot);
  });
  const slots = Array.from({ length: 40 }, (_, i) => i + 1);
  await Promise.all(slots.map((slot) => store.commit([put('same', { slot })], { signal: never })));
  t.deepEqual(seen, slots);
});

test.serial('of two commits that each guard what the other writes, one is refused', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  for (let round = 0; round < 10; round += 1) {
    const [a, b] = [`a${round}`, `b${round}`];
    const results = await Promise.allSettled([
      store.commit([put(a)], { guards: [{ table: 'tasks', key: b, expect: 0 }], signal: never }),
      store.commit([put(b)], { guards: [{ table: 'tasks', key: a, expect: 0 }], signal: never }),
    ]);
    t.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  }
});

test.serial('a broken fence refuses its commits only, and says that it was the fence', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  await etcd.client.put('/shoal/v1-election/a').value('me');
  const { kvs } = await etcd.client.kv.range({ key: Buffer.from('/shoal/v1-election/a') });
  const fence = { key: '/shoal/v1-election/a', createRevision: kvs[0]?.create_revision ?? '' };
  await store.commit([put('t1')], { fence, signal: never });
  const broken = { ...fence, createRevision: '1' };
  const gone = { key: '/shoal/v1-election/b', createRevision: '5' };
  const results = await Promise.allSettled([
    store.commit([put('t2')], { fence, signal: never }),
    store.commit([put('t3')], { fence: broken, signal: never }),
    store.commit([put('t4')], { fence: gone, signal: never }),
    store.commit([put('t1', {}, 0)], { fence, signal: never }),
    store.commit([put('t5')], { signal: never }),
  ]);
  const outcome = results.map((one) =>
    one.status === 'fulfilled' ? 'written' : (one.reason as StaleError).fenced ? 'fenced' : 'stale',
  );
  t.deepEqual(outcome, ['written', 'fenced', 'fenced', 'stale', 'written']);
  t.deepEqual([...store.all('tasks').keys()].sort(), ['t1', 't2', 't5']);
});

test.serial(
  'a commit that no transaction can hold, or that contradicts itself, is refused by name',
  async (t) => {
    await using etcd = await startEtcd();
    await using store = await open(etcd);
    const many = Array.from({ length: 10_001 }, (_, i) => put(`t${i}`));
    const invalid = { instanceOf: InvalidError };
    await t.throwsAsync(store.commit(many, { signal: never }), { ...invalid, message: /10001 operations/ });
    const large = put('t1', { pendingReason: 'x'.repeat(13_000_000) });
    await t.throwsAsync(store.commit([large], { signal: never }), { ...invalid, message: /bytes/ });
    await t.throwsAsync(store.commit([put('t1'), remove('t1')], { signal: never }), {
      ...invalid,
      message: /twice/,
    });
    await store.commit(many.slice(0, 10_000), { signal: never });
    t.is(store.all('tasks').size, 10_000);
  },
);

test.serial(
  'values larger than the 4 MiB of a client by default are written, watched and read again',
  async (t) => {
    await using etcd = await startEtcd();
    await using store = await open(etcd);
    const pendingReason = 'x'.repeat(3_000_000);
    await store.commit([put('t1', { pendingReason }), put('t2', { pendingReason })], { signal: within() });
    await using other = await open(etcd);
    t.is(other.get('tasks', 't2')?.pendingReason?.length, 3_000_000);
    t.deepEqual(contentOf(store), contentOf(other));
  },
);

test.serial('an aborted commit that still waits is not sent', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  const abort = new AbortController();
  const waiting = store.commit([put('t1')], { signal: abort.signal });
  abort.abort();
  const aborted = { any: true, name: 'AbortError' } as const;
  await t.throwsAsync(waiting, aborted);
  await t.throwsAsync(store.commit([put('t1')], { signal: abort.signal }), aborted);
  await store.commit([put('t2')], { signal: never });
  t.deepEqual(
    (await contentOfEtcd(etcd)).map(([key]) => key),
    ['tasks/t2'],
  );
});

test.serial('without etcd reads go on, commits are refused as unavailable, and both recover', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  await store.commit([put('t1')], { signal: never });
  await etcd.kill();
  await t.throwsAsync(store.commit([put('t2')], { signal: within() }), { instanceOf: UnavailableError });
  t.is(store.get('tasks', 't1')?.id, 't1');
  await etcd.start();
  for (let attempt = 0; attempt < 100 && store.get('tasks', 't3') === undefined; attempt += 1) {
    await store.commit([put('t3')], { signal: within() }).catch((error: unknown) => {
      t.true(error instanceof UnavailableError);
    });
  }
  t.is(store.get('tasks', 't3')?.id, 't3');
  t.deepEqual(contentOf(store), await contentOfEtcd(etcd));
});

test.serial('an etcd with the limits of its own defaults takes groups that fit it', async (t) => {
  await using etcd = await startEtcd({ maxTxnOps: 128 });
  await using store = await open(etcd);
  const ids = Array.from({ length: 600 }, (_, i) => `t${i}`);
  for (const round of ['a', 'b']) {
    await Promise.all(ids.map((id) => store.commit([put(round + id, {}, 0)], { signal: within() })));
  }
  t.is(store.all('tasks').size, 1_200);
  const large = ids.slice(0, 200).map((id) => put(`c${id}`));
  await t.throwsAsync(store.commit(large, { signal: within() }), {
    instanceOf: InvalidError,
    message: /too many operations/,
  });
  t.deepEqual(contentOf(store), await contentOfEtcd(etcd));
});

test.serial('an etcd that does not answer: unavailable, though it may have been written', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd, { callTimeoutMs: 300 });
  await store.commit([put('t1')], { signal: never });
  process.kill(etcd.pid as number, 'SIGSTOP');
  await t.throwsAsync(store.commit([put('t2', {}, 0)], { signal: within() }), {
    instanceOf: UnavailableError,
  });
  t.is(store.get('tasks', 't1')?.id, 't1');
  process.kill(etcd.pid as number, 'SIGCONT');
  await eventually(t, 'a commit gets through', () =>
    store.commit([put('t3')], { signal: within() }).then(
      () => true,
      (error: unknown) => !(error instanceof UnavailableError),
    ),
  );
  await eventually(t, 'the mirror is as etcd is', async () => {
    return JSON.stringify(contentOf(store)) === JSON.stringify(await contentOfEtcd(etcd));
  });
  t.is(store.get('tasks', 't3')?.id, 't3');
});

test.serial('a store that is closed answers every commit, those on their way too', async (t) => {
  await using etcd = await startEtcd();
  const store = await open(etcd);
  const commits = Array.from({ length: 50 }, (_, i) => store.commit([put(`t${i}`)], { signal: never }));
  const [results] = await Promise.all([Promise.allSettled(commits), store[Symbol.asyncDispose]()]);
  for (const result of results) {
    t.true(result.status === 'fulfilled' || result.reason instanceof UnavailableError);
  }
  await t.throwsAsync(store.commit([put('late')], { signal: within() }), { instanceOf: UnavailableError });
});
