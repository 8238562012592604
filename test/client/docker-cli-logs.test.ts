/** service logs, and containers of the whole cluster: ps, inspect, logs. */
import type { ContainerJson } from './docker.ts';
import { IMAGE, LOCAL, type Scene, suite, SWIFT } from './suite.ts';

const { test } = await suite((cluster) => cluster.agents(2));

/** Two tasks that each say three lines on one stream and one on the other, and then one whenever /tmp/more grows. */
async function talkers({ docker, swarm }: Scene, name: string): Promise<void> {
  const script = 'for i in 1 2 3; do echo line $i; done; echo oh no >&2; exec sleep 1000';
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--name', name, '--replicas', '2'];
  await docker.ok(...create, '--entrypoint', '/bin/sh', IMAGE, '-c', script);
  await swarm.eventually(async () => {
    const { stdout, stderr } = await docker.run(['service', 'logs', '--raw', name]);
    return stdout.split('line 3').length === 3 && stderr.split('oh no').length === 3;
  });
}

test('service logs name the task and the node', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `talk-${tag}`;
  await talkers(scene, name);
  const plain = await docker.run(['service', 'logs', name]);
  t.is(plain.code, 0);
  t.is(plain.stdout.trim().split('\n').length, 6);
  for (const slot of [1, 2]) {
    t.regex(plain.stdout, new RegExp(`^${name}\\.${slot}\\.\\w{12}@a[12] +\\| line 1$`, 'm'));
    t.regex(plain.stderr, new RegExp(`^${name}\\.${slot}\\.\\w{12}@a[12] +\\| oh no$`, 'm'));
  }
  // each task's lines in the order in which it said them
  const first = plain.stdout.split('\n').filter((line) => line.startsWith(`${name}.1.`));
  t.deepEqual(
    first.map((line) => line.split('| ')[1]),
    ['line 1', 'line 2', 'line 3'],
  );
  const full = await docker.run(['service', 'logs', '--no-trunc', '--timestamps', name]);
  t.regex(
    full.stdout,
    new RegExp(`^\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z ${name}\\.1\\.\\w{25}@a[12] +\\| line 1$`, 'm'),
  );
  const ids = await docker.lines('service', 'logs', '--no-resolve', name);
  t.regex(ids[0] ?? '', /^\w{25}\.\d\.\w{12}@\w{25} +\| line/);
  const bare = await docker.lines('service', 'logs', '--no-task-ids', name);
  t.regex(bare[0] ?? '', new RegExp(`^${name}\\.\\d@a[12] +\\| line`));

  const tail = await docker.run(['service', 'logs', '--raw', '--tail', '1', name]);
  t.is(tail.stdout + tail.stderr, 'oh no\noh no\n');
  const none = await docker.run(['service', 'logs', '--raw', '--since', '2099-01-01T00:00:00Z', name]);
  t.is(none.stdout + none.stderr, '');
  t.is((await docker.lines('service', 'logs', '--raw', '--since', '1h', name)).length, 6);

  const [task = ''] = await docker.lines('service', 'ps', '-q', '--no-trunc', name);
  t.deepEqual(await docker.lines('service', 'logs', '--raw', task), ['line 1', 'line 2', 'line 3']);
  await docker.ok('service', 'rm', name);
});

test('service logs -f goes on, with tasks that come later, until it is interrupted', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `follow-${tag}`;
  await talkers(scene, name);
  const [one = ''] = await docker.lines(
    'service',
    'ps',
    '-q',
    '--no-trunc',
    '--filter',
    `name=${name}.1`,
    name,
  );
  const following = docker.follow(
    ['service', 'logs', '-f', '--tail', '2', name],
    new RegExp(`${name}\\.3\\.\\w{12}@a[12] +\\| line 3`),
  );
  await docker.ok('service', 'scale', `${name}=3`);
  const seen = await following;
  t.regex(seen, new RegExp(`${name}\\.1\\.${one.slice(0, 12)}@a[12] +\\| line 3`));
  t.notRegex(seen, new RegExp(`${name}\\.1\\.\\w{12}@a[12] +\\| line 1`));
  await docker.ok('service', 'rm', name);
});

test('ps, inspect and logs of containers, whatever node they are on', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const name = `boxes-${tag}`;
  await talkers(scene, name);
  const ps = (format: string, ...more: string[]) =>
    docker.lines('ps', '--format', format, '--filter', `name=${name}`, ...more);
  const shown = await ps('{{.Names}} {{.Image}} {{.State}} {{.Status}}');
  t.is(shown.length, 2);
  for (const line of shown) t.regex(line, new RegExp(`^${name}\\.[12]\\.\\w{25} ${IMAGE} running Up `));
  t.regex(await docker.ok('ps'), /^CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES$/m);

  const ids = await ps('{{.ID}}', '--no-trunc');
  const nodes = new Set<string>();
  for (const id of ids) {
    t.regex(id, /^[0-9a-f]{64}$/);
    const [container] = await docker.json<ContainerJson[]>('inspect', id.slice(0, 12));
    t.is(container?.Id, id);
    t.deepEqual(
      [container?.State.Status, container?.State.Running, container?.State.ExitCode],
      ['running', true, 0],
    );
    t.is(container?.Config.Image, IMAGE);
    t.deepEqual(container?.Config.Entrypoint, ['/bin/sh']);
    t.is(container?.Config.Labels['com.docker.swarm.service.name'], name);
    nodes.add(container?.Config.Labels['com.docker.swarm.node.id'] ?? '');
    const { stdout, stderr } = await docker.run(['logs', id]);
    t.deepEqual([stdout, stderr], ['line 1\nline 2\nline 3\n', 'oh no\n']);
  }
  t.is(nodes.size, 2);
  const [id = ''] = ids;
  t.regex(await docker.ok('logs', '-t', '--tail', '2', id), /^\d{4}-\S+Z line 3$/);
  t.regex(await docker.follow(['logs', '-f', id], /line 3/), /line 1/);
  const service = await docker.ok('service', 'inspect', '--format', '{{.ID}}', name);
  t.is(
    (await docker.lines('ps', '-q', '--filter', `label=com.docker.swarm.service.id=${service}`)).length,
    2,
  );

  // the log of a container that has ended ends
  const ending = docker.ok('logs', '-f', id);
  await docker.ok('service', 'scale', `${name}=0`);
  t.regex(await ending, /line 3/);
  await swarm.eventually(async () => (await ps('{{.ID}}')).length === 0);
  await docker.ok('service', 'rm', name);
});
