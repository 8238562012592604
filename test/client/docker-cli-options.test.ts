/** What the options of service create do to the containers: seen from inside, or by a client of the service. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../harness/registry.ts';
import type { ContainerJson } from './docker.ts';
import { IMAGE, LOCAL, type Scene, suite, SWIFT } from './suite.ts';

const { test } = await suite((cluster) => cluster.agents(2));

const SHELL = ['--entrypoint', '/bin/sh', IMAGE, '-c'];

/** Well after a moment, and a while later not any more. */
const SICKLY = 'sleep 0.5; touch /tmp/well; sleep 4; rm /tmp/well; exec sleep 1000';

/** Creates a service that runs a shell script and waits until its log has a line `end`. Resolves with the log. */
async function saying(
  { docker, swarm }: Scene,
  name: string,
  options: readonly string[],
  script: string,
): Promise<string> {
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--name', name, ...options];
  await docker.ok(...create, ...SHELL, `${script}; echo end; exec sleep 1000`);
  let log = '';
  await swarm.eventually(async () => {
    log = await docker.ok('service', 'logs', '--raw', name);
    return /^end$/m.test(log);
  });
  return log;
}

test('environment, user, directory, hostname, labels', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `env-${tag}`;
  const options = [
    ...['--env', 'GREETING=hello world', '--env', 'EMPTY='],
    ...['--user', '7:8', '--workdir', '/tmp', '--hostname', 'box'],
    ...['--container-label', 'inner=1', '--label', 'outer=2'],
  ];
  const log = await saying(scene, name, options, 'env; id; echo in $(pwd) of $(hostname)');
  t.regex(log, /^GREETING=hello world$/m);
  t.regex(log, /^EMPTY=$/m);
  t.regex(log, /^uid=7\S* gid=8/m);
  t.regex(log, /^in \/tmp of box$/m);
  const [id = ''] = await docker.lines('ps', '-q', '--filter', `label=inner=1`, '--filter', `name=${name}`);
  const [container] = await docker.json<ContainerJson[]>('inspect', id);
  t.is(container?.Config.Labels['inner'], '1');
  t.is(container?.Config.Labels['com.docker.swarm.service.name'], name);
  await docker.ok('service', 'rm', name);
});

test('mounts: a volume that outlives its task, a bind, a tmpfs', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const name = `mounts-${tag}`;
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-bind-'));
  t.teardown(() => rm(directory, { recursive: true }));
  await writeFile(path.join(directory, 'given'), 'from the host\n');
  const options = [
    ...['--mount', `type=volume,source=data-${tag},target=/data`],
    ...['--mount', `type=bind,source=${directory},target=/host`],
    ...['--mount', `type=bind,source=${directory},target=/fixed,readonly`],
    ...['--mount', 'type=tmpfs,target=/fast,tmpfs-size=1m'],
    ...['--constraint', 'node.hostname==a1'],
  ];
  const script = [
    'echo run >>/data/runs; echo runs $(wc -l </data/runs)',
    'cat /host/given; echo written >/host/taken',
    'echo no >/fixed/file || echo is read-only',
    'grep " /fast " /proc/mounts',
  ].join('; ');
  const log = await saying(scene, name, options, script);
  t.regex(log, /^runs 1$/m);
  t.regex(log, /^from the host$/m);
  t.regex(log, /^is read-only$/m);
  t.regex(log, /^tmpfs \/fast tmpfs .*size=1024k/m);
  t.is(await readFile(path.join(directory, 'taken'), 'utf8'), 'written\n');

  await docker.ok('service', 'update', ...LOCAL, '--force', name);
  await swarm.eventually(async () => /^runs 2$/m.test(await docker.ok('service', 'logs', '--raw', name)));
  await docker.ok('service', 'rm', name);
});

