/** Generic resources from the node to the container's environment, and priorities: who gets them when they are short. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ava, { type ExecutionContext } from 'ava';
import { IMAGE, LOCAL, type Scene, suite, SWIFT } from './suite.ts';

/** What the agents are started with. */
const has: Record<string, readonly string[]> = {
  a1: ['gpu=GPU-a', 'gpu=GPU-b', 'acme.com/card=a'],
  a2: ['fpga=2'],
};
/** Of a1 alone. */
const cdi = await mkdtemp(join(tmpdir(), 'shoal-client-cdi-'));

const { test } = await suite((cluster) =>
  cluster
    .agents(2)
    .agentArgs((hostname) => [
      ...(has[hostname] ?? []).flatMap((one) => ['--generic-resource', one]),
      ...['--cdi-spec-dir', hostname === 'a1' ? cdi : join(cdi, 'none')],
    ]),
);

ava.after.always(() => rm(cdi, { recursive: true, force: true }));

const CREATE = ['service', 'create', ...LOCAL, ...SWIFT, '--detach'];
/** Says what it was given, and stays. */
const SAY = ['--entrypoint', '/bin/sh', IMAGE, '-c', 'env; while :; do sleep 1; done'];
const CARD = { NamedResourceSpec: { Kind: 'acme.com/card', Value: 'a' } };
const GPUS = ['GPU-a', 'GPU-b'].map((Value) => ({ NamedResourceSpec: { Kind: 'gpu', Value } }));

test('from the node to the environment', async (t, { docker, swarm, tag }) => {
  const of = (node: string): Promise<unknown> =>
    docker.json('node', 'inspect', '--format', '{{json .Description.Resources.GenericResources}}', node);
  t.deepEqual(await of('a1'), [...GPUS, CARD]);
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

/** Harmless: another name for /dev/null, a file and a variable. */
function card(name: string) {
  const containerEdits = {
    env: [`CARD=${name}`],
    deviceNodes: [{ path: `/dev/card-${name}`, hostPath: '/dev/null', permissions: 'rw' }],
  };
  return { name, containerEdits };
}

/** As vendors' hooks do it: the state names the bundle, its configuration the root, which is on the node still. */
const HOOK = `root=$(sed 's/.*"bundle":"\\([^"]*\\)".*/\\1/')/root; echo hooked >$root/hooked && test -e /etc/hostname`;

const CARDS = {
  cdiVersion: '0.7.0',
  kind: 'acme.com/card',
  devices: [card('a'), card('b')],
  containerEdits: {
    mounts: [{ hostPath: '/etc/hostname', containerPath: '/opt/card/driver', options: ['ro', 'bind'] }],
    additionalGids: [4711],
    hooks: [{ hookName: 'createContainer', path: '/bin/sh', args: ['sh', '-c', HOOK] }],
  },
};
const GPU = { cdiVersion: '0.5.0', kind: 'nvidia.com/gpu', devices: ['0', '1', 'all'].map(card) };
const LOOK =
  'ls -l /dev/card-*; cat /opt/card/driver; id -G; env; cat /hooked; echo x >/dev/card-a; echo y >/opt/card/driver';

const GPUS_OF_A1 = ['0', '1', 'all'].map((name) => `nvidia.com/gpu=${name}`);

/** Until the manager knows of these on a1, and of no others. Clients show no more of a node than they know. */
async function described({ swarm }: Scene, ...names: string[]): Promise<void> {
  await swarm.eventually(async () => {
    const { body } = await swarm.api('GET', '/nodes/a1');
    const { Description } = body as { Description: { CDIDevices?: string[] } };
    return names.join() === (Description.CDIDevices ?? []).join();
  });
}

async function refused(t: ExecutionContext, { docker }: Scene, ...which: string[]): Promise<string> {
  const { code, stderr } = await docker.run(['run', '--rm', ...which, IMAGE, 'true']);
  t.not(code, 0, which.join(' '));
  return stderr;
}

test('GPUs of a node: all, so many, some; and what one task has for itself', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  await writeFile(join(cdi, 'cards.json'), JSON.stringify(CARDS));
  await writeFile(join(cdi, 'gpu.yaml'), JSON.stringify(GPU));
  await described(scene, 'acme.com/card=a', 'acme.com/card=b', ...GPUS_OF_A1);
  const gpus = async (which: string): Promise<string> => {
    const show = ['--entrypoint', '/bin/sh', IMAGE, '-c', 'ls /dev'];
    const names = await docker.lines('run', '--rm', '--gpus', which, ...show);
    return names.filter((name) => name.startsWith('card-')).join();
  };
  t.is(await gpus('all'), 'card-all');
  t.is(await gpus('2'), 'card-0,card-1');
  t.is(await gpus('"device=1"'), 'card-1');
  t.regex(await refused(t, scene, '--gpus', '3'), /2 of 3 CDI devices nvidia.com\/gpu on 1 node/);

  const [first, second] = [`card-${tag}`, `next-${tag}`];
  await docker.ok(...CREATE, '--generic-resource', 'acme.com/card=1', '--name', first, ...SAY);
  await swarm.eventually(async () =>
    (await docker.lines('service', 'logs', '--raw', first)).includes('CARD=a'),
  );
  await docker.ok(...CREATE, '--generic-resource', 'acme.com/card=1', '--name', second, ...SAY);
  const why = ['service', 'ps', '--no-trunc', '--format', '{{.Error}}', second];
  await swarm.eventually(async () =>
    (await docker.lines(...why)).join().includes('insufficient generic resource acme.com/card'),
  );
  await docker.ok('service', 'rm', first, second);
  await swarm.eventually((s) => s.tasks(first).count + s.tasks(second).count === 0);
});

test('devices by name: what comes with them, and what is wrong with them', async (t, scene) => {
  const { docker, tag } = scene;
  // That client takes paths only.
  if (tag === 'v20') {
    t.pass();
    return;
  }
  const infos = await docker.json<{ ID: string }[]>('info', '--format', '{{json .DiscoveredDevices}}');
  t.true(infos.some(({ ID }) => ID === 'acme.com/card=b'));
  const run = ['run', '--rm', '--device', 'acme.com/card=a', '--device', 'acme.com/card=b'];
  const { stdout, stderr } = await docker.run([...run, '--entrypoint', '/bin/sh', IMAGE, '-c', LOOK]);
  t.regex(stdout, /^crw.* 1, +3 .*\/dev\/card-a\ncrw.*\/dev\/card-b\n/);
  for (const line of [/^0.* 4711$/m, /^CARD=b$/m, /^hooked$/m]) t.regex(stdout, line);
  t.regex(stderr, /driver: Read-only file system/);

  const missing = 'acme.com/card=c';
  t.regex(await refused(t, scene, '--device', missing), /no CDI device acme.com\/card=c on 2 nodes/);
  t.regex(await refused(t, scene, '--device', '../../acme=c'), /acme=c is not an absolute path/);
  await writeFile(join(cdi, 'more.json'), JSON.stringify({ ...CARDS, devices: [card('b')] }));
  await described(scene, 'acme.com/card=a', ...GPUS_OF_A1);
  const both = /acme.com\/card=b: both .*cards.json and .*more.json/;
  t.regex(await refused(t, scene, '--device', 'acme.com/card=b'), both);
  await writeFile(join(cdi, 'more.json'), '{');
  await described(scene, 'acme.com/card=a', 'acme.com/card=b', ...GPUS_OF_A1);
  const broken = /no CDI device acme.com\/card=c \(.*more.json: .*JSON/;
  t.regex(await refused(t, scene, '--device', missing), broken);
  await rm(join(cdi, 'more.json'));
});
