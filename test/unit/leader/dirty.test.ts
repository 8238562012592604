import test from 'ava';
import type { Node } from '../../../shared/model/index.ts';
import { DirtyServices } from '../../../manager/leader/dirty.ts';
import { cluster } from '../plan/_cluster.ts';

/** One service of three tasks on three nodes and a global one, all of it planned. */
function planned(): { dirty: DirtyServices; change: (id: string, change: Partial<Node>) => void } {
  const swarm = cluster().nodes(3).service('web', { replicas: 3 }).service('agent', { global: true });
  swarm.settle();
  const dirty = new DirtyServices(swarm.store);
  dirty.take();
  swarm.store.onChange((changes) => dirty.note(changes));
  return {
    dirty,
    change: (id, change) => {
      const node = swarm.store.get('nodes', id);
      if (node === undefined) throw new Error(`no node ${id}`);
      swarm.put('nodes', id, { ...node, ...change });
    },
  };
}

test('a node that comes back is no reason to look at what it runs, and none to hurry', (t) => {
  const { dirty, change } = planned();
  change('n1', { status: 'unknown' });
  change('n1', { status: 'ready', session: 'm.2' });
  t.false(dirty.isUrgent);
  t.deepEqual(dirty.take().services, new Set(['agent']));
});

test('a node that is down, or comes back from that, has the services of its tasks planned at once', (t) => {
  const { dirty, change } = planned();
  for (const status of ['down', 'ready'] as const) {
    change('n2', { status });
    t.true(dirty.isUrgent);
    t.deepEqual([...dirty.take().services].sort(), ['agent', 'web']);
  }
});

test('a node that is to be drained has the services of its tasks planned at once', (t) => {
  const { dirty, change } = planned();
  change('n3', { spec: { role: 'worker', availability: 'drain', labels: {} } });
  t.true(dirty.isUrgent);
  t.deepEqual([...dirty.take().services].sort(), ['agent', 'web']);
});

test('that a node has a new session, and nothing else, changes nothing', (t) => {
  const { dirty, change } = planned();
  change('n1', { session: 'm.3' });
  t.true(dirty.isEmpty);
});
