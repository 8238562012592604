import test from 'ava';
import fc from 'fast-check';
import { holdsResources, isWanted } from '../../../manager/plan/states.ts';
import type { Task } from '../../../shared/model/index.ts';
import { isTerminal } from '../../../shared/model/index.ts';
import { cluster, GB } from './_cluster.ts';
import type { SpecChanges, TestCluster } from './_cluster.ts';

const CAPACITY = 8 * GB;
const PORT = [{ protocol: 'tcp', targetPort: 80, publishedPort: 80, mode: 'host' }] as const;
const NAMES = ['a', 'b', 'c', 'd'];

const spec: fc.Arbitrary<SpecChanges> = fc
  .record({
    replicas: fc.nat(4),
    global: fc.boolean(),
    priority: fc.integer({ min: -2, max: 3 }),
    memoryGb: fc.nat(6),
    gpus: fc.nat(2),
    port: fc.boolean(),
    zoned: fc.boolean(),
  })
  .map(({ replicas, global, priority, memoryGb, gpus, port, zoned }) => ({
    ...(global ? { global } : { replicas }),
    priority,
    reservations: {
      memoryBytes: memoryGb * GB,
      ...(gpus === 0 ? {} : { genericResources: [{ kind: 'gpu', count: gpus }] }),
    },
    ports: port ? PORT : [],
    constraints: zoned ? ['node.labels.zone==a'] : [],
  }));

type Step =
  | { readonly kind: 'service'; readonly name: string; readonly spec: SpecChanges }
  | { readonly kind: 'remove'; readonly name: string }
  | { readonly kind: 'node'; readonly id: string; readonly status: 'ready' | 'down' }
  | { readonly kind: 'stop'; readonly nth: number }
  | { readonly kind: 'obey' }
  | { readonly kind: 'pass'; readonly ms: number };

const name = fc.constantFrom(...NAMES);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('service' as const), name, spec }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), name }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('node' as const),
      id: fc.constantFrom('n1', 'n2'),
      status: fc.constantFrom('ready' as const, 'down' as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('stop' as const), nth: fc.nat(20) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('obey' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 90_000 }) }),
  },
);

function take(swarm: TestCluster, next: Step): void {
  switch (next.kind) {
    case 'service': {
      const before = swarm.store.get('services', next.name);
      const { global: _global, replicas: _replicas, ...rest } = next.spec;
      if (before?.removing !== true) swarm.service(next.name, before === undefined ? next.spec : rest);
      return;
    }
    case 'remove':
      if (swarm.store.get('services', next.name)) swarm.removeService(next.name);
      return;
    case 'node':
      swarm.node(next.id, { status: next.status });
      return;
    case 'stop': {
      // One of those that are told to stop does, before the others.
      const stopping = held(swarm).filter((task) => !isWanted(task));
      const task = stopping[next.nth % Math.max(1, stopping.length)];
      if (task !== undefined) swarm.report(task.id, 'shutdown');
      return;
    }
    case 'obey':
      swarm.obey();
      return;
    case 'pass':
      swarm.now += next.ms;
  }
}

function held({ store }: TestCluster): Task[] {
  return [...store.all('tasks').values()].filter((task) =>
    holdsResources(task, store.get('statuses', task.id)),
  );
}

function specFor({ store }: TestCluster, { serviceId, revision }: Task) {
  return store.get('revisions', `${serviceId}.${revision}`)?.spec;
}

function priorityOf({ store }: TestCluster, serviceId: string): number {
  const revision = store.get('services', serviceId)?.revision;
  return store.get('revisions', `${serviceId}.${revision}`)?.spec.priority ?? 0;
}

/** What tasks of one node hold: never more than it has, and nothing twice. */
function checkNode(swarm: TestCluster, tasks: readonly Task[], what: string): void {
  const memory = tasks.reduce((sum, task) => sum + (specFor(swarm, task)?.reservations.memoryBytes ?? 0), 0);
  if (memory > CAPACITY) throw new Error(`${what}: ${memory / GB} GB`);
  const ports = tasks.filter((task) => (specFor(swarm, task)?.ports.length ?? 0) > 0);
  if (ports.length > 1) throw new Error(`${what}: the port is taken ${ports.length} times`);
  const names = tasks.flatMap(({ granted = [] }) =>
    granted.flatMap((one) => ('names' in one ? one.names : [])),
  );
  if (new Set(names).size < names.length) throw new Error(`${what}: ${names.join()}`);
}

