import test from 'ava';
import fc from 'fast-check';
import { isWanted } from '../../../manager/plan/states.ts';
import { isTerminal, type ServiceDependency, type Task } from '../../../shared/model/index.ts';
import { cluster, type TestCluster } from './_cluster.ts';

function on(
  service: string,
  condition: ServiceDependency['condition'] = 'started',
  required = true,
): ServiceDependency {
  return { service, condition, required };
}

function only(swarm: TestCluster, name: string): Task {
  const [task, ...rest] = swarm.wanted(name);
  if (task === undefined || rest.length > 0) throw new Error(`${name} has ${rest.length + 1} wanted tasks`);
  return task;
}

test('the first tasks wait until the other service has started; one pending task says so', (t) => {
  const swarm = cluster().nodes(2);
  swarm.service('web', { replicas: 3, dependsOn: [on('db')] }).plan();
  t.deepEqual(swarm.reasons('web'), ['waits for service db, which does not exist']);
  t.is(only(swarm, 'web').nodeId, undefined);
  swarm.service('db', { replicas: 2 }).plan();
  swarm.plan();
  t.deepEqual(swarm.reasons('web'), ['waits for service db to start (0 of 2)']);
  const [first] = swarm.wanted('db');
  swarm.report(first?.id ?? '', 'running').plan();
  t.deepEqual(swarm.reasons('web'), ['waits for service db to start (1 of 2)']);
  t.deepEqual([...(swarm.last?.waits ?? [])], [['web', ['db']]]);
  swarm.settle();
  t.is(swarm.running('web').length, 3);
  t.true(swarm.get('web').released);
  t.deepEqual([...(swarm.last?.waits ?? [])], []);
});

test('healthy: running is not enough; starting with its container is, for started', (t) => {
  const swarm = cluster().nodes(1).service('db');
  swarm.service('api', { dependsOn: [on('db', 'healthy')] }).service('log', { dependsOn: [on('db')] });
  swarm.plan();
  const { id } = only(swarm, 'db');
  swarm.report(id, 'starting', { container: { containerId: 'c' }, health: 'starting' }).plan();
  t.not(only(swarm, 'log').nodeId, undefined);
  t.deepEqual(swarm.reasons('api'), ['waits for service db to be healthy (0 of 1)']);
  swarm.report(id, 'running', { health: 'healthy' }).plan();
  t.not(only(swarm, 'api').nodeId, undefined);
});

test('healthy: a service without a health check never is', (t) => {
  const swarm = cluster().nodes(1).service('db').settle();
  swarm.service('api', { dependsOn: [on('db', 'healthy')] }).plan();
  t.deepEqual(swarm.reasons('api'), ['waits for service db, which has no health check']);
});

test('completed: each slot ended with 0 and is not run again; a failure for good is named', (t) => {
  const swarm = cluster().nodes(2);
  swarm.service('migrate', { replicas: 2, restart: { condition: 'none' } });
  swarm.service('web', { dependsOn: [on('migrate', 'completed')] }).settle();
  t.deepEqual(swarm.reasons('web'), ['waits for service migrate to complete (0 of 2)']);
  const [one, two] = swarm.wanted('migrate');
  swarm.report(one?.id ?? '', 'complete').settle();
  t.deepEqual(swarm.reasons('web'), ['waits for service migrate to complete (1 of 2)']);
  swarm.report(two?.id ?? '', 'failed', { error: 'task: non-zero exit (3)' }).settle();
  t.deepEqual(swarm.reasons('web'), ['waits for service migrate, which failed: task: non-zero exit (3)']);
  swarm.service('migrate', { image: 'img:2' }).settle();
  t.deepEqual(swarm.reasons('web'), ['waits for service migrate to complete (0 of 2)']);
  for (const { id } of swarm.running('migrate')) swarm.report(id, 'complete');
  // The update goes slot by slot.
  swarm.elapse(60_000);
  for (const { id } of swarm.running('migrate')) swarm.report(id, 'complete');
  swarm.settle();
  t.is(swarm.running('web').length, 1);
});

test('completed: a task that is restarted has not completed', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('job', { restart: { condition: 'any' } });
  swarm.service('web', { dependsOn: [on('job', 'completed')] }).settle();
  swarm.report(only(swarm, 'job').id, 'complete').settle();
  t.is(swarm.running('web').length, 0);
});

test('what is not required is not waited for when it is missing or failed', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('job', { restart: { condition: 'none' } })
    .settle();
  swarm.report(only(swarm, 'job').id, 'failed').settle();
  swarm.service('web', { dependsOn: [on('job', 'completed', false), on('nobody', 'healthy', false)] });
  t.is(swarm.settle().running('web').length, 1);
});

test('a global service waits too, and waits for each node that takes one', (t) => {
  const swarm = cluster().nodes(2).node('n3', { availability: 'pause' });
  swarm
    .service('agent', { global: true })
    .service('late', { global: true, dependsOn: [on('agent')] })
    .plan();
  t.is(swarm.tasks('late').length, 0);
  const [first] = swarm.wanted('agent');
  swarm.report(first?.id ?? '', 'running').plan();
  t.is(swarm.tasks('late').length, 0);
  t.is(swarm.settle().running('late').length, 2);
});

test('once released, nothing holds it back: failure, removal and reboot of the dependency, scale, update', (t) => {
  const swarm = cluster()
    .nodes(2)
    .service('db')
    .service('web', { dependsOn: [on('db')] })
    .settle();
  swarm.removeService('db');
  swarm.node('n1', { status: 'down' }).node('n2', { status: 'down' }).settle();
  swarm.node('n1', { status: 'ready' }).node('n2', { status: 'ready' });
  for (const task of swarm.wanted('web')) swarm.report(task.id, 'failed');
  swarm.elapse(60_000);
  t.is(swarm.running('web').length, 1);
  swarm.service('web', { replicas: 0 }).settle();
  swarm.service('web', { replicas: 2, image: 'img:2' }).elapse(60_000);
  t.is(swarm.running('web').length, 2);
});

