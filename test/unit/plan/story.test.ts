/** The story of the last update, from the records alone. */
import test from 'ava';
import { updateStory } from '../../../manager/plan/explain/story.ts';
import { cluster, SECOND, type TestCluster } from './_cluster.ts';

function story(c: TestCluster, name: string): string[] {
  return updateStory(c.view(), c.get(name)).map(({ kind, text }) => `${kind}: ${text}`);
}

test('an update that succeeds: begun, its batches, completed; later restarts are no part of it', (t) => {
  const c = cluster()
    .nodes(1)
    .service('web', { replicas: 3, update: { parallelism: 2, delayNs: SECOND, monitorNs: SECOND } })
    .elapse(1000);
  t.deepEqual(story(c, 'web'), ['started: created, as revision 1']);
  c.service('web', { image: 'img:2' }).elapse(20_000);
  const told = [
    'started: updated to revision 2',
    'tasks: started 2 tasks: slot 1 on n1, slot 2 on n1',
    'tasks: started 1 task: slot 3 on n1',
    'completed: update completed',
  ];
  t.deepEqual(story(c, 'web'), told);
  const [task] = c.running('web');
  c.report(task?.id ?? '', 'failed', { error: 'much later' }).elapse(20_000);
  t.is(c.running('web').length, 3);
  t.deepEqual(story(c, 'web'), told);
  c.service('web', { replicas: 4 }).elapse(1000);
  t.deepEqual(story(c, 'web'), ['started: updated to revision 3']);
});

test('a failure names task, node and error; then it is paused', (t) => {
  const c = cluster().nodes(1).service('web', { replicas: 2 }).elapse(1000);
  c.service('web', { image: 'img:2' }).settle();
  const failing = c.wanted('web').find(({ revision }) => revision === 2);
  c.report(failing?.id ?? '', 'failed', { error: 'non-zero exit (1)' }).elapse(1000);
  t.is(c.get('web').updateStatus?.state, 'paused');
  const [started, batch, ...rest] = updateStory(c.view(), c.get('web'));
  t.is(started?.text, 'updated to revision 2');
  t.is(batch?.kind, 'tasks');
  t.like(
    rest.find(({ kind }) => kind === 'failure'),
    { kind: 'failure', taskId: failing?.id, nodeId: 'n1', error: 'non-zero exit (1)' },
  );
  const paused = rest.find(({ kind }) => kind === 'paused');
  t.regex(paused?.text ?? '', /update paused due to failure or early termination of task/);
  t.is(paused?.atMs, c.get('web').updateStatus?.pausedAtMs);
});

test('an update that is rolled back is one story with what made it fail; revisions say where they come from', (t) => {
  const c = cluster()
    .nodes(1)
    .service('web', { replicas: 1, update: { failureAction: 'rollback' }, rollback: { monitorNs: SECOND } })
    .elapse(1000);
  c.service('web', { image: 'img:2' }).settle();
  c.report(c.wanted('web')[0]?.id ?? '', 'failed', { error: 'no such file' }).elapse(60_000);
  t.is(c.get('web').updateStatus?.state, 'rollback-completed');
  t.deepEqual(c.store.get('revisions', 'web.3')?.origin, { kind: 'rollback', of: 1, automatic: true });
  const told = story(c, 'web');
  t.is(told[0], 'started: updated to revision 2');
  t.true(
    told.some((line) => /^failure: slot 1 on n1: task \S+ failed: no such file$/.test(line)),
    told.join('\n'),
  );
  t.true(
    told.includes('rolled-back: rolled back since the update failed: revision 3 has the spec of revision 1'),
  );
  t.is(told.at(-1), 'completed: rollback completed');
});

test('it is bounded: the newest events', (t) => {
  const c = cluster({ taskHistoryLimit: 50 })
    .nodes(1)
    .service('web', { replicas: 40, update: { delayNs: SECOND, monitorNs: SECOND } })
    .elapse(1000);
  c.service('web', { image: 'img:2' }).elapse(120_000);
  const events = updateStory(c.view(), c.get('web'));
  t.is(events.length, 20);
  t.is(events.at(-1)?.kind, 'completed');
  t.deepEqual(
    events.map(({ atMs }) => atMs),
    events.map(({ atMs }) => atMs).toSorted((a, b) => a - b),
  );
});
