import test from 'ava';
import fc from 'fast-check';
import { isWanted } from '../../../manager/plan/states.ts';
import { portsCollide, portText } from '../../../shared/lib/published-port.ts';
import { isTerminal } from '../../../shared/model/index.ts';
import type { PublishedPort, Task } from '../../../shared/model/index.ts';
import { cluster, GB, SECOND } from './_cluster.ts';
import type { SpecChanges, TestCluster } from './_cluster.ts';

const spec: fc.Arbitrary<SpecChanges> = fc
  .record({
    shape: fc.oneof(
      fc.record({ replicas: fc.integer({ min: 0, max: 12 }) }),
      fc.record({ global: fc.constant(true) }),
    ),
    image: fc.constantFrom('img:1', 'img:2', 'img:3'),
    networks: fc.subarray(['front', 'small']),
    ports: fc.array(
      fc.record({
        protocol: fc.constantFrom('tcp', 'udp'),
        publishedPort: fc.constantFrom(0, 80, 443),
        mode: fc.constantFrom('ingress', 'host'),
        hostIp: fc.constantFrom(undefined, undefined, '127.0.0.1', '192.0.2.1', '0.0.0.0', '::', '::1'),
      }),
      { maxLength: 3 },
    ),
    memoryGb: fc.integer({ min: 0, max: 3 }),
    maxReplicasPerNode: fc.integer({ min: 0, max: 3 }),
    zoned: fc.boolean(),
    order: fc.constantFrom('stop-first', 'start-first'),
    parallelism: fc.integer({ min: 0, max: 3 }),
    moves: fc.constantFrom({}, { drain: 'stop-first' }, { drain: 'at-once' }, { rebalanceEveryMs: 2000 }),
  })
  .map(({ shape, networks, ports, memoryGb, maxReplicasPerNode, zoned, order, parallelism, ...rest }) => ({
    ...shape,
    image: rest.image,
    ...(rest.moves as SpecChanges),
    networks: networks.map((network) => ({ network, aliases: [] })),
    ports: distinct(
      ports.map(({ hostIp, ...port }, index) => ({
        ...port,
        targetPort: 80 + (index % 2),
        ...(hostIp === undefined ? {} : { hostIp }),
      })),
    ),
    reservations: { memoryBytes: memoryGb * GB },
    placement: { maxReplicasPerNode },
    constraints: zoned ? ['node.labels.zone==a'] : [],
    update: { order, parallelism },
  }));

/** As validation has them. */
function distinct(ports: PublishedPort[]): PublishedPort[] {
  return ports.filter(
    (port, index) =>
      port.publishedPort === 0 || !ports.slice(0, index).some((one) => portsCollide(one, port)),
  );
}

/** Pairs of which a connection could be meant for either. */
function colliding(ports: readonly PublishedPort[]): string[] {
  return ports.flatMap((one, index) =>
    ports
      .slice(index + 1)
      .flatMap((other) => (portsCollide(one, other) ? [portText(one), portText(other)] : [])),
  );
}

type Step =
  | { readonly kind: 'service'; readonly name: string; readonly spec: SpecChanges }
  | { readonly kind: 'remove'; readonly name: string }
  | { readonly kind: 'node'; readonly id: string; readonly change: Parameters<TestCluster['node']>[1] }
  | { readonly kind: 'fail'; readonly nth: number }
  | { readonly kind: 'obey' }
  | { readonly kind: 'pass'; readonly ms: number };

const name = fc.constantFrom('a', 'b', 'c');
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('service'), name, spec }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove'), name }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('node'),
      id: fc.constantFrom('n1', 'n2', 'n3'),
      change: fc.constantFrom(
        { status: 'down' },
        { status: 'ready' },
        { availability: 'drain' },
        { availability: 'pause' },
        { availability: 'active' },
        { labels: { zone: 'a' } },
        { labels: { zone: 'b' } },
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('fail'), nth: fc.nat(20) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('obey') }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass'), ms: fc.integer({ min: 1, max: 8000 }) }) },
) as fc.Arbitrary<Step>;