test('a service that runs is not held back by dependencies that it is given later', (t) => {
  const swarm = cluster().nodes(1).service('web').settle();
  swarm.service('web', { image: 'img:2', dependsOn: [on('nobody')] }).elapse(60_000);
  t.is(swarm.running('web').length, 1);
  t.true(swarm.get('web').released);
});

test('a service that is held back can be changed, scaled and removed', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('web', { replicas: 2, dependsOn: [on('db')] })
    .settle();
  swarm.service('web', { image: 'img:2', replicas: 0 }).settle();
  t.is(swarm.tasks('web').length, 0);
  swarm.service('web', { replicas: 5 }).settle();
  t.is(only(swarm, 'web').revision, swarm.get('web').revision);
  swarm.service('web', { dependsOn: [] }).settle();
  t.is(swarm.running('web').length, 5);
  swarm.service('late', { dependsOn: [on('nobody')] }).settle();
  swarm.removeService('late').settle();
  t.is(swarm.store.get('services', 'late'), undefined);
});

const NAMES = ['a', 'b', 'c', 'd'];
const condition = fc.constantFrom<ServiceDependency['condition']>('started', 'healthy');
/** Each service may wait for those before it: no cycles, as the API has it. */
const specs = fc.tuple(
  ...NAMES.map((_name, index) =>
    fc.record({
      replicas: fc.integer({ min: 0, max: 3 }),
      global: fc.boolean(),
      dependsOn: fc.uniqueArray(
        fc.record({
          service: fc.constantFrom(...NAMES.slice(0, Math.max(1, index))),
          condition,
          required: fc.boolean(),
        }),
        { maxLength: index === 0 ? 0 : 3, selector: ({ service }) => service },
      ),
    }),
  ),
);

test('property: in any order of deployment no task is placed before its time, and all come to run', (t) => {
  fc.assert(
    fc.property(
      specs,
      fc.shuffledSubarray(NAMES, { minLength: 4 }),
      fc.array(fc.nat(3)),
      (all, order, fails) => {
        const swarm = cluster().nodes(2);
        const health = (): void => {
          for (const task of swarm.store.all('tasks').values()) {
            if (swarm.stateOf(task) === 'running') swarm.report(task.id, 'running', { health: 'healthy' });
          }
        };
        const released = new Set<string>();
        const check = (): void => {
          for (const name of order) {
            const placed = swarm.tasks(name).some(({ nodeId }) => nodeId !== undefined);
            if (!placed || released.has(name)) continue;
            released.add(name);
            for (const { service, required } of all[NAMES.indexOf(name)]?.dependsOn ?? []) {
              const dependency = swarm.store.get('services', service);
              if (dependency === undefined && !required) continue;
              const running = new Set(
                swarm
                  .tasks(service)
                  .filter(({ id }) => swarm.store.get('statuses', id)?.startedAtMs !== undefined),
              );
              const spec = all[NAMES.indexOf(service)];
              const wanted = spec?.global === true ? 2 : (spec?.replicas ?? 0);
              if (running.size < wanted) throw new Error(`${name} was placed before ${service} ran`);
            }
          }
        };
        const step = (): void => {
          swarm.plan();
          check();
          swarm.obey();
          health();
        };
        for (const name of order) {
          const { global, replicas, dependsOn } = all[NAMES.indexOf(name)] ?? {};
          swarm.service(name, {
            ...(global === true ? { global } : { replicas: replicas ?? 1 }),
            dependsOn: dependsOn ?? [],
          });
          step();
        }
        for (const nth of fails) {
          const live = [...swarm.store.all('tasks').values()].filter(
            (task) => task.nodeId !== undefined && isWanted(task) && !isTerminal(swarm.stateOf(task)),
          );
          const victim = live[nth % Math.max(1, live.length)];
          if (victim !== undefined) swarm.report(victim.id, 'failed');
          step();
        }
        for (let i = 0; i < 60; i += 1) {
          step();
          swarm.now += 2_000;
        }
        for (const [index, name] of NAMES.entries()) {
          const spec = all[index];
          const wanted = spec?.global === true ? 2 : (spec?.replicas ?? 0);
          if (swarm.running(name).length !== wanted) {
            throw new Error(
              `${name}: ${swarm.running(name).length} of ${wanted}: ${swarm.reasons(name).join()}`,
            );
          }
        }
      },
    ),
    { numRuns: 200 },
  );
  t.pass();
});

test('jobs: all completions are waited for, and a job waits too', (t) => {
  const swarm = cluster().nodes(2);
  swarm.service('fill', {
    mode: { kind: 'replicated-job', totalCompletions: 3, maxConcurrent: 2 },
    restart: { condition: 'on-failure' },
    dependsOn: [on('db')],
  });
  swarm.service('web', { dependsOn: [on('fill', 'completed')] }).settle();
  t.deepEqual(swarm.reasons('fill'), ['waits for service db, which does not exist']);
  swarm.service('db').settle();
  t.is(swarm.running('fill').length, 2);
  t.deepEqual(swarm.reasons('web'), ['waits for service fill to complete (0 of 3)']);
  for (let i = 0; i < 3; i += 1) {
    t.is(swarm.running('web').length, 0);
    const [task] = swarm.running('fill');
    swarm.report(task?.id ?? '', 'complete').settle();
  }
  t.is(swarm.running('web').length, 1);
});
