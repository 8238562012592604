import test from 'ava';
import { addService, eventually, putTask, rig, status, task } from './rig.ts';

test('hello brings assignments, and a status comes back into the store', async (t) => {
  const r = await rig(t);
  const agent = await r.agent('a1');
  await eventually('the node is ready', () => r.store.get('nodes', agent.nodeId)?.status === 'ready');
  t.is(r.store.get('nodes', agent.nodeId)?.index, 1);
  t.is(r.store.get('nodes', agent.nodeId)?.description?.hostname, 'a1');
  await addService(r, 'web');
  await putTask(r, task('t1', 'web', agent.nodeId));
  await eventually('the task is assigned', () => agent.sets.at(-1)?.tasks.has('t1') === true);
  t.is(agent.sets.at(-1)?.tasks.get('t1')?.spec.container.image, 'busybox');
  agent.link.report(status('t1', 'running'));
  await eventually('the status is stored', () => r.store.get('statuses', 't1')?.state === 'running');
});
