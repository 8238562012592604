import test from 'ava';
import fc from 'fast-check';
import { holdsResources } from '../../../manager/plan/states.ts';
import type { GenericResource, Task } from '../../../shared/model/index.ts';
import { cluster } from './_cluster.ts';
import type { TestCluster } from './_cluster.ts';

const gpus = (count: number) => ({ reservations: { genericResources: [{ kind: 'gpu', count }] } });
const having = (...genericResources: GenericResource[]) => ({ description: { genericResources } });
const named = (...names: string[]): GenericResource => ({ kind: 'gpu', names });
const counted = (count: number): GenericResource => ({ kind: 'gpu', count });

/** What tasks that hold something have of it. */
function held(swarm: TestCluster): GenericResource[] {
  return [...swarm.store.all('tasks').values()]
    .filter((task) => holdsResources(task, swarm.store.get('statuses', task.id)))
    .flatMap(({ granted = [] }) => granted);
}

function heldNames(swarm: TestCluster): string[] {
  return held(swarm).flatMap((resource) => ('names' in resource ? resource.names : []));
}

test('a task gets names of its own, and what is short is said by its kind', (t) => {
  const swarm = cluster()
    .node('n1', having(named('a', 'b', 'c')))
    .nodes(1)
    .service('x', { replicas: 2, ...gpus(2) })
    .settle();
  t.deepEqual(held(swarm), [{ kind: 'gpu', names: ['a', 'b'] }]);
  t.deepEqual(swarm.reasons('x').filter(Boolean), [
    'no suitable node (insufficient generic resource gpu on 2 nodes)',
  ]);
  swarm.service('x', { replicas: 1 }).settle();
  t.deepEqual(swarm.spread('x'), { n1: 1 });
});

test('what is counted is counted, and given back when the task has ended', (t) => {
  const swarm = cluster()
    .node('n1', having(counted(3)))
    .service('x', { replicas: 1, ...gpus(2) })
    .service('y', { replicas: 1, ...gpus(2) })
    .settle();
  t.deepEqual(swarm.running('x')[0]?.granted, [{ kind: 'gpu', count: 2 }]);
  t.is(swarm.running('y').length, 0);
  swarm.removeService('x').plan();
  swarm.plan();
  t.is(swarm.wanted('y')[0]?.nodeId, undefined, 'not before it has stopped');
  swarm.settle();
  t.deepEqual(swarm.running('y')[0]?.granted, [{ kind: 'gpu', count: 2 }]);
});

test('a record of a task that asks for none does not grow', (t) => {
  const swarm = cluster()
    .node('n1', having(counted(3)))
    .service('x')
    .settle();
  t.false('granted' in (swarm.tasks('x')[0] ?? {}));
});

test('a node that has less than before: its tasks keep theirs, and no other gets any', (t) => {
  const swarm = cluster()
    .node('n1', having(named('a', 'b')))
    .service('x', { replicas: 2, ...gpus(1) })
    .settle()
    .node('n1', having(named('a')))
    .service('y', { replicas: 1, ...gpus(1) })
    .settle();
  t.deepEqual(heldNames(swarm).sort(), ['a', 'b']);
  t.is(swarm.running('x').length, 2);
  t.is(swarm.running('y').length, 0);
  // Counted from now on: the two that are held count for two.
  swarm.node('n1', having(counted(3))).settle();
  t.deepEqual(swarm.running('y')[0]?.granted, [{ kind: 'gpu', count: 1 }]);
  swarm.service('z', { replicas: 1, ...gpus(1) }).settle();
  t.is(swarm.running('z').length, 0);
  // And named again: whoever holds one without a name takes one of the names away.
  swarm.node('n1', having(named('a', 'b', 'c'))).settle();
  t.is(swarm.running('z').length, 0);
  swarm.node('n1', having(named('a', 'b', 'c', 'd'))).settle();
  t.is(swarm.running('z').length, 1);
});

test('another amount is another task', (t) => {
  const swarm = cluster()
    .node('n1', having(counted(4)))
    .service('x', { replicas: 1, ...gpus(1) })
    .settle()
    .service('x', gpus(2))
    .elapse(60_000);
  t.deepEqual(swarm.running('x')[0]?.granted, [{ kind: 'gpu', count: 2 }]);
});

