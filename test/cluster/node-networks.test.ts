/** Services on the node's own network, and on none at all. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import anyTest, { type TestFn } from 'ava';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { QUICK } from '../harness/settled.ts';

const test = anyTest as TestFn<{ swarm: TestCluster }>;

test.before(async (t) => {
  t.context.swarm = await cluster().manager().agents(2).nodeDownAfter(60_000).up();
});

test.after.always(async (t) => {
  await t.context.swarm?.[Symbol.asyncDispose]();
});

const SLEEP = ['--entrypoint', '/bin/sleep'];

/** What a command prints in the service's only container. */
async function inside(swarm: TestCluster, service: string, ...command: string[]): Promise<string> {
  const id = (await swarm.docker('ps', '-q', '--filter', `name=${service}.`)).trim();
  return swarm.docker('exec', id, ...command);
}

test.serial('network host: the node’s interfaces, names, servers and ports', async (t) => {
  const { swarm } = t.context;
  const node = swarm.node('a2');
  const more = [...QUICK, '--network', 'host', '--constraint', 'node.hostname==a2'];
  const port = ['--publish', 'mode=host,target=80,published=80'];
  await swarm.deploy('own', { more: [...more, ...port] });
  await swarm.eventually((s) => s.running('own').on('a2').count === 1);
  t.regex(
    await inside(swarm, 'own', 'ip', 'addr'),
    new RegExp(`inet ${node.address.replaceAll('.', '\\.')}/`),
  );
  t.is((await inside(swarm, 'own', 'hostname')).trim(), 'a2');
  t.is(await inside(swarm, 'own', 'cat', '/etc/resolv.conf'), await node.run('cat', '/etc/resolv.conf'));
  t.is(await inside(swarm, 'own', 'cat', '/etc/hosts'), await node.run('cat', '/etc/hosts'));
  // its server listens on the node's own address, without any mesh
  const page = await node.curl(`http://${node.address}:80/`);
  t.true(page.length > 0);
  await t.throwsAsync(swarm.node('a1').curl(`http://${swarm.node('a1').address}:80/`));
  t.regex(await swarm.node('a1').curl(`http://${node.address}:80/`), /./);

  const tasks = await swarm.api('GET', `/tasks?filters=${encodeURIComponent('{"service":["own"]}')}`);
  const [task] = tasks.body as { NetworksAttachments: object[] }[];
  t.deepEqual(task?.NetworksAttachments, []);
  const id = (await swarm.docker('ps', '-q', '--filter', 'name=own.')).trim();
  t.is((await swarm.docker('inspect', '--format', '{{.HostConfig.NetworkMode}}', id)).trim(), 'host');

  // the port is kept for it: a second one has no place there
  await swarm.deploy('rival', { more: [...more, ...port] });
  await swarm.eventually((s) =>
    s.tasks('rival').errors.some((text) => /host port 80\/tcp already in use/.test(text)),
  );
  await swarm.docker('service', 'rm', 'rival');

  // killing the agent does not hurt it, and the next one takes it up
  await node.restart();
  await swarm.eventually(async () => (await swarm.docker('ps', '-q', '--filter', 'name=own.')).trim() === id);
  await swarm.docker('service', 'rm', 'own');
  await swarm.eventually((s) => s.tasks('own').count === 0);
  t.regex(await node.run('ip', 'addr'), new RegExp(`inet ${node.address.replaceAll('.', '\\.')}/`));
});

test.serial('network none: nothing but the loopback', async (t) => {
  const { swarm } = t.context;
  const spec = {
    Name: 'alone',
    TaskTemplate: {
      ContainerSpec: {
        Image: 'shoal/example:latest',
        Command: ['/bin/sleep'],
        Args: ['1000'],
        StopGracePeriod: 1e9,
      },
      Networks: [{ Target: 'none' }],
    },
  };
  t.is((await swarm.api('POST', '/services/create', spec)).status, 201);
  await swarm.eventually((s) => s.running('alone').count === 1);
  const links = await inside(swarm, 'alone', 'ip', '-o', 'link');
  t.deepEqual(
    links
      .trim()
      .split('\n')
      .map((line) => line.split(':')[1]?.trim()),
    ['lo'],
  );
  t.regex(links, /LOOPBACK,UP/);
  await swarm.docker('service', 'rm', 'alone');
});

test.serial('a service moves between a network of the cluster and the node’s own', async (t) => {
  const { swarm } = t.context;
  await swarm.docker('network', 'create', '-d', 'overlay', 'front');
  await swarm.deploy('mover', { networks: ['front'], args: ['1000'], more: [...QUICK, ...SLEEP] });
  await swarm.eventually((s) => s.running('mover').count === 1);
  const update = (...change: string[]) =>
    swarm.docker('service', 'update', '--detach', '--no-resolve-image', ...change, 'mover');
  const networks = async () =>
    (await swarm.docker('inspect', '--format', '{{json .Spec.TaskTemplate.Networks}}', 'mover')).trim();
  await update('--network-rm', 'front', '--network-add', 'host');
  t.regex(await networks(), /^\[\{"Target":"host0+"\}\]$/);
  const addresses = async () => (await inside(swarm, 'mover', 'hostname')).trim();
  await swarm.eventually(async (s) => s.running('mover').count === 1 && /^a[12]$/.test(await addresses()));
  await update('--network-rm', 'host', '--network-add', 'front');
  await swarm.eventually(
    async (s) => s.running('mover').count === 1 && /^[0-9a-f]{12}$/.test(await addresses()),
  );
  await swarm.docker('service', 'rm', 'mover');
  await swarm.docker('network', 'rm', 'front');
});

