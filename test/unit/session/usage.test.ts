import test from 'ava';
import { UsageIntake } from '../../../manager/dispatcher/usage-intake.ts';
import { CLOSE } from '../../../shared/wire/frames.ts';
import type { TaskUsage } from '../../../shared/model/index.ts';
import { MemoryStore } from '../../harness/memory-store.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { RawSession } from './raw-session.ts';
import { addService, eventually, putTask, rig, serviceSpec, service, task } from './rig.ts';

const AUTOSCALE = { min: 1, max: 5, cpuPercent: 50, coolDownMs: 60_000 };

function use(taskId: string, nanoCpus = 1): TaskUsage {
  return { taskId, nanoCpus, memoryBytes: 2 };
}

test('a node is told what to measure, and believed of its own tasks only', async (t) => {
  const r = await rig(t);
  const [a, b] = await Promise.all([r.agent('a'), r.agent('b')]);
  await addService(r, 'web');
  await putTask(r, task('t1', 'web', a.nodeId));
  await putTask(r, task('t2', 'web', b.nodeId));
  const measured = () => a.sets.at(-1)?.tasks.get('t1')?.measured;
  await eventually('the task is assigned', () => a.sets.at(-1)?.tasks.has('t1') === true);
  t.is(measured(), undefined);
  const revision = {
    id: 'web.2',
    serviceId: 'web',
    revision: 2,
    createdAtMs: 2,
    spec: { ...serviceSpec('web'), autoscale: AUTOSCALE },
  };
  await r.store.commit(
    [
      { table: 'revisions', key: 'web.2', value: revision },
      { table: 'services', key: 'web', value: { ...service('web'), revision: 2, previousRevision: 1 } },
    ],
    { signal: r.signal },
  );
  await eventually('it is told to measure a task that was there before', () => measured() === true);
  a.link.reportUsage([use('t1', 7), use('t2', 8), use('t3', 9)]);
  const { usage } = r.dispatcher;
  await eventually('the report came', () => usage.samples(a.nodeId, 't1').length === 1);
  t.like(usage.samples(a.nodeId, 't1')[0], { nanoCpus: 7, memoryBytes: 2 });
  t.deepEqual(usage.samples(a.nodeId, 't2'), []);
  t.deepEqual(usage.samples(b.nodeId, 't2'), []);
  t.deepEqual(r.dispatcher.counts().usages, { keep: 1, refuse: 2 });
  await a.stop();
  await eventually('it went with the session', () => usage.samples(a.nodeId, 't1').length === 0);
});

test('what is no report ends the session', async (t) => {
  const r = await rig(t);
  const wrong = [
    [{ taskId: 't1', nanoCpus: -1, memoryBytes: 0 }],
    [{ taskId: 't1', nanoCpus: 0.5, memoryBytes: 0 }],
    [{ taskId: 't1', nanoCpus: 1 }],
    [{ taskId: 't1', nanoCpus: 1, memoryBytes: 1, more: 1 }],
    [null],
    {},
  ];
  const identity = await r.joined('a');
  for (const tasks of wrong) {
    const session = await RawSession.open(r.address, identity);
    session.send({ type: 'usage', tasks: tasks as TaskUsage[] });
    await eventually('it was closed', () => session.closeCode !== undefined);
    t.is(session.closeCode, CLOSE.protocolError, JSON.stringify(tasks));
  }
});

test('the newest few samples of a task are kept, until a report leaves it out', async (t) => {
  const store = new MemoryStore();
  const { signal } = new AbortController();
  for (const id of ['t1', 't2'])
    await store.commit([{ table: 'tasks', key: id, value: task(id, 'web', 'n1') }], { signal });
  const intake = new UsageIntake(store, silentLogger);
  for (let i = 0; i < 50; i += 1) intake.take('n1', [use('t1', i), use('t2')], 1_000 + i);
  const kept = () => intake.samples('n1', 't1').map(({ nanoCpus }) => nanoCpus);
  t.deepEqual(kept(), [42, 43, 44, 45, 46, 47, 48, 49]);
  intake.take('n1', [use('t1', 100)], 60_000);
  t.deepEqual(kept(), [100], 'the others are too old');
  t.deepEqual(intake.samples('n1', 't2'), []);
  intake.take('n1', [use('t1', 101)], 30_000);
  t.deepEqual(kept(), [101], 'the clock was set back');
  intake.take('n2', [use('t1', 5)], 30_000);
  t.deepEqual(intake.samples('n2', 't1'), []);
  t.is(intake.size, 1);
  intake.take('n1', [], 31_000);
  t.is(intake.size, 0);
});
