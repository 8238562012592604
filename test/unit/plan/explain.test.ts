/** What is said of a pending task, and that what is said to help does. */
import test from 'ava';
import fc from 'fast-check';
import { explainPlacement, type Explanation } from '../../../manager/plan/explain/explain.ts';
import type { Change, Step } from '../../../manager/plan/explain/step.ts';
import type { Affinity, PublishedPort } from '../../../shared/model/index.ts';
import { newSpecKeys } from '../../../shared/wire/spec-keys.ts';
import { cluster, GB, specOf, type SpecChanges, type TestCluster } from './_cluster.ts';

const MB = 2 ** 20;

function explain(c: TestCluster, name: string): Explanation {
  const service = c.get(name);
  const spec = c.view().revisions.get(`${name}.${service.revision}`)?.spec ?? specOf(name);
  return explainPlacement(c.view(), service, spec, c.now);
}

function helpOf(c: TestCluster, name: string): string[] {
  const { filters, help } = explain(c, name);
  return [...help, ...filters.flatMap((removal) => removal.help.steps)].map(({ text }) => text);
}

const webPort: PublishedPort = { protocol: 'tcp', targetPort: 80, publishedPort: 8080, mode: 'host' };

test('a cluster without a node is what is said, not what only nodes bring', (t) => {
  const c = cluster()
    .service('web')
    .service('open', { ports: [{ ...webPort, mode: 'ingress' }] })
    .settle();
  const reason = 'no suitable node (the cluster has no node)';
  t.deepEqual([...c.reasons('web'), ...c.reasons('open')], [reason, reason]);
  t.is(explain(c, 'web').reason, reason);
  t.regex(helpOf(c, 'web').join(), /join a node/);
  t.is(c.nodes(1).settle().running('web').length, 1);
  t.is(c.running('open').length, 1);
});

test('the reason is the one that the task has, and nodes are counted by the first filter that they fail', (t) => {
  const c = cluster()
    .nodes(2, { availability: 'drain' })
    .node('n3', { labels: { zone: 'b' } })
    .node('n4', { status: 'down' })
    .service('web', { constraints: ['node.labels.zone==a'] })
    .settle();
  const { reason, nodes, suitable, filters } = explain(c, 'web');
  t.is(reason, String(c.reasons('web')[0]));
  t.deepEqual({ nodes, suitable }, { nodes: 4, suitable: 0 });
  t.deepEqual(
    filters.map((one) => [one.filter, one.reason, one.nodes, one.names]),
    [
      ['ready', 'availability is drain', 2, ['n1', 'n2']],
      ['constraints', 'constraint node.labels.zone==a not met', 1, ['n3']],
      ['ready', 'status is down', 1, ['n4']],
    ],
  );
});

test('help names commands, amounts and holders; of the nearest node all that it lacks', (t) => {
  const c = cluster()
    .node('n1', { availability: 'drain' })
    .node('n2', { labels: { zone: 'b' } })
    .node('n3', { labels: { zone: 'A' } })
    .service('big', { constraints: ['node.hostname==n3'], reservations: { memoryBytes: 7.5 * GB } })
    .settle()
    .service('web', {
      constraints: ['node.labels.zone==A'],
      reservations: { memoryBytes: GB },
      placement: { maxReplicasPerNode: 1 },
    })
    .settle();
  t.deepEqual(helpOf(c, 'web'), [
    'n1 is drained: docker node update --availability active n1',
    'n1 does not have the label zone=A: docker node update --label-add zone=A n1',
    'n2 does not have the label zone=A: docker node update --label-add zone=A n2',
    'n3 has 512 MiB of the 1 GiB of memory free that web reserves: reserve at most that ' +
      '(docker service update --reserve-memory 512M web), or free room',
  ]);
});

test('of generic resources, how many a node has and how many are free', (t) => {
  const gpus = [{ kind: 'gpu', names: ['a', 'b'] }];
  const wants = (count: number) => ({ reservations: { genericResources: [{ kind: 'gpu', count }] } });
  const c = cluster()
    .node('n1', { description: { genericResources: gpus } })
    .service('first', wants(1))
    .settle()
    .service('many', wants(3))
    .service('two', wants(2))
    .settle();
  t.deepEqual(helpOf(c, 'two'), [
    'n1 has 1 of 2 gpu free, and two reserves 2: stop tasks there that hold them, reserve fewer, or join a node that has them',
  ]);
  t.deepEqual(helpOf(c, 'many'), [
    'n1 has 1 of 2 gpu free, and many reserves 3: reserve fewer, or join a node that has them (shoal agent --generic-resource)',
  ]);
  t.is(c.removeService('first').settle().running('two').length, 1);
});

