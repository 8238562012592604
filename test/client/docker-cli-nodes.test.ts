/** version, info, node, and what is asked for by a name that nothing has. */
import { IMAGE, LOCAL, suite, SWIFT } from './suite.ts';

interface VersionJson {
  readonly Client: { readonly Version: string };
  readonly Server: { readonly Os: string };
}

interface InfoJson {
  readonly Swarm: {
    readonly LocalNodeState: string;
    readonly ControlAvailable: boolean;
    readonly Nodes: number;
    readonly Managers: number;
  };
  readonly ServerErrors?: readonly string[];
  readonly Warnings?: readonly string[];
}

interface NodeJson {
  readonly ID: string;
  readonly Spec: { readonly Role: string };
  readonly ManagerStatus?: object;
}

const { test } = await suite((cluster) => cluster.agents(3).onMachine());

test('version and info', async (t, { docker }) => {
  const { Client, Server } = await docker.json<VersionJson>('version', '--format', '{{json .}}');
  t.true(Client.Version.startsWith(docker.version));
  t.is(Server.Os, 'linux');
  t.regex(await docker.ok('version'), /Server: Shoal/);
  const { Swarm, ServerErrors, Warnings } = await docker.json<InfoJson>('info', '--format', '{{json .}}');
  t.deepEqual([ServerErrors ?? [], Warnings ?? []], [[], []]);
  t.is(Swarm.LocalNodeState, 'active');
  t.true(Swarm.ControlAvailable);
  t.deepEqual([Swarm.Nodes, Swarm.Managers], [3, 1]);
  const info = await docker.run(['info']);
  t.regex(info.stdout, /Swarm: active[\s\S]*Is Manager: true[\s\S]*Nodes: 3/);
  t.notRegex(info.stderr, /WARNING|ERROR/);
});

test('node ls names the leader, filters, and node inspect shows one', async (t, { docker, swarm }) => {
  const all = await docker.ok('node', 'ls');
  t.regex(all, /^\w{25} \* +a1 +Ready +Active +Leader +\S+$/m);
  for (const name of ['a2', 'a3']) t.regex(all, new RegExp(`^\\w{25} +${name} +Ready +Active +\\S+$`, 'm'));
  const names = (...filter: string[]) => docker.lines('node', 'ls', '--format', '{{.Hostname}}', ...filter);
  t.deepEqual(await names('--filter', 'role=manager'), ['a1']);
  t.deepEqual((await names('--filter', 'role=worker')).toSorted(), ['a2', 'a3']);
  t.deepEqual(await names('--filter', 'name=a3'), ['a3']);

  const [self] = await docker.json<NodeJson[]>('node', 'inspect', 'self');
  t.is(self?.Spec.Role, 'manager');
  t.deepEqual(self?.ManagerStatus, {
    Leader: true,
    Reachability: 'reachable',
    Addr: `${swarm.machineAddress}:${swarm.layout.managerPort}`,
  });
  const id = self?.ID ?? '';
  t.is(await docker.ok('node', 'inspect', '--format', '{{.ID}}', id.slice(0, 6)), id);
  const pretty = await docker.ok('node', 'inspect', '--pretty', 'a2');
  t.regex(pretty, /Hostname:\s+a2\s/);
  t.regex(pretty, /State:\s+Ready[\s\S]*Availability:\s+Active[\s\S]*Operating System:\s+linux/);
  t.notRegex(pretty, /Manager Status/);
});

test('drain moves the tasks away; active lets them come', async (t, { docker, swarm, tag }) => {
  const name = `move-${tag}`;
  await docker.ok('service', 'create', ...LOCAL, ...SWIFT, '--name', name, '--replicas', '6', IMAGE);
  const running = (node: string) =>
    docker.lines('node', 'ps', '--filter', 'desired-state=running', '--format', '{{.Name}}', node);
  t.is((await running('a2')).filter((task) => task.startsWith(name)).length, 2);

  t.is(await docker.ok('node', 'update', '--availability', 'drain', 'a2'), 'a2');
  t.is(await docker.ok('node', 'ls', '--filter', 'name=a2', '--format', '{{.Availability}}'), 'Drain');
  await swarm.eventually(
    (s) => s.running(name).notOn('a2').count === 6 && s.running(name).on('a2').count === 0,
  );
  t.deepEqual(await running('a2'), []);

  await docker.ok('node', 'update', '--availability', 'pause', 'a2');
  await docker.ok('service', 'scale', `${name}=8`);
  t.is((await swarm.state()).running(name).on('a2').count, 0);
  await docker.ok('node', 'update', '--availability', 'active', 'a2');
  await docker.ok('service', 'scale', `${name}=12`);
  t.is((await swarm.state()).running(name).on('a2').count, 4);
  await docker.ok('service', 'rm', name);
});