test('a bind of a path that is not there is rejected and says so', async (t, { docker, swarm, tag }) => {
  const name = `nobind-${tag}`;
  const mount = ['--mount', 'type=bind,source=/no/such/path,target=/x'];
  await docker.ok(
    'service',
    'create',
    '-d',
    ...LOCAL,
    '--restart-delay',
    '1s',
    '--name',
    name,
    ...mount,
    IMAGE,
  );
  await swarm.eventually((s) => s.tasks(name).errors.some((error) => error.includes('/no/such/path')));
  t.regex(await docker.ok('service', 'ps', '--no-trunc', name), /\/no\/such\/path/);
  await docker.ok('service', 'rm', name);
});

test('limits hold', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const [hog, slow] = [`hog-${tag}`, `slow-${tag}`];
  const limits = ['--limit-memory', '24m', '--restart-condition', 'none'];
  // tail keeps its last line, and /dev/zero is one line without an end
  await docker.ok('service', 'create', '-d', ...LOCAL, '--name', hog, ...limits, ...SHELL, 'tail /dev/zero');
  await swarm.eventually((s) => s.tasks(hog).in('failed').count === 1);
  t.regex(await docker.ok('service', 'ps', '--no-trunc', hog), /Failed .*(137|memory)/i);

  await docker.ok(
    ...[
      'service',
      'create',
      ...LOCAL,
      ...SWIFT,
      '--name',
      slow,
      '--limit-cpu',
      '0.5',
      '--reserve-cpu',
      '0.25',
    ],
    ...['--limit-memory', '64m', '--reserve-memory', '32m', IMAGE],
  );
  const resources = await docker.json(
    'service',
    'inspect',
    '--format',
    '{{json .Spec.TaskTemplate.Resources}}',
    slow,
  );
  t.deepEqual(resources, {
    Limits: { NanoCPUs: 500_000_000, MemoryBytes: 64 * 1024 * 1024 },
    Reservations: { NanoCPUs: 250_000_000, MemoryBytes: 32 * 1024 * 1024 },
  });
  // more than any node has
  const huge = `huge-${tag}`;
  await docker.ok('service', 'create', '-d', ...LOCAL, '--name', huge, '--reserve-memory', '900g', IMAGE);
  await swarm.eventually((s) => s.tasks(huge).in('pending').count === 1);
  t.regex(await docker.ok('service', 'ps', '--no-trunc', huge), /Pending .*memory/i);
  await docker.ok('service', 'rm', hog, slow, huge);
});

test('restart conditions', async (t, { docker, swarm, tag }) => {
  const create = (name: string, condition: string, script: string) =>
    docker.ok(
      ...['service', 'create', '-d', ...LOCAL, '--restart-condition', condition, '--restart-delay', '100ms'],
      ...['--restart-max-attempts', '2', '--name', name, ...SHELL, script],
    );
  const [none, failure, done, any] = ['none', 'failure', 'done', 'any'].map((name) => `${name}-${tag}`) as [
    string,
    string,
    string,
    string,
  ];
  await create(none, 'none', 'exit 3');
  await create(failure, 'on-failure', 'exit 3');
  await create(done, 'on-failure', 'exit 0');
  await create(any, 'any', 'exit 0');
  await swarm.eventually(
    (s) => s.tasks(failure).in('failed').count === 3 && s.tasks(any).in('complete').count === 3,
  );
  await swarm.eventually(
    (s) => s.tasks(none).in('failed').count === 1 && s.tasks(done).in('complete').count === 1,
  );
  const state = await swarm.state();
  t.deepEqual(
    [none, failure, done, any].map((name) => state.tasks(name).count),
    [1, 3, 1, 3],
  );
  t.regex(await docker.ok('service', 'ps', '--no-trunc', none), /Failed .*non-zero exit \(3\)/);
  const replicas = ['service', 'ls', '--filter', `name=${none}`, '--format', '{{.Replicas}}'];
  t.is(await docker.ok(...replicas), '0/1');
  await docker.ok('service', 'rm', none, failure, done, any);
});

