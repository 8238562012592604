import test from 'ava';
import { lead } from '../../../manager/leader/leader.ts';
import { isWanted } from '../../../manager/plan/states.ts';
import { Election } from '../../../manager/store/election.ts';
import type { Store, Write } from '../../../manager/store/store.ts';
import { TABLE_NAMES } from '../../../manager/store/store.ts';
import { systemClock } from '../../../shared/lib/clock.ts';
import { startEtcd } from '../../harness/etcd.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { cluster } from '../plan/_cluster.ts';
import type { TestCluster } from '../plan/_cluster.ts';
import { open } from '../store/helpers.ts';

/** What the story wrote since the last time, as one commit to the real store. */
async function copy(swarm: TestCluster, store: Store, signal: AbortSignal): Promise<void> {
  const writes: Write[] = [];
  for (const table of TABLE_NAMES) {
    for (const [key, value] of swarm.store.all(table)) {
      if (store.get(table, key) === undefined) writes.push({ table, key, value } as Write);
    }
  }
  await store.commit(writes, { signal });
}

/** Resolves with the change that makes it true. */
function until(store: Store, holds: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (!holds()) return;
      undo();
      clearTimeout(deadline);
      resolve();
    };
    const undo = store.onChange(look);
    const deadline = setTimeout(() => reject(new Error(`never: ${holds.toString()}`)), 60_000);
    look();
  });
}

function assigned(store: Store, serviceId: string): number {
  return [...store.tasksOfService(serviceId)].filter((id) => {
    const task = store.get('tasks', id);
    return task !== undefined && isWanted(task) && task.nodeId !== undefined;
  }).length;
}

test.serial('over etcd: the elected leader assigns, the next one finds nothing to do', async (t) => {
  await using etcd = await startEtcd();
  await using store = await open(etcd);
  const stop = new AbortController();
  const options = { store, clock: systemClock, logger: silentLogger };
  const election = new Election({ client: store.client, id: 'one', logger: silentLogger });
  const elected = election.run(stop.signal, (fence, signal) => lead({ ...options, fence }, signal));
  const swarm = cluster();
  swarm.now = Date.now();
  await copy(swarm.nodes(20).network('front'), store, stop.signal);
  const networks = [{ network: 'front', aliases: [] }];
  const took: number[] = [];
  for (let i = 0; i < 20; i += 1) {
    swarm.now = Date.now();
    swarm.service(`s${i}`, { replicas: 4, networks });
    const start = performance.now();
    await copy(swarm, store, stop.signal);
    await until(store, () => assigned(store, `s${i}`) === 4);
    took.push(performance.now() - start);
  }
  swarm.service('many', { replicas: 1500 });
  await copy(swarm, store, stop.signal);
  await until(store, () => assigned(store, 'many') === 1500);
  stop.abort();
  await elected;
  t.log(`create to assigned, ms: ${took.sort((a, b) => a - b)[10]?.toFixed(1)} (median)`);

  const before = store.revision;
  const again = new AbortController();
  const written: string[] = [];
  const second = new Election({ client: store.client, id: 'two', logger: silentLogger });
  const done = second.run(again.signal, async (fence, signal) => {
    const commit: Store['commit'] = (writes, commitOptions) => {
      for (const { table } of writes) written.push(table);
      return store.commit(writes, commitOptions);
    };
    const watched = new Proxy(store, {
      get: (target, name) => {
        if (name === 'commit') return commit;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const leading = lead({ ...options, store: watched, fence }, signal);
    swarm.service('last');
    await copy(swarm, store, signal);
    await until(store, () => assigned(store, 'last') === 1);
    again.abort();
    await leading;
  });
  await done;
  t.deepEqual(written, ['names', 'tasks'], 'that it leads, and the task of the service that came last');
  t.true(store.revision > before);
});