function checkNow(swarm: TestCluster): void {
  for (const id of swarm.store.all('nodes').keys()) {
    const tasks = held(swarm).filter(({ nodeId }) => nodeId === id);
    checkNode(
      swarm,
      tasks.filter(({ preempting }) => preempting !== true),
      `${id} now`,
    );
    checkNode(
      swarm,
      tasks.filter(({ preemptedBy }) => preemptedBy === undefined),
      `${id} later`,
    );
  }
  for (const id of NAMES) {
    const slots = swarm.wanted(id).map(({ slot, nodeId }) => (slot === 0 ? nodeId : slot));
    const current = swarm.wanted(id).filter(({ revision }) => revision === swarm.get(id).revision);
    if (current.length > new Set(slots).size) throw new Error(`a slot of ${id} is filled twice`);
  }
}

function world(): TestCluster {
  return cluster({ taskHistoryLimit: 2 })
    .node('n1', {
      labels: { zone: 'a' },
      description: { genericResources: [{ kind: 'gpu', names: ['x', 'y'] }] },
    })
    .node('n2', {
      labels: { zone: 'b' },
      description: { genericResources: [{ kind: 'gpu', names: ['z'] }] },
    });
}

function story(steps: readonly Step[]): TestCluster {
  const swarm = world();
  for (const next of steps) {
    take(swarm, next);
    const before = new Set(
      held(swarm).flatMap(({ id, preemptedBy }) => (preemptedBy === undefined ? [] : [id])),
    );
    const { units } = swarm.plan();
    for (const task of held(swarm)) {
      if (task.preemptedBy === undefined || before.has(task.id)) continue;
      const { serviceId } = task.preemptedBy;
      if (priorityOf(swarm, task.serviceId) >= priorityOf(swarm, serviceId))
        throw new Error(`${task.serviceId} gave way to ${serviceId}`);
      const unit = units.find(({ writes }) => writes.some(({ key }) => key === task.id));
      const comer = unit?.writes.some(
        ({ table, value }) =>
          table === 'tasks' && value !== null && 'preempting' in value && value.serviceId === serviceId,
      );
      if (comer !== true) throw new Error('stopped without the task that it is for, in one unit');
    }
    checkNow(swarm);
  }
  return swarm;
}

const steps = fc.array(step, { minLength: 1, maxLength: 30 });

test('only lower ones give way, in one unit; no node ever runs more than it has', (t) => {
  fc.assert(
    fc.property(steps, (all) => {
      story(all);
    }),
    { numRuns: 250 },
  );
  t.pass();
});

/** No task waits that could take the place of a lower one alone on its node: by memory, the most common case. */
function checkFair(swarm: TestCluster): void {
  for (const id of NAMES) {
    for (const task of swarm.wanted(id)) {
      const asks = specFor(swarm, task);
      if (task.nodeId !== undefined || asks === undefined) continue;
      if (asks.ports.length > 0 || asks.reservations.genericResources !== undefined) continue;
      for (const node of swarm.store.all('nodes').values()) {
        if (asks.placement.constraints.length > 0 && node.spec.labels['zone'] !== 'a') continue;
        const rest = held(swarm).filter(
          (other) =>
            other.nodeId === node.id &&
            priorityOf(swarm, other.serviceId) >= priorityOf(swarm, task.serviceId),
        );
        const kept = rest.reduce(
          (sum, other) => sum + (specFor(swarm, other)?.reservations.memoryBytes ?? 0),
          0,
        );
        if (kept + (asks.reservations.memoryBytes ?? 0) <= CAPACITY)
          throw new Error(`${id} waits, and ${node.id} has only lower ones in its way`);
      }
    }
  }
}

test('it comes to rest, with nothing in the way of a higher priority: a chain of preemptions goes down only', (t) => {
  fc.assert(
    fc.property(steps, (all) => {
      const swarm = story(all);
      for (const id of ['n1', 'n2']) swarm.node(id, { status: 'ready' });
      const before = swarm.store.revision;
      // TestCluster.settle throws when the plans do not end.
      swarm.elapse(10 * 60_000);
      if (swarm.store.revision - before > 1500) throw new Error(`${swarm.store.revision - before} writes`);
      checkNow(swarm);
      checkFair(swarm);
      for (const task of swarm.store.all('tasks').values()) {
        if (task.preempting === true && !isTerminal(swarm.stateOf(task)))
          throw new Error('it waits for ever');
      }
    }),
    { numRuns: 150 },
  );
  t.pass();
});
