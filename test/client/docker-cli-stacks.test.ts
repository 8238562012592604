/** network, and stack deploy as the client itself does it: it reads the file and calls networks and services. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../harness/registry.ts';
import type { NetworkJson } from './docker.ts';
import { IMAGE, LOCAL, suite, SWIFT } from './suite.ts';

const { test } = await suite((cluster) => cluster.agents(3));

test('network create, ls, inspect, rm; one in use stays', async (t, { docker, swarm, tag }) => {
  const name = `net-${tag}`;
  const create = ['network', 'create', '-d', 'overlay', '--label', 'kind=test'];
  const id = await docker.ok(...create, '--subnet', '10.77.0.0/24', '--gateway', '10.77.0.1', name);
  t.regex(id, /^\w{25}$/);
  const list = (...filter: string[]) =>
    docker.lines('network', 'ls', '--format', '{{.Name}} {{.Driver}} {{.Scope}}', ...filter);
  t.true((await list()).includes('ingress overlay swarm'));
  t.deepEqual(await list('--filter', `name=${name}`, '--filter', 'label=kind=test'), [
    `${name} overlay swarm`,
  ]);
  const [network] = await docker.json<NetworkJson[]>('network', 'inspect', name);
  t.is(network?.Id, id);
  t.deepEqual(network?.IPAM.Config, [{ Subnet: '10.77.0.0/24', Gateway: '10.77.0.1' }]);
  t.deepEqual(network?.Labels, { kind: 'test' });
  t.regex(await docker.fails(...create, name), new RegExp(`network with name ${name} already exists`));
  t.regex(await docker.fails(...create, '--subnet', '10.77.0.0/16', `other-${tag}`), /overlap|Pool/i);

  const service = `user-${tag}`;
  await docker.ok('service', 'create', ...LOCAL, ...SWIFT, '--name', service, '--network', name, IMAGE);
  t.regex(
    await docker.fails('network', 'rm', name),
    new RegExp(`network ${name} is in use by service ${service}`),
  );
  const [verbose] = await docker.json<NetworkJson[]>('network', 'inspect', '--verbose', name);
  t.regex(verbose?.Services?.[service]?.VIP ?? '', /^10\.77\.0\.\d+$/);
  t.is(verbose?.Services?.[service]?.Tasks.length, 1);
  await docker.ok('service', 'rm', service);
  t.is(await docker.ok('network', 'rm', name), name);
  t.deepEqual(await list('--filter', `name=${name}`), []);
  t.is((await swarm.state()).tasks(service).count, 0);
});

test('services find one another by name and by alias', async (t, { docker, swarm, tag }) => {
  const [network, web, asks] = [`names-${tag}`, `web-${tag}`, `asks-${tag}`];
  await docker.ok('network', 'create', '-d', 'overlay', network);
  const create = ['service', 'create', ...LOCAL, ...SWIFT, '--network'];
  await docker.ok(...create, `name=${network},alias=www`, '--name', web, '--replicas', '3', IMAGE);
  const script = `while sleep 0.3; do
    for name in ${web} www tasks.${web}; do wget -q -O - http://$name/ | sed "s/^/$name: /"; done
    nslookup tasks.${web}. | sed 's/^/looked: /'; echo round
  done`;
  await docker.ok(...create, network, '--name', asks, '--entrypoint', '/bin/sh', IMAGE, '-c', script);
  let log = '';
  await swarm.eventually(async () => {
    log = await docker.ok('service', 'logs', '--raw', '--tail', '200', asks);
    return [web, 'www', `tasks.${web}`].every((name) => log.includes(`${name}: Hello from container`));
  });
  const [shown] = await docker.json<NetworkJson[]>('network', 'inspect', '--verbose', network);
  const tasks = shown?.Services?.[web]?.Tasks.map((task) => task.EndpointIP) ?? [];
  t.is(new Set(tasks).size, 3);
  for (const address of tasks) t.true(log.includes(address), `${address} in ${log}`);
  await docker.ok('service', 'rm', web, asks);
  await docker.ok('network', 'rm', network);
});

const stackFile = (port: number, replicas: number, more = ''): string => `
version: "3.8"
services:
  web:
    image: ${IMAGE}
    stop_grace_period: 1s
    ports: ["${port}:80"]
    networks: { front: { aliases: [www] } }
    environment: { MODE: test }
    deploy: { replicas: ${replicas}, labels: { tier: front } }
  back:
    image: ${IMAGE}
    entrypoint: ["/bin/sh", "-c", "ls -d /data; exec sleep 1000"]
    stop_grace_period: 1s
    networks: [front]
    volumes: ["data:/data"]
    deploy: { mode: global }
${more}
networks: { front: {} }
volumes: { data: {} }
`;

test('stack deploy, again, changed; ls, ps, services; rm, and at once again', async (t, {
  docker,
  swarm,
  tag,
}) => {
  const stack = `shop-${tag}`;
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-stack-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, 'compose.yaml');
  const port = await freePort();
  const deploy = async (text: string, ...more: string[]) => {
    await writeFile(file, text);
    const flags = ['--resolve-image', 'never', ...more];
    return docker.ok('stack', 'deploy', ...flags, '-c', file, stack);
  };
  const [web, back] = [`${stack}_web`, `${stack}_back`];
  const runs = (count: number) =>
    swarm.eventually((s) => s.running(web).count === count && s.running(back).count === 3);
  const running = async () => {
    const state = await swarm.state();
    return [...state.running(web).tasks, ...state.running(back).tasks].map((task) => task.ID).toSorted();
  };

  const first = await deploy(stackFile(port, 2));
  t.regex(first, new RegExp(`Creating network ${stack}_front[\\s\\S]*Creating service ${stack}_`));
  await runs(2);
  t.deepEqual(await docker.lines('stack', 'ls', '--format', '{{.Name}} {{.Services}}'), [`${stack} 2`]);
  const services = await docker.lines(
    'stack',
    'services',
    '--format',
    '{{.Name}} {{.Mode}} {{.Replicas}}',
    stack,
  );
  t.deepEqual(services.toSorted(), [`${back} global 3/3`, `${web} replicated 2/2`]);
  const tasks = await docker.lines('stack', 'ps', '--format', '{{.Name}} {{.CurrentState}}', stack);
  t.is(tasks.length, 5);
  t.true(
    tasks.every((line) => / Running /.test(line)),
    tasks.join('\n'),
  );
  t.is((await docker.lines('stack', 'ps', '-q', '--filter', `name=${web}.1`, stack)).length, 1);
  const logs = await docker.ok('service', 'logs', '--raw', back);
  t.regex(logs, /^\/data$/m);

  const before = await running();
  t.regex(await deploy(stackFile(port, 2)), /Updating service/);
  await deploy(stackFile(port, 3));
  await runs(3);
  const after = await running();
  t.deepEqual(
    before.filter((id) => !after.includes(id)),
    [],
    'the same file, or more replicas, replaces no task',
  );

  const extra = `  extra: { image: "${IMAGE}", stop_grace_period: 1s }`;
  await deploy(stackFile(port, 1, extra));
  await swarm.eventually((s) => s.running(web).count === 1 && s.running(`${stack}_extra`).count === 1);
  t.regex(await deploy(stackFile(port, 1), '--prune'), new RegExp(`Removing service ${stack}_extra`));
  await runs(1);

  t.regex(await docker.ok('stack', 'rm', stack), new RegExp(`Removing service ${web}`));
  await deploy(stackFile(port, 2));
  await runs(2);
  await swarm.eventually(async () => {
    const [node] = swarm.nodes;
    const answer = await fetch(`http://${node?.address}:${port}/`, { signal: AbortSignal.timeout(5_000) });
    return (await answer.text()).startsWith('Hello');
  });
  await docker.ok('stack', 'rm', stack);
  t.deepEqual(await docker.lines('stack', 'ls', '-q').catch(() => []), []);
  t.regex(await docker.fails('stack', 'ps', stack), /nothing found in stack/i);
  t.deepEqual(await docker.lines('network', 'ls', '-q', '--filter', `name=${stack}`), []);
});

const slowStop = `
version: "3.8"
services:
  web:
    image: ${IMAGE}
    entrypoint: ["/bin/sh", "-c", "trap 'sleep 2; exit 0' TERM; cat /run/secrets/key /conf; while :; do sleep 0.1; done"]
    stop_grace_period: 20s
    secrets: [key]
    configs: [{source: conf, target: /conf}]
    networks: [front]
    deploy: {replicas: 2}
networks: {front: {ipam: {config: [{subnet: 10.78.0.0/24}]}}}
secrets: {key: {file: ./key.txt}}
configs: {conf: {file: ./conf.txt}}
`;

test('a stack whose tasks are slow to stop: removed and at once deployed again, by either client', async (t, {
  docker,
  swarm,
  tag,
}) => {
  const stack = `slow-${tag}`;
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-stack-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, 'compose.yaml');
  const subnet = 200 + (Number(tag.slice(1)) % 50);
  await writeFile(file, slowStop.replace('10.78', `10.${subnet}`));
  await writeFile(path.join(directory, 'key.txt'), 'key\n');
  await writeFile(path.join(directory, 'conf.txt'), 'conf\n');
  const web = `${stack}_web`;
  const runs = () => swarm.eventually((s) => s.running(web).count === 2, { within: 60_000 });
  await docker.ok('stack', 'deploy', '--resolve-image', 'never', '-c', file, stack);
  await runs();
  await docker.ok('stack', 'rm', stack);
  // `docker stack rm` ends before the tasks have; what it asked for goes on.
  await docker.ok('stack', 'deploy', '--resolve-image', 'never', '-c', file, stack);
  await runs();
  const signal = AbortSignal.timeout(120_000);
  await swarm.client.call('DELETE', `/stacks/${stack}`, undefined, signal);
  for (const kind of ['network', 'secret', 'config', 'service']) {
    t.deepEqual(await docker.lines(kind, 'ls', '-q', '--filter', `name=${stack}`), [], kind);
  }
  t.is((await swarm.state()).tasks(web).count, 0);
  await docker.ok('stack', 'deploy', '--resolve-image', 'never', '-c', file, stack);
  await runs();
  await docker.ok('stack', 'rm', stack);
});

test('a service that is scaled by use: what was set stays when the file is deployed again', async (t, {
  docker,
  swarm,
  tag,
}) => {
  const [stack, web] = [`scaled-${tag}`, `scaled-${tag}_web`];
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-stack-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, 'compose.yaml');
  const deploy = async (replicas: number) => {
    const labels = "{ shoal.autoscale.max: '5', shoal.autoscale.cpu: '70' }";
    const more = `replicas: ${replicas}, labels: ${labels}, update_config: { monitor: 300ms }`;
    const service = `{ image: "${IMAGE}", stop_grace_period: 1s, deploy: { ${more} } }`;
    await writeFile(file, `version: "3.8"\nservices:\n  web: ${service}\n`);
    return docker.ok('stack', 'deploy', '--resolve-image', 'never', '-c', file, stack);
  };
  const shown = (replicas: number) =>
    swarm.eventually(async (s) => {
      const [line] = await docker.lines(
        'service',
        'ls',
        '--format',
        '{{.Replicas}}',
        '--filter',
        `name=${web}`,
      );
      return line === `${replicas}/${replicas}` && s.tasks(web).count === replicas;
    });
  await deploy(2);
  await shown(2);
  await docker.ok('service', 'scale', `${web}=4`);
  await deploy(2);
  await docker.ok('service', 'update', '-d', '--label-add', 'a=b', web);
  await shown(4);
  t.regex(await docker.fails('service', 'scale', `${web}=6`), /replicas: 6 is not allowed: .* say 1 to 5/);
  await docker.ok('service', 'scale', `${web}=2`);
  await shown(2);
  await deploy(3);
  await shown(3);
  await docker.ok('stack', 'rm', stack);
});