test('publish: every node answers; ports are added, removed, and not given twice', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const name = `web-${tag}`;
  const [first, second] = [await freePort(), await freePort()];
  /** Nodes that answer on the port. */
  const answers = async (port: number): Promise<number> => {
    const texts = swarm.nodes.map((node) =>
      fetch(`http://${node.address}:${port}/`, { signal: AbortSignal.timeout(5_000) }).then(
        (response) => response.text(),
        () => '',
      ),
    );
    return (await Promise.all(texts)).filter((text) => text.startsWith('Hello from container')).length;
  };
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--name', name];
  await docker.ok(...create, '--publish', `${first}:80`, IMAGE);
  await swarm.eventually(async () => (await answers(first)) === 2);
  t.is(
    await docker.ok('service', 'ls', '--filter', `name=${name}`, '--format', '{{.Ports}}'),
    `*:${first}->80/tcp`,
  );

  const taken = await docker.fails(
    ...['service', 'create', ...LOCAL, '--name', `other-${tag}`, '--publish', `${first}:80`, IMAGE],
  );
  t.regex(taken, new RegExp(`port '${first}' is already in use by service '${name}'`));

  const running = async () => (await swarm.state()).running(name).tasks.map((task) => task.ID);
  const before = await running();
  await docker.ok('service', 'update', ...LOCAL, '--publish-add', `${second}:80`, name);
  await swarm.eventually(async () => (await answers(first)) + (await answers(second)) === 4);
  t.deepEqual(await running(), before, 'a port on the mesh needs no new container');
  // the client removes by the port inside, so both go
  await docker.ok('service', 'update', ...LOCAL, '--publish-rm', '80', name);
  await swarm.eventually(async () => (await answers(first)) + (await answers(second)) === 0);
  await docker.ok('service', 'update', ...LOCAL, '--publish-add', `${second}:80`, name);
  await swarm.eventually(async () => (await answers(second)) === 2);
  t.is(await answers(first), 0);

  // the manager chooses a port
  const chosen = `chosen-${tag}`;
  await docker.ok('service', 'create', ...LOCAL, ...SWIFT, '--name', chosen, '--publish', '80', IMAGE);
  const [port] = await docker.json<{ PublishedPort: number }[]>(
    'service',
    'inspect',
    '--format',
    '{{json .Endpoint.Ports}}',
    chosen,
  );
  t.true((port?.PublishedPort ?? 0) >= 30_000);
  await swarm.eventually(async () => (await answers(port?.PublishedPort ?? 0)) === 2);
  await docker.ok('service', 'rm', name, chosen);
});

test('ports of mode host are on the nodes of the tasks, and shown', async (t, { docker, swarm, tag }) => {
  const name = `host-${tag}`;
  const port = await freePort();
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--name', name];
  const publish = (more: string) => ['--publish', `mode=host,target=80${more}`];
  await docker.ok(...create, ...publish(''), '--replicas', '2', IMAGE);
  const listedPorts = () => docker.ok('service', 'ps', '--format', '{{.Node}} {{.Ports}}', name);
  await swarm.eventually(async () =>
    /^a\d \*:\d{5}->80\/tcp\na\d \*:\d{5}->80\/tcp$/.test(await listedPorts()),
  );
  for (const [, node = '', chosen = ''] of (await listedPorts()).matchAll(/^(a\d) \*:(\d+)/gm)) {
    const url = `http://${swarm.node(node).address}:${chosen}/`;
    await swarm.eventually(async () => (await (await fetch(url)).text()).startsWith('Hello'));
  }
  await docker.ok('service', 'rm', name);
  await docker.ok(...create, ...publish(`,published=${port}`), '--constraint', 'node.hostname==a2', IMAGE);
  const fetched = (address: string) =>
    fetch(`http://${address}:${port}/`, { signal: AbortSignal.timeout(5_000) }).then((r) => r.text());
  await swarm.eventually(async () => (await fetched(swarm.node('a2').address)).startsWith('Hello'));
  await t.throwsAsync(fetched(swarm.node('a1').address));
  t.is(await docker.ok('service', 'ps', '--format', '{{.Ports}}', name), `*:${port}->80/tcp`);
  const listed = await docker.ok('ps', '--filter', `name=${name}`, '--format', '{{.Ports}}');
  t.is(listed, `0.0.0.0:${port}->80/tcp`);
  await docker.ok('service', 'rm', name);
});