test('a task goes where its CDI devices are; who waits is told what is missing, and goes when it is there', (t) => {
  const asks = (name: string): Pick<SpecChanges, 'container'> => {
    const deviceRequests = [{ kinds: ['acme.com/card'], names: [name] }];
    return { container: { ...specOf('x').container, runtime: { deviceRequests } } };
  };
  const problems = [{ of: 'acme.com/card=b', why: 'two files' }];
  const description = { knows: newSpecKeys() };
  const c = cluster()
    .node('n1', { description })
    .node('n2', { description, devices: { names: ['acme.com/card=a'], problems } })
    .service('first', { replicas: 3, ...asks('a') })
    .service('second', asks('b'))
    .settle();
  t.deepEqual(
    c.running('first').map(({ nodeId }) => nodeId),
    ['n2', 'n2', 'n2'],
  );
  t.is(
    explain(c, 'second').reason,
    'no suitable node (CDI device acme.com/card=b: two files on 1 node; no CDI device acme.com/card=b on 1 node)',
  );
  t.regex(helpOf(c, 'second').join(), /n1 needs a CDI file for it in \/etc\/cdi or \/var\/run\/cdi/);
  c.node('n1', { devices: { names: ['acme.com/card=b'] } }).settle();
  t.is(c.running('second')[0]?.nodeId, 'n1');
});

test('who holds a port, how many tasks there are, which service is missed', (t) => {
  const c = cluster()
    .node('n1')
    .service('one', { ports: [webPort] })
    .settle();
  const [holder] = c.running('one');
  c.service('two', { ports: [webPort] })
    .service('most', { replicas: 2, placement: { maxReplicasPerNode: 1 } })
    .service('near', { placement: { affinities: [{ service: 'none', kind: 'with', hard: true }] } })
    .service('late', { dependsOn: [{ service: 'db', condition: 'started', required: true }] })
    .settle();
  t.regex(
    helpOf(c, 'two').join(),
    new RegExp(`port 8080/tcp of n1 is held in mode host by task ${holder?.id} of service one: `),
  );
  t.regex(helpOf(c, 'most').join(), /n1 has 1 tasks of most: .*--replicas-max-per-node 2 most/);
  t.regex(helpOf(c, 'near').join(), /n1 has no task of service none: .*shoal\.placement\.with of near/);
  t.regex(explain(c, 'late').reason, /^waits for service db/);
  t.deepEqual(helpOf(c, 'late'), ['deploy service db']);
});

test('networks: one that is gone, one that is full, and a port of the mesh', (t) => {
  const c = cluster().nodes(1).network('tiny', { subnet: '10.9.0.0/29' }).settle();
  const networks = [{ network: 'tiny', aliases: [] }];
  const ports: PublishedPort[] = [{ ...webPort, mode: 'ingress' }];
  c.service('many', { replicas: 9, networks })
    .service('lost', { networks: [{ network: 'gone', aliases: [] }] })
    .service('first', { ports })
    .settle()
    .service('second', { ports })
    .settle();
  for (const name of ['many', 'lost', 'second'])
    t.is(explain(c, name).reason, String(c.reasons(name).at(-1)), name);
  t.regex(helpOf(c, 'many').join(), /all addresses of 10\.9\.0\.0\/29 are taken/);
  t.regex(helpOf(c, 'lost').join(), /network gone was removed: .*--network-rm gone lost/);
  t.regex(explain(c, 'second').reason, /port 8080\/tcp is already published by service first/);
  t.regex(helpOf(c, 'second').join(), /another port/);
});

test('a network for which no subnet is left', (t) => {
  const c = cluster({ addressPool: '10.0.0.0/24' })
    .nodes(1)
    .network('early')
    .settle()
    .network('late')
    .settle();
  c.service('web', { networks: [{ network: 'late', aliases: [] }] }).settle();
  t.regex(explain(c, 'web').reason, /^network late has no subnet: /);
  t.is(explain(c, 'web').reason, String(c.reasons('web')[0]));
  t.regex(helpOf(c, 'web').join(), /docker network prune, or make network late anew with --subnet/);
});

test('labels that contradict one another are not said to help', (t) => {
  const c = cluster()
    .node('n1')
    .service('web', { constraints: ['node.labels.zone==a', 'node.labels.zone==b'] })
    .settle();
  t.deepEqual(
    explain(c, 'web').filters[0]?.help.steps.map(({ change }) => change.kind),
    ['remove-constraint', 'remove-constraint'],
  );
});

/** Does what a step says. False: it can not be done in a model, or is only in words. */
function apply(c: TestCluster, { change }: Step, spec: SpecChanges): SpecChanges | undefined {
  const placement = { ...spec.placement };
  switch (change.kind) {
    case 'start-node':
      c.node(change.nodeId, { status: 'ready' });
      return spec;
    case 'activate-node':
      c.node(change.nodeId, { availability: 'active' });
      return spec;
    case 'add-label':
    case 'remove-label':
      relabel(c, change);
      return spec;
    case 'remove-constraint':
      return { ...spec, constraints: (spec.constraints ?? []).filter((text) => text !== change.text) };
    case 'use-platform':
      return { ...spec, placement: { ...placement, platforms: [{ os: change.os, arch: change.arch }] } };
    case 'drop-affinity': {
      const affinities = (placement.affinities ?? []).filter(
        ({ service, kind }) => service !== change.affinity.service || kind !== change.affinity.kind,
      );
      return { ...spec, placement: { ...placement, affinities } };
    }
    case 'reserve-cpu':
      return { ...spec, reservations: { ...spec.reservations, nanoCpus: change.nanoCpus } };
    case 'reserve-memory':
      return { ...spec, reservations: { ...spec.reservations, memoryBytes: change.memoryBytes } };
    case 'free-port':
      return { ...spec, ports: [] };
    case 'raise-max-replicas':
      return { ...spec, placement: { ...placement, maxReplicasPerNode: change.count } };
    default:
      return undefined;
  }
}

