import test from 'ava';
import { pino } from 'pino';
import type { Change } from '../../../manager/store/store.ts';
import { startEtcd } from '../../harness/etcd.ts';
import type { TestEtcd } from '../../harness/etcd.ts';
import { contentOf, contentOfEtcd, eventually, open, put, remove, silent, task, within } from './helpers.ts';

const never = new AbortController().signal;

async function write(etcd: TestEtcd, id: string, slot: number): Promise<void> {
  await etcd.client.put(`/shoal/v1/tasks/${id}`).value(JSON.stringify(task(id, { slot })));
}

async function writeMany(etcd: TestEtcd, from: number, to: number): Promise<void> {
  for (let start = from; start < to; start += 5_000) {
    const success = Array.from({ length: Math.min(5_000, to - start) }, (_, i) => {
      const id = `t${String(start + i).padStart(6, '0')}`;
      const value = Buffer.from(JSON.stringify(task(id, { serviceId: `s${(start + i) % 100}` })));
      return { request_put: { key: Buffer.from(`/shoal/v1/tasks/${id}`), value } };
    });
    await etcd.client.kv.txn({ success });
  }
}

/** Replays what listeners are told; it must give the tables, and each `before` must be the last `after`. */
function replica(): {
  apply: (changes: readonly Change[]) => void;
  values: Map<string, unknown>;
  faults: string[];
} {
  const values = new Map<string, unknown>();
  const faults: string[] = [];
  const apply = (changes: readonly Change[]): void => {
    for (const { table, key, before, after } of changes) {
      const name = `${table}/${key}`;
      if (values.get(name) !== before) faults.push(`${name}: before is not what was last told`);
      if (after === undefined) values.delete(name);
      else values.set(name, after);
    }
  };
  return { apply, values, faults };
}

test.serial('50,000 tasks are loaded by pages at one revision, with their indexes', async (t) => {
  await using etcd = await startEtcd();
  await writeMany(etcd, 0, 50_000);
  const pages: unknown[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => void pages.push(JSON.parse(line)) });
  await using store = await open(etcd, { logger });
  t.is(store.all('tasks').size, 50_000);
  t.is(store.tasksOfService('s7').size, 500);
  const counts = pages.filter((line) => (line as { msg: string }).msg === 'reading the store');
  t.true(counts.length >= 10, `${counts.length} pages`);
  t.deepEqual(contentOf(store), await contentOfEtcd(etcd));
});

test.serial('writes that come while the pages are read are neither lost nor told twice', async (t) => {
  await using etcd = await startEtcd();
  await writeMany(etcd, 0, 20_000);
  const seen = replica();
  const opening = open(etcd);
  const writing = (async () => {
    for (let i = 0; i < 200; i += 1) await write(etcd, `t${String(i * 90).padStart(6, '0')}`, 77);
  })();
  await using store = await opening;
  for (const [key, value] of store.all('tasks')) seen.values.set(`tasks/${key}`, value);
  store.onChange(seen.apply);
  await writing;
  const last = await etcd.client.put('/shoal/v1/tasks/last').value(JSON.stringify(task('last')));
  await eventually(t, 'the last write arrives', () => store.revision >= Number(last.header.revision));
  t.deepEqual(contentOf(store), await contentOfEtcd(etcd));
  t.deepEqual(seen.faults, []);
});

test.serial('indexes follow tasks from service to service and from node to node', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  await store.commit([put('t1', { nodeId: 'n1' }), put('t2', { nodeId: 'n1' }), put('t3')], {
    signal: never,
  });
  t.deepEqual([...store.tasksOfNode('n1')].sort(), ['t1', 't2']);
  await store.commit([put('t1', { nodeId: 'n2' }), remove('t2')], { signal: never });
  t.deepEqual([...store.tasksOfNode('n1')], []);
  t.deepEqual([...store.tasksOfNode('n2')], ['t1']);
  t.deepEqual([...store.tasksOfService('s1')].sort(), ['t1', 't3']);
  t.is(store.tasksOfService('none').size, 0);
});

test.serial('all events of one transaction come in one batch, with before and after', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  await store.commit([put('a', { slot: 1 })], { signal: never });
  const batches: (readonly Change[])[] = [];
  const undo = store.onChange((changes) => batches.push(changes));
  const many = Array.from({ length: 3_000 }, (_, i) => put(`b${i}`, { pendingReason: 'x'.repeat(6_000) }));
  const revision = await store.commit([put('a', { slot: 2 }), ...many.slice(0, 1_900)], { signal: within() });
  t.is(batches.length, 1);
  t.is(batches[0]?.length, 1_901);
  const change = batches[0]?.find(({ key }) => key === 'a');
  t.is(change?.version, revision);
  t.like(change?.before, { slot: 1 });
  t.like(change?.after, { slot: 2 });
  await store.commit([remove('a')], { signal: never });
  t.like(batches[1]?.[0], { key: 'a', after: undefined });
  undo();
  await store.commit([put('a')], { signal: never });
  t.is(batches.length, 2);
});

