import test from 'ava';
import { openStore } from '../../../manager/store/open-store.ts';
import { startEtcd } from '../../harness/etcd.ts';
import { addService, eventually, putTask, quiet, rig, status, task } from '../session/rig.ts';

test('the same on etcd: joining at once, assignments, statuses, and silence when idle', async (t) => {
  const etcd = await startEtcd();
  t.teardown(() => etcd[Symbol.asyncDispose]());
  const abort = new AbortController();
  const store = await openStore({ endpoints: [...etcd.endpoints], logger: quiet, signal: abort.signal });
  t.teardown(async () => {
    abort.abort();
    await store[Symbol.asyncDispose]();
  });
  const r = await rig(t, { store });
  const agents = await Promise.all(['a', 'b', 'c', 'd'].map((name) => r.agent(name)));
  await eventually('all are ready', () =>
    agents.every((agent) => store.get('nodes', agent.nodeId)?.status === 'ready'),
  );
  t.deepEqual([...store.all('nodes').values()].map((node) => node.index).sort(), [1, 2, 3, 4]);
  await addService(r, 'web');
  await Promise.all(
    agents.flatMap((agent, a) =>
      Array.from({ length: 10 }, (_, i) => putTask(r, task(`t${a}-${i}`, 'web', agent.nodeId))),
    ),
  );
  await eventually('all tasks are assigned', () =>
    agents.every((agent) => agent.sets.at(-1)?.tasks.size === 10),
  );
  for (const agent of agents) {
    for (const taskId of agent.sets.at(-1)?.tasks.keys() ?? []) {
      agent.link.report(status(taskId, 'starting'));
      agent.link.report(status(taskId, 'running'));
    }
  }
  await eventually('all statuses are stored', () => {
    const states = [...store.all('statuses').values()].map(({ state }) => state);
    return states.length === 40 && states.every((state) => state === 'running');
  });
  const { revision } = store;
  await new Promise((resolve) => setTimeout(resolve, 1500));
  t.is(store.revision, revision, 'heartbeats write nothing');
});