test.serial('a compose file: network_mode, and an external network host', async (t) => {
  const { swarm } = t.context;
  await swarm.deploy(
    'own',
    `services:
  mode: { image: shoal/example, entrypoint: [/bin/sleep, "1000"], network_mode: host, stop_grace_period: 1s }
  outside: { image: shoal/example, entrypoint: [/bin/sleep, "1000"], networks: [node], stop_grace_period: 1s }
  none: { image: shoal/example, entrypoint: [/bin/sleep, "1000"], network_mode: none, stop_grace_period: 1s }
networks: { node: { external: true, name: host } }
`,
  );
  await swarm.eventually((s) =>
    ['own_mode', 'own_outside', 'own_none'].every((name) => s.running(name).count === 1),
  );
  t.regex((await inside(swarm, 'own_mode', 'hostname')).trim(), /^a[12]$/);
  t.regex((await inside(swarm, 'own_outside', 'hostname')).trim(), /^a[12]$/);
  t.regex((await inside(swarm, 'own_none', 'hostname')).trim(), /^[0-9a-f]{12}$/);
  await t.throwsAsync(
    swarm.deploy('bad', 'services: { a: { image: shoal/example, network_mode: host, ports: ["80:80"] } }'),
    { message: /ingress mode can't be used with network host/ },
  );
  await swarm.docker('stack', 'rm', 'own');
});

const PLUGIN = fileURLToPath(new URL('./network-plugin.js', import.meta.url));
const PLUGINS = '/run/docker/plugins';

/** A network plugin of the node a2, where Docker looks for them. */
function startPlugin(swarm: TestCluster, socket: string, calls: string): ChildProcess {
  const netns = `/run/netns/${swarm.layout.netnsPrefix}host_${swarm.node('a2').index}`;
  return spawn('nsenter', [`--net=${netns}`, process.execPath, PLUGIN, socket, calls], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}

async function endPlugin(child: ChildProcess, socket: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
  await rm(socket, { force: true });
}

test.serial('a network of a plugin by the docker client, and the plugin gone meanwhile', async (t) => {
  const { swarm } = t.context;
  const name = `brnet${process.pid}`;
  const socket = path.join(PLUGINS, `${name}.sock`);
  const calls = path.join(swarm.layout.stateDir, 'plugin-calls');
  await mkdir(PLUGINS, { recursive: true });
  let plugin = startPlugin(swarm, socket, calls);
  t.teardown(() => endPlugin(plugin, socket));
  const known = async (): Promise<boolean> =>
    (await swarm.docker('info', '--format', '{{json .Plugins.Network}}')).includes(name);
  const run = (container: string): Promise<string> => {
    const place = ['--label', 'com.docker.swarm.constraints=["node.hostname==a2"]'];
    const what = ['--network', 'lan', '--entrypoint', '/bin/sleep', 'shoal/example', '1000'];
    return swarm.docker('run', '-d', '--name', container, ...place, ...what);
  };
  await swarm.eventually(known, { within: 60_000 });
  await swarm.docker('network', 'create', '-d', name, '--subnet', '10.77.0.0/24', '-o', 'key=value', 'lan');
  const shown = await swarm.docker('network', 'inspect', 'lan', '--format', '{{.Driver}} {{.Options.key}}');
  t.is(shown.trim(), `${name} value`);
  // Each node looks by itself.
  await swarm.eventually(() => run('p1').then(Boolean, () => false));
  await run('p2');
  const format = '{{(index .NetworkSettings.Networks "lan").IPAddress}}';
  const address = (await swarm.docker('inspect', 'p2', '--format', format)).trim();
  t.regex(address, /^10\.77\.0\.\d+$/);
  t.regex(await swarm.docker('exec', 'p1', 'ip', 'route'), /^default via 10\.77\.0\.1 dev eth0/m);
  t.regex(await swarm.docker('exec', 'p1', 'ping', '-c1', '-W5', 'p2'), new RegExp(`\\(${address}\\)`));

  await endPlugin(plugin, socket);
  await swarm.docker('rm', '-f', 'p2');
  t.regex(await swarm.docker('exec', 'p1', 'ip', 'addr', 'show', 'eth0'), /10\.77\.0\./, 'p1 goes on');
  await swarm.eventually(async () => !(await known()), { within: 60_000 });
  await t.throwsAsync(run('p3'), { message: new RegExp(`no network plugin ${name}`) });
  plugin = startPlugin(swarm, socket, calls);
  await swarm.eventually(known, { within: 60_000 });
  await swarm.eventually(() => run('p4').then(Boolean, () => false));
  await swarm.docker('rm', '-f', 'p1', 'p4');
  await swarm.docker('network', 'rm', 'lan');
  const count = async (method: string): Promise<number> =>
    (await readFile(calls, 'utf8')).split('\n').filter((line) => line.startsWith(`NetworkDriver.${method} `))
      .length;
  await swarm.eventually(
    async () => (await count('DeleteEndpoint')) >= 3 && (await count('DeleteNetwork')) >= 1,
    {
      within: 60_000,
    },
  );
});