function relabel(c: TestCluster, change: Extract<Change, { kind: 'add-label' | 'remove-label' }>): void {
  const labels = { ...c.store.get('nodes', change.nodeId)?.spec.labels };
  if (change.kind === 'add-label') labels[change.label] = change.value;
  else delete labels[change.label];
  c.node(change.nodeId, { labels });
}

const zone = fc.constantFrom('a', 'b', 'C');
const nodeArb = fc.record({
  availability: fc.constantFrom('active', 'active', 'pause', 'drain'),
  status: fc.constantFrom('ready', 'ready', 'ready', 'down'),
  labels: fc.oneof(
    fc.constant({}),
    zone.map((value) => ({ zone: value })),
  ),
  arch: fc.constantFrom('x86_64', 'aarch64'),
  memoryBytes: fc.constantFrom(256 * MB, GB, 4 * GB),
});
const constraint = fc.oneof(
  fc
    .tuple(fc.constantFrom('==', '!='), zone)
    .map(([operator, value]) => `node.labels.zone${operator}${value}`),
  fc.constantFrom('node.hostname==n2', 'node.role==manager', 'node.platform.arch!=aarch64'),
);
const affinity: fc.Arbitrary<Affinity> = fc.record({
  service: fc.constantFrom('base', 'none'),
  kind: fc.constantFrom('with', 'apart'),
  hard: fc.constant(true),
});
const specArb = fc.record({
  constraints: fc.uniqueArray(constraint, { maxLength: 3 }),
  memoryBytes: fc.constantFrom(0, 100 * MB, 900 * MB, 8 * GB),
  nanoCpus: fc.constantFrom(0, 1e9, 9e9),
  affinities: fc.array(affinity, { maxLength: 2 }),
  arm: fc.boolean(),
  port: fc.boolean(),
  most: fc.constantFrom(0, 0, 1),
});

test('what is said to help makes the task placeable', (t) => {
  let applied = 0;
  let seen = 0;
  fc.assert(
    fc.property(fc.array(nodeArb, { minLength: 1, maxLength: 4 }), specArb, (nodes, wanted) => {
      const build = (): { c: TestCluster; spec: SpecChanges } => {
        const c = cluster();
        nodes.forEach(({ arch, memoryBytes, ...more }, i) => {
          c.node(`n${i + 1}`, { ...more, description: { arch, memoryBytes } });
        });
        c.service('base', {
          replicas: 2,
          reservations: { memoryBytes: 200 * MB },
          ports: [webPort],
        }).settle();
        // Others that wait, and are older, would take what is made free.
        c.service('base', { replicas: c.running('base').length }).settle();
        const spec: SpecChanges = {
          replicas: 1,
          constraints: wanted.constraints,
          reservations: { memoryBytes: wanted.memoryBytes, nanoCpus: wanted.nanoCpus },
          placement: {
            affinities: wanted.affinities,
            maxReplicasPerNode: wanted.most,
            ...(wanted.arm ? { platforms: [{ os: 'linux', arch: 'arm64' }] } : {}),
          },
          ports: wanted.port ? [webPort] : [],
        };
        c.service('web', spec).plan();
        return { c, spec };
      };
      const { c: first } = build();
      const { reason, suitable, filters } = explain(first, 'web');
      const pending = first.reasons('web')[0];
      // Placed, then: nothing is to be explained.
      if (pending === undefined) return;
      seen += 1;
      t.is(reason, pending);
      t.is(suitable, 0);
      t.is(
        filters.reduce((sum, one) => sum + one.nodes, 0),
        nodes.length,
      );
      for (const removal of filters) {
        const { c, spec } = build();
        let changed: SpecChanges | undefined = spec;
        for (const step of removal.help.steps)
          changed = changed === undefined ? undefined : apply(c, step, changed);
        if (changed === undefined) continue;
        applied += 1;
        c.service('web', changed).plan();
        const [task] = c.wanted('web');
        t.truthy(
          task?.nodeId,
          `${removal.reason}: ${removal.help.steps.map(({ text }) => text).join('; ')}: still ${task?.pendingReason}`,
        );
      }
    }),
    { numRuns: 300 },
  );
  t.true(seen > 100 && applied > 100, `${seen} pending, ${applied} times something was applied`);
});