function take(swarm: TestCluster, next: Step): void {
  switch (next.kind) {
    case 'service': {
      const before = swarm.store.get('services', next.name);
      const { global, replicas, ...rest } = next.spec;
      const mode = global === true ? { global } : { replicas: replicas ?? 1 };
      if (before?.removing === true) return;
      swarm.service(next.name, before === undefined ? { ...rest, ...mode } : rest);
      return;
    }
    case 'remove':
      if (swarm.store.get('services', next.name)) swarm.removeService(next.name);
      return;
    case 'node':
      swarm.node(next.id, next.change ?? {});
      return;
    case 'fail': {
      const live = [...swarm.store.all('tasks').values()].filter(
        (task) => task.nodeId !== undefined && !isTerminal(swarm.stateOf(task)),
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

function story(steps: readonly Step[], check: (swarm: TestCluster) => void): TestCluster {
  const swarm = cluster({ taskHistoryLimit: 2 }).network('front').network('small', { subnet: '10.9.0.0/28' });
  for (const zone of ['a', 'a', 'b']) swarm.nodes(1, { labels: { zone } });
  for (const next of steps) {
    take(swarm, next);
    swarm.plan();
    check(swarm);
  }
  return swarm;
}

function repeated(values: readonly string[]): string[] {
  return values.filter((value, index) => values.indexOf(value) !== index);
}

const steps = fc.array(step, { minLength: 1, maxLength: 25 });
const runs = { numRuns: 150 };

test('no address is given twice', (t) => {
  fc.assert(
    fc.property(steps, (all) => {
      story(all, ({ store }) => {
        const given = [
          ...[...store.all('tasks').values()].flatMap(({ addresses }) => addresses),
          ...[...store.all('services').values()].flatMap(({ endpoint }) => endpoint?.vips ?? []),
        ].map(({ network, address }) => `${network} ${address}`);
        if (repeated(given).length > 0) throw new Error(repeated(given).join());
      });
    }),
    runs,
  );
  t.pass();
});

test('no mesh port belongs to two services', (t) => {
  fc.assert(
    fc.property(steps, (all) => {
      story(all, ({ store }) => {
        const ports = [...store.all('services').values()]
          .flatMap(({ endpoint }) => endpoint?.ports ?? [])
          .filter(({ mode }) => mode === 'ingress');
        if (colliding(ports).length > 0) throw new Error(colliding(ports).join());
      });
    }),
    runs,
  );
  t.pass();
});

test('nothing is placed where it may not be, and no node is over-reserved', (t) => {
  fc.assert(
    fc.property(steps, (all) => {
      const placed = new Set<string>();
      story(all, (swarm) => {
        for (const task of swarm.store.all('tasks').values()) {
          if (task.nodeId === undefined || placed.has(task.id)) continue;
          placed.add(task.id);
          const node = swarm.store.get('nodes', task.nodeId);
          if (node?.status !== 'ready' || node.spec.availability !== 'active')
            throw new Error(`on ${task.nodeId}`);
        }
        for (const id of swarm.store.all('nodes').keys()) {
          if (memoryOn(swarm, id) > 8 * GB) throw new Error(`${id} is over-reserved`);
          const doubled = colliding(hostPortsOn(swarm, id));
          if (doubled.length > 0) throw new Error(`${id} has ${doubled.join()} twice`);
        }
      });
    }),
    runs,
  );
  t.pass();
});

function tasksOn({ store }: TestCluster, nodeId: string) {
  return [...store.tasksOfNode(nodeId)].flatMap((id) => {
    const task = store.get('tasks', id);
    if (task === undefined || isTerminal(store.get('statuses', id)?.state ?? 'assigned')) return [];
    return store.get('revisions', `${task.serviceId}.${task.revision}`)?.spec ?? [];
  });
}

function memoryOn(swarm: TestCluster, nodeId: string): number {
  return tasksOn(swarm, nodeId).reduce((sum, { reservations }) => sum + (reservations.memoryBytes ?? 0), 0);
}

function hostPortsOn(swarm: TestCluster, nodeId: string): PublishedPort[] {
  return tasksOn(swarm, nodeId).flatMap(({ ports }) =>
    ports.filter(({ mode, publishedPort }) => mode === 'host' && publishedPort > 0),
  );
}

test('a slot never has two current tasks that are wanted, but while one moves', (t) => {
  fc.assert(
    fc.property(steps, (all) => {
      story(all, (swarm) => {
        for (const { id, revision } of swarm.store.all('services').values()) {
          const global = swarm.store.get('revisions', `${id}.${revision}`)?.spec.mode.kind === 'global';
          const slots = swarm
            .wanted(id)
            .filter((task, at, all) => task.revision === revision && !isMoveOf(task, all[at - 1]))
            .map(({ slot, nodeId }) => (global ? (nodeId ?? '') : String(slot)));
          if (repeated(slots).length > 0) throw new Error(`${id}: slot ${repeated(slots).join()}`);
        }
      });
    }),
    runs,
  );
  t.pass();
});

/** The second of two in a slot, oldest first. */
function isMoveOf(task: Task, before: Task | undefined): boolean {
  return task.move !== undefined && before?.slot === task.slot && before.move === undefined;
}

test('planning again at the same time writes nothing, and timers lie ahead', (t) => {
  fc.assert(
    fc.property(steps, (all) => {
      story(all, (swarm) => {
        // Deleting the last task is what lets a service go: two rounds at the most.
        for (let i = 0; i < 3; i += 1) swarm.plan();
        const last = swarm.plan();
        if (last.writes.length > 0) throw new Error(JSON.stringify(last.writes));
        if (last.wakeAt !== undefined && last.wakeAt <= swarm.now) throw new Error('a timer that has passed');
      });
    }),
    runs,
  );
  t.pass();
});

test('whatever happened, once nodes are back everything wanted runs or says why not', (t) => {
  fc.assert(
    fc.property(steps, (all) => {
      const swarm = story(all, () => undefined);
      for (const id of ['n1', 'n2', 'n3']) swarm.node(id, { status: 'ready', availability: 'active' });
      swarm.elapse(30 * 60_000);
      for (const { id, revision, removing } of swarm.store.all('services').values()) {
        if (removing === true) throw new Error(`${id} is still there`);
        const mode = swarm.store.get('revisions', `${id}.${revision}`)?.spec.mode;
        const waiting = swarm.wanted(id).filter((task) => swarm.stateOf(task) !== 'running');
        if (waiting.some(({ pendingReason }) => pendingReason === undefined)) throw new Error(`${id} waits`);
        const slots = new Set(swarm.wanted(id).map(({ slot }) => slot));
        if (mode?.kind === 'replicated' && slots.size !== mode.replicas)
          throw new Error(`${id}: ${slots.size}`);
        const history = swarm.tasks(id).filter((task) => !isWanted(task)).length;
        if (history > 2 * Math.max(3, slots.size)) throw new Error(`${id} has a history of ${history}`);
      }
    }),
    { numRuns: 80 },
  );
  t.pass();
});

test('invariant 5: the same view, time and seed give the same plan', (t) => {
  fc.assert(
    fc.property(steps, (all) => {
      const [one, two] = [story(all, () => undefined), story(all, () => undefined)];
      const records = ({ store }: TestCluster) =>
        JSON.stringify([[...store.all('tasks')], [...store.all('services')]]);
      return records(one) === records(two);
    }),
    { numRuns: 30 },
  );
  t.pass();
});

test('a crash loop runs once a delay', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 6 }), (delay, replicas) => {
      const swarm = cluster()
        .nodes(2)
        .service('web', { replicas, restart: { delayNs: delay * SECOND } });
      const seen = new Set<string>();
      for (let ms = 0; ms < 20_000; ms += 250) {
        swarm.plan();
        swarm.obey();
        for (const { id } of swarm.running('web')) {
          seen.add(id);
          swarm.report(id, 'failed');
        }
        swarm.now += 250;
      }
      if (seen.size > replicas * (20 / delay + 1)) throw new Error(`${seen.size} runs`);
    }),
    { numRuns: 20 },
  );
  t.pass();
});
