import test from 'ava';
import { inOwnTime, judgeReport, StatusIntake } from '../../../manager/dispatcher/status-intake.ts';
import { StaleError } from '../../../manager/store/store.ts';
import { compareStates, TASK_STATES } from '../../../shared/model/index.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { quiet, status, task } from '../session/rig.ts';

const own = task('t1', 'web', 'n1');
const { signal } = new AbortController();

test('invariant 1: only the node of the task may report on it, and only states that a node may give', (t) => {
  t.is(judgeReport('n1', status('t1', 'running'), own, undefined), 'write');
  t.is(judgeReport('n2', status('t1', 'running'), own, undefined), 'refuse');
  t.is(judgeReport('n1', status('t1', 'orphaned'), own, undefined), 'refuse');
  t.is(judgeReport('n1', status('t1', 'running'), undefined, undefined), 'ignore');
});

test('invariant 3: observed state never goes back, whatever was observed', (t) => {
  for (const known of TASK_STATES) {
    for (const said of TASK_STATES) {
      const verdict = judgeReport('n1', status('t1', said), own, status('t1', known));
      if (compareStates(said, known) < 0) t.not(verdict, 'write', `${known} -> ${said}`);
    }
  }
});

test('what is said again is not written again, news in the same state is', (t) => {
  const known = status('t1', 'running', { atMs: 1, health: 'starting' });
  t.is(judgeReport('n1', { ...known, atMs: 2 }, own, known), 'ignore');
  t.is(judgeReport('n1', { ...known, health: 'healthy' }, own, known), 'write');
});

test('times are the manager’s, whatever the node’s clock says; how long a task ran is the node’s', (t) => {
  const twoHours = 7_200_000;
  for (const skew of [-twoHours, 0, twoHours]) {
    const prepared = inOwnTime(status('t1', 'ready', { atMs: 9_000_000 + skew }), undefined, 9_000_010);
    t.is(prepared.atMs, 9_000_010);
    t.is(prepared.startedAtMs, undefined);
    const began = { atMs: 9_001_000 + skew, startedAtMs: 9_000_900 + skew };
    const running = inOwnTime(status('t1', 'running', began), prepared, 9_001_020);
    t.deepEqual([running.startedAtMs, running.atMs], [9_000_920, 9_001_020]);
    // It ended after five seconds, and the manager hears of it a minute later.
    const ended = { atMs: 9_005_900 + skew, startedAtMs: 9_000_900 + skew };
    const failed = inOwnTime(status('t1', 'failed', ended), running, 9_065_900);
    t.deepEqual([failed.startedAtMs, failed.atMs], [9_000_920, 9_005_920]);
    const lost = inOwnTime(status('t1', 'failed', { atMs: 9_065_000 + skew }), running, 9_065_900);
    t.deepEqual([lost.startedAtMs, lost.atMs], [9_000_920, 9_065_900]);
  }
});

test('a status that a manager wrote meanwhile is not overwritten', async (t) => {
  const store = new MemoryStore();
  await store.commit([{ table: 'tasks', key: 't1', value: own }], { signal });
  const commit = store.commit.bind(store);
  let raced = false;
  store.commit = async (writes, options) => {
    if (raced) return commit(writes, options);
    raced = true;
    await commit([{ table: 'statuses', key: 't1', value: status('t1', 'orphaned') }], { signal });
    return commit(writes, options);
  };
  await new StatusIntake(store, quiet).take('n1', [status('t1', 'running')], signal);
  t.true(raced);
  t.is(store.get('statuses', 't1')?.state, 'orphaned');
});

test('a status is kept while the store is away, and written when it is back', async (t) => {
  const store = new MemoryStore();
  await store.commit([{ table: 'tasks', key: 't1', value: own }], { signal });
  store.unavailable = true;
  let taken = false;
  const taking = new StatusIntake(store, quiet).take('n1', [status('t1', 'running')], signal).then(() => {
    taken = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.false(taken);
  store.unavailable = false;
  await taking;
  t.is(store.get('statuses', 't1')?.state, 'running');
});

test('the store in memory refuses what is stale, as etcd does', async (t) => {
  const store = new MemoryStore();
  await store.commit([{ table: 'tasks', key: 't1', value: own, expect: 0 }], { signal });
  const again = store.commit([{ table: 'tasks', key: 't1', value: own, expect: 0 }], { signal });
  await t.throwsAsync(again, { instanceOf: StaleError });
});
