/** Generic resources from the node to the container's environment, and priorities: who gets them when they are short. */
import { IMAGE, LOCAL, suite, SWIFT } from './suite.ts';

/** What the agents are started with. */
const has: Record<string, readonly string[]> = { a1: ['gpu=GPU-a', 'gpu=GPU-b'], a2: ['fpga=2'] };

const { test } = await suite((cluster) =>
  cluster
    .agents(2)
    .agentArgs((hostname) => (has[hostname] ?? []).flatMap((one) => ['--generic-resource', one])),
);

const CREATE = ['service', 'create', ...LOCAL, ...SWIFT, '--detach'];
/** Says what it was given, and stays. */
const SAY = ['--entrypoint', '/bin/sh', IMAGE, '-c', 'env; while :; do sleep 1; done'];
const GPUS = ['GPU-a', 'GPU-b'].map((Value) => ({ NamedResourceSpec: { Kind: 'gpu', Value } }));

test('from the node to the environment', async (t, { docker, swarm, tag }) => {
  const of = (node: string): Promise<unknown> =>
    docker.json('node', 'inspect', '--format', '{{json .Description.Resources.GenericResources}}', node);
  t.deepEqual(await of('a1'), GPUS);
  t.deepEqual(await of('a2'), [{ DiscreteResourceSpec: { Kind: 'fpga', Value: 2 } }]);

  const [named, counted, late] = [`named-${tag}`, `counted-${tag}`, `late-${tag}`];
  await docker.ok(...CREATE, '--generic-resource', 'gpu=2', '--name', named, ...SAY);
  await docker.ok(...CREATE, '--generic-resource', 'fpga=1', '--name', counted, ...SAY);
  await swarm.eventually((s) => s.running(named).count === 1 && s.running(counted).count === 1);
  for (const [name, line] of [
    [named, 'DOCKER_RESOURCE_GPU=GPU-a,GPU-b'],
    [counted, 'DOCKER_RESOURCE_FPGA=1'],
  ] as const)
    await swarm.eventually(async () =>
      (await docker.lines('service', 'logs', '--raw', name)).some((text) => text === line),
    );
  const reserved = ['service', 'inspect', '--format', '{{json .Spec.TaskTemplate.Resources.Reservations}}'];
  t.deepEqual(await docker.json(...reserved, named), {
    GenericResources: [{ DiscreteResourceSpec: { Kind: 'gpu', Value: 2 } }],
  });
  const [task = ''] = await docker.lines('service', 'ps', '-q', '--no-trunc', named);
  const [shown = {}] = await docker.json<object[]>('inspect', '--type', 'task', task);
  t.like(shown, { AssignedGenericResources: GPUS, GenericResources: GPUS });

  await docker.ok(...CREATE, '--generic-resource', 'gpu=1', '--name', late, ...SAY);
  const why = ['service', 'ps', '--no-trunc', '--format', '{{.Error}}', late];
  await swarm.eventually(async () =>
    (await docker.lines(...why)).join().includes('insufficient generic resource gpu'),
  );
  await docker.ok('service', 'update', ...LOCAL, '--detach', '--generic-resource-rm', 'gpu', named);
  await swarm.eventually((s) => s.running(late).count === 1 && s.running(named).count === 1);
  t.deepEqual(await docker.json(...reserved, named), {});
  await docker.ok('service', 'rm', named, counted, late);
  await swarm.eventually((s) => s.tasks(named).count + s.tasks(late).count === 0);
});

test('an agent that starts with other resources has these', async (t, { docker, swarm }) => {
  has['a2'] = has['a2']?.[0] === 'fpga=2' ? ['fpga=1', 'tpu=T-1'] : ['fpga=2'];
  await swarm.node('a2').restart();
  const kinds = ['node', 'inspect', '--format', '{{json .Description.Resources.GenericResources}}', 'a2'];
  const length = has['a2'].length;
  await swarm.eventually(async () => (await docker.json<unknown[]>(...kinds)).length === length);
  t.pass();
});

test('a higher priority takes what it needs, and gives it back', async (t, { docker, swarm, tag }) => {
  const [low, high] = [`low-${tag}`, `high-${tag}`];
  const wrong = ['--label', 'shoal.priority=5000', '--name', high, ...SAY];
  const refused = await docker.run([...CREATE, ...wrong]);
  t.regex(
    refused.stderr,
    /Labels\.shoal\.priority: a whole number from -1000 to 1000 is expected, not '5000'/,
  );

  await docker.ok(...CREATE, '--replicas', '2', '--generic-resource', 'gpu=1', '--name', low, ...SAY);
  await swarm.eventually((s) => s.running(low).count === 2);
  const priority = ['--label', 'shoal.priority=10'];
  await docker.ok(...CREATE, ...priority, '--generic-resource', 'gpu=1', '--name', high, ...SAY);
  await swarm.eventually((s) => s.running(high).count === 1 && s.running(low).count === 1);
  const tasks = async (): Promise<string[]> =>
    docker.lines('service', 'ps', '--no-trunc', '--format', '{{.DesiredState}} {{.Error}}', low);
  const shown = await tasks();
  t.true(shown.some((line) => line.startsWith('Shutdown') && line.includes(`preempted by service ${high}`)));
  t.true(
    shown.some((line) => line.includes('insufficient generic resource gpu')),
    shown.join('\n'),
  );

  await docker.ok('service', 'rm', high);
  await swarm.eventually((s) => s.running(low).count === 2);
  await docker.ok('service', 'rm', low);
  await swarm.eventually((s) => s.tasks(low).count === 0);
});