test.serial('a watch response that etcd sends in pieces splits no transaction', async (t) => {
  // What etcd sends in one piece is this and 512 KiB.
  await using etcd = await startEtcd({ maxRequestBytes: 256 * 1024 });
  await using store = await open(etcd);
  const batches: (readonly Change[])[] = [];
  store.onChange((changes) => batches.push(changes));
  await etcd.detached(async (client) => {
    for (let i = 0; i < 30; i += 1) {
      const success = Array.from({ length: 37 }, (_, j) => {
        const value = Buffer.from(
          JSON.stringify(task(`t${j}`, { slot: i, pendingReason: 'x'.repeat(5_000) })),
        );
        return { request_put: { key: Buffer.from(`/shoal/v1/tasks/t${j}`), value } };
      });
      await client.kv.txn({ success });
    }
  });
  await eventually(t, 'the last one arrives', () => store.get('tasks', 't36')?.slot === 29);
  for (const changes of batches) {
    const sizes = new Map<number, number>();
    for (const { version } of changes) sizes.set(version, (sizes.get(version) ?? 0) + 1);
    t.deepEqual([...new Set(sizes.values())], [37]);
  }
  t.is(batches.flat().length, 30 * 37);
  t.deepEqual(contentOf(store), await contentOfEtcd(etcd));
});

test.serial('a listener that throws keeps neither the others nor the mirror from the changes', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  let told = 0;
  store.onChange(() => {
    throw new Error('planted');
  });
  store.onChange(() => (told += 1));
  await store.commit([put('t1')], { signal: never });
  await store.commit([put('t2')], { signal: never });
  t.is(told, 2);
});

test.serial('the watch resumes where it was when etcd is killed and comes back', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  await using writer = await open(etcd);
  const seen = replica();
  store.onChange(seen.apply);
  for (let round = 0; round < 4; round += 1) {
    await writer.commit([put('t1', { slot: round })], { signal: never });
    await etcd.restart();
    await eventually(t, 'the writer follows again', () => writer.current);
    await write(etcd, `r${round}`, round);
    await write(etcd, 't1', 100 + round);
    await eventually(t, 'the last write arrives', () => store.get('tasks', 't1')?.slot === 100 + round);
  }
  t.deepEqual(seen.faults, []);
  t.deepEqual(contentOf(store), await contentOfEtcd(etcd));
  t.deepEqual(
    [...seen.values].sort(),
    contentOf(store).map(([name, , value]) => [name, value]),
  );
});

test.serial('what is compacted during a disconnect is told as the difference', async (t) => {
  await using etcd = await startEtcd();
  const log: string[] = [];
  await using store = await open(etcd, {
    logger: pino({ level: 'info' }, { write: (line: string) => void log.push(line) }),
  });
  await store.commit([put('stays'), put('goes', { nodeId: 'n1' }), put('changes', { slot: 1 })], {
    signal: never,
  });
  const [stays] = [store.get('tasks', 'stays')];
  const seen = replica();
  for (const [key, value] of store.all('tasks')) seen.values.set(`tasks/${key}`, value);
  const batches: (readonly Change[])[] = [];
  store.onChange((changes) => {
    seen.apply(changes);
    batches.push(changes);
  });
  await etcd.detached(async (client) => {
    const set = (id: string, slot: number) =>
      client
        .put(`/shoal/v1/tasks/${id}`)
        .value(JSON.stringify(task(id, { slot })))
        .exec();
    await client.delete().key('/shoal/v1/tasks/goes');
    await set('changes', 2);
    await set('comes', 3);
    const { header } = await set('changes', 3);
    await client.kv.compact({ revision: header.revision, physical: true });
  });
  await eventually(t, 'the difference arrives', () => store.get('tasks', 'changes')?.slot === 3);
  t.deepEqual(contentOf(store), await contentOfEtcd(etcd));
  t.is(store.get('tasks', 'stays'), stays, 'what did not change is the same object');
  t.is(store.tasksOfNode('n1').size, 0);
  t.true(
    log.some((line) => line.includes('etcd compacted what was missed')),
    'by way of a compaction',
  );
  t.is(batches.length, 1, 'one batch: the states between are gone');
  t.deepEqual(batches[0]?.map(({ key }) => key).sort(), ['changes', 'comes', 'goes']);
  t.deepEqual(seen.faults, []);
  await store.commit([put('after')], { signal: within() });
  t.deepEqual(contentOf(store), await contentOfEtcd(etcd));
});

test.serial('an etcd that was set back to nothing is noticed', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  for (let i = 0; i < 10; i += 1) await store.commit([put(`t${i}`)], { signal: never });
  await etcd.wipe();
  await write(etcd, 'new', 1);
  await eventually(t, 'the new content', () => store.get('tasks', 'new') !== undefined);
  t.deepEqual(contentOf(store), await contentOfEtcd(etcd));
});

test.serial('a value that is no JSON is ignored, and so is a table of a later version', async (t) => {
  await using etcd = await startEtcd();
  await etcd.client.put('/shoal/v1/tasks/bad').value('{');
  await etcd.client.put('/shoal/v1/tasks/number').value('3');
  await etcd.client.put('/shoal/v1/unheard/of').value('{}');
  await using store = await open(etcd);
  t.is(store.all('tasks').size, 0);
  await write(etcd, 'good', 1);
  await etcd.client.put('/shoal/v1/tasks/good2').value('nonsense');
  await store.commit([put('t1')], { signal: never });
  t.deepEqual([...store.all('tasks').keys()].sort(), ['good', 't1']);
});

test.serial('opening waits for an etcd that is not there yet, and stops waiting when told', async (t) => {
  await using etcd = await startEtcd();
  await etcd.kill();
  const abort = new AbortController();
  const given = open(etcd, { signal: abort.signal });
  const waiting = open(etcd, { logger: silent });
  abort.abort();
  await t.throwsAsync(given, { any: true, name: 'AbortError' });
  await etcd.start();
  await using store = await waiting;
  await store.commit([put('t1')], { signal: within() });
  t.true(store.current);
});