test('inspect shows what a container was made of; what has no effect yet is warned of', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const [name, network] = [`shown-${tag}`, `net-${tag}`];
  await docker.ok('network', 'create', '-d', 'overlay', network);
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--name', name, '--tty', '--init', '--network'];
  const limits = ['--limit-memory', '64m', '--limit-cpu', '0.5', '--mount', 'type=tmpfs,target=/fast'];
  const log = ['--log-driver', 'json-file', '--log-opt', 'tag=x'];
  const output = await docker.run([
    ...create,
    network,
    ...limits,
    ...log,
    ...SHELL,
    'echo said; exec sleep 1000',
  ]);
  t.is(output.code, 0, output.stderr);
  t.deepEqual(
    output.stderr.match(/[\w.]+: .*without an effect/g)?.map((line) => line.split(':')[0]),
    ['TaskTemplate.LogDriver'],
  );
  const [id = ''] = await docker.lines('ps', '-q', '--filter', `name=${name}`);
  // raw on both sides
  await swarm.eventually(async () => (await docker.ok('logs', id)) === 'said');
  t.is(await docker.ok('service', 'logs', '--raw', name), 'said');
  const [container] = await docker.json<ContainerJson[]>('inspect', id);
  t.like(container, {
    Config: { Tty: true, Entrypoint: ['/bin/sh'], Cmd: ['-c', 'echo said; exec sleep 1000'] },
    HostConfig: { Memory: 64 * 1024 * 1024, NanoCpus: 500_000_000 },
    Mounts: [{ Type: 'tmpfs', Destination: '/fast', RW: true }],
  });
  t.deepEqual(Object.keys(container?.NetworkSettings.Networks ?? {}), [network]);
  await docker.ok('service', 'rm', name);
  await docker.ok('network', 'rm', network);
});

test('a health check decides: created in the foreground until healthy, replaced when sick', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const name = `health-${tag}`;
  const check = ['--health-cmd', 'test -e /tmp/well', '--health-interval', '300ms', '--health-retries', '10'];
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--restart-delay', '100ms', '--name', name];
  await docker.ok(...create, ...check, ...SHELL, SICKLY);
  const status = () => docker.ok('ps', '--filter', `name=${name}`, '--format', '{{.Status}}');
  t.regex(await status(), /^Up .* \(healthy\)/m);
  await swarm.eventually((s) => s.tasks(name).in('failed').count > 0);
  t.regex(await docker.ok('service', 'ps', '--no-trunc', name), /Failed .*unhealthy/i);
  await swarm.eventually(async () => (await status()).includes('(healthy)'));
  await docker.ok('service', 'rm', name);
});

