/** The stock docker client drives a real cluster: what an admin of Swarm types. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import { cluster } from '../harness/cluster.ts';

const IMAGE = 'shoal/example:latest';
/** Without it the client asks the manager for the image's digest, which no registry has. */
const LOCAL = ['--no-resolve-image', '--quiet'];

test('nodes, and what is done with services', async (t) => {
  await using swarm = await cluster().manager().agents(2).up();
  const nodes = await swarm.docker('node', 'ls', '--format', '{{.Hostname}} {{.Status}} {{.Availability}}');
  t.deepEqual(nodes.trim().split('\n').toSorted(), ['a1 Ready Active', 'a2 Ready Active']);

  const grace = ['--stop-grace-period', '1s'];
  await swarm.docker('service', 'create', ...LOCAL, ...grace, '--name', 'web', '--replicas', '4', IMAGE);
  const list = await swarm.docker(
    'service',
    'ls',
    '--format',
    '{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}',
  );
  t.is(list.trim(), `web replicated 4/4 ${IMAGE}`);
  const tasks = await swarm.docker(
    'service',
    'ps',
    'web',
    '--format',
    '{{.Name}} {{.Node}} {{.CurrentState}}',
  );
  t.is(tasks.trim().split('\n').length, 4);
  for (const line of tasks.trim().split('\n')) t.regex(line, /^web\.[1-4] a[12] Running/);

  await swarm.docker('service', 'scale', 'web=2');
  await swarm.eventually((s) => s.running('web').count === 2);
  await swarm.docker('service', 'update', ...LOCAL, '--env-add', 'GENERATION=2', 'web');
  const environment = await swarm.docker(
    ...['service', 'inspect', 'web', '--format', '{{.Spec.TaskTemplate.ContainerSpec.Env}}'],
  );
  t.is(environment.trim(), '[GENERATION=2]');
  t.is((await swarm.state()).running('web').count, 2);

  const containers = await swarm.docker('ps', '--format', '{{.Image}} {{.Names}}');
  t.is(containers.trim().split('\n').length, 2);
  t.regex(containers, new RegExp(`^${IMAGE} web\\.1\\.`, 'm'));

  await swarm.docker('service', 'rm', 'web');
  await swarm.eventually((s) => s.services.length === 0);
  t.is((await swarm.docker('service', 'ls', '-q')).trim(), '');
});

test('service logs show what the tasks of all nodes wrote', async (t) => {
  await using swarm = await cluster().manager().agents(2).up();
  const script = 'echo out from $HOSTNAME; echo err >&2; exec sleep 1000';
  const more = ['--entrypoint', '/bin/sh', '--hostname', '{{.Task.Slot}}'];
  await swarm.deploy('talk', { replicas: 2, more: more.slice(0, 2), args: ['-c', script] });
  await swarm.eventually((s) => s.running('talk').count === 2);
  await swarm.eventually(async () => {
    const logs = await swarm.docker('service', 'logs', '--raw', 'talk');
    return logs.match(/^out from /gm)?.length === 2;
  });
  const named = await swarm.docker('service', 'logs', 'talk');
  t.regex(named, /^talk\.1\.\w+@a[12] +\| out from /m);
  t.regex(named, /^talk\.2\.\w+@a[12] +\| out from /m);
});

test('a network of one service answers by name from another service in it', async (t) => {
  await using swarm = await cluster().manager().agents(2).up();
  await swarm.docker('network', 'create', '-d', 'overlay', 'back');
  const names = await swarm.docker('network', 'ls', '--filter', 'driver=overlay', '--format', '{{.Name}}');
  t.true(names.split('\n').includes('back'), names);
  await swarm.deploy('web', { replicas: 2, networks: ['back'] });
  const script = 'while sleep 1; do nslookup web.; nslookup tasks.web.; done';
  await swarm.deploy('asks', { networks: ['back'], more: ['--entrypoint', '/bin/sh'], args: ['-c', script] });
  await swarm.eventually((s) => s.running('web').count === 2 && s.running('asks').count === 1);
  await swarm.eventually(async () => {
    const logs = await swarm.docker('service', 'logs', '--raw', 'asks');
    return /Name:\s+web\b[\s\S]*Address/.test(logs) && /Name:\s+tasks\.web\b[\s\S]*Address/.test(logs);
  });
  t.pass();
});

test('stack deploy, ps, services and rm', async (t) => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-stack-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, 'compose.yaml');
  await writeFile(
    file,
    `version: "3.8"\nservices:\n  web:\n    image: ${IMAGE}\n    stop_grace_period: 1s\n    deploy: { replicas: 2 }\n    networks: [front]\nnetworks:\n  front: {}\n`,
  );
  await using swarm = await cluster().manager().agents(2).up();
  await swarm.docker('stack', 'deploy', '--resolve-image', 'never', '-c', file, 'shop');
  await swarm.eventually((s) => s.running('shop_web').count === 2);
  const stacks = await swarm.docker('stack', 'ls', '--format', '{{.Name}} {{.Services}}');
  t.is(stacks.trim(), 'shop 1');
  const tasks = await swarm.docker('stack', 'ps', 'shop', '--format', '{{.Name}} {{.CurrentState}}');
  t.regex(tasks, /^shop_web\.1 Running/m);
  const services = await swarm.docker('stack', 'services', 'shop', '--format', '{{.Name}} {{.Replicas}}');
  t.is(services.trim(), 'shop_web 2/2');
  await swarm.docker('stack', 'rm', 'shop');
  await swarm.eventually((s) => s.services.length === 0);
});