test('labels and roles steer where tasks run', async (t, { docker, swarm, tag }) => {
  const labels = () => docker.json('node', 'inspect', '--format', '{{json .Spec.Labels}}', 'a3');
  await docker.ok('node', 'update', '--label-add', 'disk=ssd', '--label-add', `zone=${tag}`, 'a3');
  t.deepEqual(await labels(), { disk: 'ssd', zone: tag });
  t.deepEqual(
    await docker.lines('node', 'ls', '--filter', 'node.label=disk=ssd', '--format', '{{.Hostname}}'),
    ['a3'],
  );
  const create = (name: string, constraint: string, ...more: string[]) =>
    docker.ok(
      ...['service', 'create', ...LOCAL, ...SWIFT, '--name', name, '--constraint', constraint],
      ...[...more, IMAGE],
    );
  const [ssd, chief, workers] = [`ssd-${tag}`, `chief-${tag}`, `workers-${tag}`];
  await create(ssd, 'node.labels.disk==ssd', '--replicas', '2');
  await create(chief, 'node.role==manager', '--replicas', '2');
  await create(workers, 'node.role!=manager', '--mode', 'global');
  const state = await swarm.state();
  t.deepEqual(state.running(ssd).nodes, ['a3']);
  t.deepEqual(state.running(chief).nodes, ['a1']);
  t.deepEqual(state.running(workers).nodes, ['a2', 'a3']);

  await docker.ok('node', 'update', '--label-rm', 'disk', '--label-rm', 'zone', 'a3');
  t.deepEqual(await labels(), {});
  // no node fits any more
  await swarm.eventually((s) => s.running(ssd).count === 0);
  const pending = () =>
    docker.ok('service', 'ps', '--no-trunc', '--format', '{{.CurrentState}} | {{.Error}}', ssd);
  await swarm.eventually(async () => /^Pending .* \| .*node\.labels\.disk/m.test(await pending()));
  await docker.ok('service', 'rm', ssd, chief, workers);
});

test('what nothing has that name is said so, whatever the kind', async (t, { docker }) => {
  // 20.10 has words of its own for what is not found
  const NO_NODE = /node nosuch not found|No such node: nosuch/;
  t.regex(await docker.fails('inspect', 'nosuch'), /^Error: No such object: nosuch$/m);
  t.regex(await docker.fails('node', 'inspect', 'nosuch'), NO_NODE);
  t.regex(await docker.fails('node', 'update', '--availability', 'drain', 'nosuch'), NO_NODE);
  t.regex(await docker.fails('node', 'ps', 'nosuch'), /nosuch/);
  t.regex(await docker.fails('service', 'inspect', 'nosuch'), /no such service: nosuch/i);
  t.regex(await docker.fails('service', 'ps', 'nosuch'), /no such service: nosuch/i);
  t.regex(await docker.fails('service', 'logs', 'nosuch'), /no such task or service: nosuch/);
  t.regex(
    await docker.fails('service', 'scale', 'nosuch=1'),
    /service nosuch not found|no such service: nosuch/i,
  );
  t.regex(
    await docker.fails('service', 'update', 'nosuch'),
    /service nosuch not found|no such service: nosuch/i,
  );
  t.regex(await docker.fails('service', 'rm', 'nosuch'), /service nosuch not found|no such service: nosuch/i);
  t.regex(
    await docker.fails('network', 'inspect', 'nosuch'),
    /network nosuch not found|no such network: nosuch/i,
  );
  t.regex(await docker.fails('network', 'rm', 'nosuch'), /network nosuch not found|no such network: nosuch/i);
  t.regex(await docker.fails('container', 'inspect', 'nosuch'), /No such container: nosuch/);
  t.regex(await docker.fails('logs', 'nosuch'), /No such container: nosuch/);
  t.regex(await docker.fails('stack', 'ps', 'nosuch'), /nothing found in stack: nosuch/i);
});

test('a node that is up, or that is a manager, is not removed', async (t, { docker }) => {
  t.regex(await docker.fails('node', 'rm', 'a2'), /is not down/);
  t.regex(await docker.fails('node', 'rm', '--force', 'a1'), /is a cluster manager/);
  t.regex(await docker.fails('node', 'promote', 'a2'), /not supported by Shoal/);
  t.is((await docker.lines('node', 'ls', '-q')).length, 3);
});

test('what Shoal does not have says so at once', async (t, { docker, tag }) => {
  const name = `lone-${tag}`;
  await docker.ok('service', 'create', ...LOCAL, ...SWIFT, '--name', name, IMAGE);
  const [id = ''] = await docker.lines('ps', '-q', '--filter', `name=${name}`);
  const refused: readonly (readonly string[])[] = [
    ['commit', id],
    ['search', 'busybox'],
    ['network', 'create', '-d', 'ipvlan', 'b'],
    ['network', 'connect', 'ingress', id],
  ];
  for (const command of refused) {
    const said = await docker.fails(...command);
    t.regex(said, /not supported/, `docker ${command.join(' ')}: ${said}`);
  }
  t.regex(await docker.fails('swarm', 'init'), /already part of a swarm/);
  t.regex(await docker.fails('swarm', 'leave', '--force'), /this is the only manager/);
  for (const kind of ['secret', 'config', 'volume', 'plugin'])
    t.deepEqual(await docker.lines(kind, 'ls', '-q'), []);
  await docker.ok('service', 'rm', name);
});