test('an update that needs what its own tasks hold waits for each to stop', (t) => {
  const swarm = cluster()
    .node('n1', having(named('a', 'b')))
    .service('x', { replicas: 2, ...gpus(1) })
    .settle()
    .service('x', { image: 'img:2' })
    .elapse(60_000);
  t.deepEqual(
    swarm.running('x').map(({ revision }) => revision),
    [2, 2],
  );
  t.deepEqual(heldNames(swarm).sort(), ['a', 'b']);
});

type Step =
  | { readonly kind: 'service'; readonly name: string; readonly replicas: number; readonly count: number }
  | { readonly kind: 'node'; readonly id: string; readonly has: GenericResource }
  | { readonly kind: 'fail'; readonly nth: number }
  | { readonly kind: 'obey' }
  | { readonly kind: 'pass'; readonly ms: number };

const names = fc.subarray(['a', 'b', 'c', 'd'], { minLength: 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('service' as const),
    name: fc.constantFrom('x', 'y', 'z'),
    replicas: fc.nat(5),
    count: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({
    kind: fc.constant('node' as const),
    id: fc.constantFrom('n1', 'n2'),
    has: fc.oneof(
      names.map((all) => named(...all)),
      fc.integer({ min: 1, max: 5 }).map(counted),
    ),
  }),
  fc.record({ kind: fc.constant('fail' as const), nth: fc.nat(20) }),
  fc.record({ kind: fc.constant('obey' as const) }),
  fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 8000 }) }),
);

function take(swarm: TestCluster, next: Step): void {
  switch (next.kind) {
    case 'service':
      swarm.service(next.name, { replicas: next.replicas, ...gpus(next.count) });
      return;
    case 'node':
      swarm.node(next.id, having(next.has));
      return;
    case 'fail': {
      const live = [...swarm.store.all('tasks').values()].filter((task) =>
        holdsResources(task, swarm.store.get('statuses', task.id)),
      );
      const task = live[next.nth % Math.max(1, live.length)];
      if (task !== undefined) swarm.report(task.id, 'failed');
      return;
    }
    case 'obey':
      swarm.obey();
      return;
    case 'pass':
      swarm.now += next.ms;
  }
}

/** Of the node, for a task that is placed now. */
function checkGrant(swarm: TestCluster, task: Task): void {
  const has = swarm.store.get('nodes', task.nodeId ?? '')?.description?.genericResources?.[0];
  const spec = swarm.store.get('revisions', `${task.serviceId}.${task.revision}`)?.spec;
  const asked = spec?.reservations.genericResources?.[0]?.count ?? 0;
  const [got] = task.granted ?? [];
  if (has === undefined || got === undefined || 'names' in has !== 'names' in got)
    throw new Error('got nothing');
  if ('names' in got) {
    if (got.names.length !== asked) throw new Error(`${got.names.length} for ${asked}`);
    if (!got.names.every((name) => 'names' in has && has.names.includes(name)))
      throw new Error('unknown name');
    return;
  }
  const used = [...swarm.store.tasksOfNode(task.nodeId ?? '')].reduce((sum, id) => {
    const other = swarm.store.get('tasks', id);
    if (other === undefined || !holdsResources(other, swarm.store.get('statuses', id))) return sum;
    const [one] = other.granted ?? [];
    return sum + (one === undefined ? 0 : 'names' in one ? one.names.length : one.count);
  }, 0);
  if ('count' in has && used > has.count) throw new Error(`${used} of ${has.count} given`);
}

test('no name is held twice, and no more than there is given, whatever happens', (t) => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), (all) => {
      const swarm = cluster()
        .node('n1', having(named('a', 'b', 'c')))
        .node('n2', having(counted(3)));
      const placed = new Set<string>();
      for (const next of all) {
        take(swarm, next);
        swarm.plan();
        for (const id of ['n1', 'n2']) {
          const names = [...swarm.store.tasksOfNode(id)].flatMap((taskId) => {
            const task = swarm.store.get('tasks', taskId);
            const holds = task !== undefined && holdsResources(task, swarm.store.get('statuses', taskId));
            return holds ? (task.granted ?? []).flatMap((one) => ('names' in one ? one.names : [])) : [];
          });
          if (new Set(names).size < names.length) throw new Error(`${id}: ${names.join()}`);
        }
        for (const task of swarm.store.all('tasks').values()) {
          if (task.nodeId === undefined || placed.has(task.id)) continue;
          placed.add(task.id);
          checkGrant(swarm, task);
        }
      }
    }),
    { numRuns: 200 },
  );
  t.pass();
});