test('a single container is connected to networks and taken from them while it runs', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const [front, back, web, fixed] = [`front-${tag}`, `back-${tag}`, `web-${tag}`, `fixed-${tag}`];
  const overlay = ['network', 'create', '--driver', 'overlay', '--attachable'];
  await docker.ok(...overlay, front);
  await docker.ok(...overlay, '--subnet', '10.77.3.0/24', back);
  const on = (node: string) => ['--label', `com.docker.swarm.constraints=["node.hostname==${node}"]`];
  const run = async (name: string, node: string, ...more: string[]) =>
    docker.ok(
      'run',
      '-d',
      '--pull',
      'never',
      '--name',
      name,
      ...on(node),
      ...more,
      '--entrypoint',
      '/bin/sleep',
      IMAGE,
      '1000',
    );
  await run(web, 'a1', '--network', front);
  await run(fixed, 'a2', '--network', back, '--ip', '10.77.3.99');
  const inside = (name: string, ...command: string[]) => docker.run(['exec', name, ...command]);
  const reaches = async (name: string): Promise<boolean> =>
    (await inside(web, 'ping', '-c', '1', '-W', '1', name)).code === 0;
  const links = async (): Promise<string[]> =>
    (await inside(web, 'ls', '/sys/class/net')).stdout.trim().split('\n');
  t.false(await reaches(fixed));

  await docker.ok('network', 'connect', '--alias', 'www', back, web);
  t.deepEqual(await links(), ['eth0', 'eth1', 'lo']);
  await swarm.eventually(() => reaches(fixed));
  t.regex((await inside(web, 'ping', '-c', '1', fixed)).stdout, /10\.77\.3\.99/);
  await swarm.eventually(async () => (await inside(fixed, 'ping', '-c', '1', '-W', '1', 'www')).code === 0);

  // the network that its name server was on
  await docker.ok('network', 'disconnect', front, web);
  t.deepEqual(await links(), ['eth1', 'lo']);
  t.true(await reaches(fixed), 'names are answered on what is left');
  await docker.ok('network', 'rm', front);

  // connected while the agent is away: taken up by the next one
  await docker.ok(...overlay, front);
  const node = swarm.node('a1');
  await node.kill();
  await swarm.eventually(async () => (await docker.run(['network', 'connect', front, web])).code === 0);
  await node.restart();
  await swarm.eventually(async () => (await links()).join(' ') === 'eth0 eth1 lo');
  t.true(await reaches(fixed), 'what was there is undisturbed');

  await docker.ok('restart', '-t', '0', web, fixed);
  await swarm.eventually(() => reaches(fixed));
  await docker.ok('network', 'disconnect', back, web);
  await docker.ok('network', 'disconnect', front, web);
  t.deepEqual(await links(), ['lo']);
  t.regex(await docker.fails('network', 'disconnect', front, web), /is not connected to network/);
  await docker.ok('rm', '-f', web, fixed);
  await docker.ok('network', 'rm', front, back);
});

test('a network of the driver bridge: each node has its own, with names, a way out and published ports', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const [net, apart, one, two, far, lone] = ['net', 'apart', 'one', 'two', 'far', 'lone'].map(
    (s) => `${s}-${tag}`,
  );
  // what the client makes when it is not told of a driver
  await docker.ok('network', 'create', net ?? '');
  await docker.ok(
    'network',
    'create',
    '-d',
    'bridge',
    '-o',
    'com.docker.network.bridge.enable_icc=false',
    apart ?? '',
  );
  t.is(await docker.ok('network', 'inspect', '-f', '{{.Driver}} {{.Scope}}', net ?? ''), 'bridge local');
  const port = String(await freePort());
  const run = (name = '', node = '', ...more: string[]) =>
    docker.ok(
      ...['run', '-d', '--pull', 'never', '--name', name, ...more],
      ...['--label', `com.docker.swarm.constraints=["node.hostname==${node}"]`, IMAGE],
    );
  await run(one, 'a1', '--network', net ?? '', '--network-alias', 'www', '-p', `${port}:80`);
  await run(two, 'a1', '--network', net ?? '');
  await run(far, 'a2', '--network', net ?? '');
  await run(lone, 'a1', '--network', apart ?? '');
  await docker.ok('network', 'connect', apart ?? '', two ?? '');
  const pings = async (from = '', to = ''): Promise<boolean> =>
    (await docker.run(['exec', from, 'ping', '-c', '1', '-W', '1', to])).code === 0;
  const address = (name = '', network = '') =>
    docker.ok('inspect', '-f', `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, name);
  await swarm.eventually(() => pings(two, one));
  t.true(await pings(two, 'www'));
  t.true(await pings(one, await address(two, net)));
  t.false(await pings(one, await address(far, net)), 'it is on another node');
  t.false(await pings(two, await address(lone, apart)), 'they are kept apart');
  t.true(await pings(one, swarm.node('a2').address), 'a way out');
  for (const node of ['a1', 'a2']) {
    const url = `http://${swarm.node(node).address}:${port}/`;
    await swarm.eventually(async () => (await swarm.node('a2').curl(url)).length > 0);
  }
  await docker.ok('rm', '-f', ...[one, two, far, lone].map(String));
  await docker.ok('network', 'rm', net ?? '', apart ?? '');
});
