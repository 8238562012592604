/** Networks that a plugin makes: one that does as it should, and all that a plugin may do wrong. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { NetworkLab, until } from './network-lab.ts';
import { network, type World } from './network-model.ts';
import { id, N1 } from './network-world.ts';

const PLUGIN = fileURLToPath(new URL('./network-plugin.js', import.meta.url));
/** What the plugin does wrong, and the reason that the container is not started. */
const WRONGS: Readonly<Record<string, RegExp>> = {
  host: /names the device eth0, which was there before it was asked for one/,
  bridge: /names the device pb\w+, which was there before/,
  none: /names the device nothing0, which is not there/,
  name: /names '\.\.\/\.\.\/etc', which is no device's name/,
  address: /gives the address 203\.0\.113\.9\/24, and was told 10\.\d+\.0\.10\/24/,
  gateway: /gateway '203\.0\.113\.1' is no other address of the network/,
  route: /routes 127\.0\.0\.0\/8, which can not be routed to it/,
  garbage: /Join: its answer is no JSON/,
  huge: /an answer of more than \d+ bytes/,
  hang: /Join: no answer within 2 s/,
};

function world(): World {
  const names = ['good', ...Object.keys(WRONGS)];
  const own = (name: string, index: number) =>
    network(name, 0x3000 + index, `10.${40 + index}.0`, {
      local: true,
      outside: { kind: 'plugin', plugin: 'brnet', options: name === 'good' ? {} : { wrong: name } },
    });
  const service = (name: string, networks: readonly string[]) => ({
    ...{ name, aliases: [], networks, vips: {}, meshPorts: [], hostPorts: [] },
  });
  const task = (name: string, of: string, addresses: Record<string, string>) => ({
    ...{
      taskId: id(name),
      service: of,
      node: N1,
      slot: 1,
      addresses,
      serving: true,
      desired: 'running' as const,
    },
  });
  return {
    peers: [{ nodeId: N1, hostname: 'h1', index: 1, address: '10.99.0.1' }],
    networks: [...names.map(own), network('front', 0x1001, '10.5.0')],
    services: [
      service('one', ['good']),
      service('two', ['good', 'front']),
      service('late', ['good']),
      service('plain', ['front']),
      ...Object.keys(WRONGS).map((name) => service(`w-${name}`, [name])),
    ],
    tasks: [
      task('one', 'one', { good: '10.40.0.11' }),
      task('two', 'two', { front: '10.5.0.12', good: '10.40.0.12' }),
      task('late', 'late', { good: '10.40.0.13' }),
      task('plain', 'plain', { front: '10.5.0.13' }),
      ...Object.keys(WRONGS).map((name, index) =>
        task(`w-${name}`, `w-${name}`, { [name]: `10.${41 + index}.0.10` }),
      ),
    ],
  };
}

class Plugin {
  readonly dir: string;
  readonly #netns: string;
  #process: ChildProcess | undefined;

  constructor(dir: string, netns: string) {
    this.dir = dir;
    this.#netns = netns;
  }

  start(): void {
    const args = [`--net=/run/netns/${this.#netns}`, process.execPath, PLUGIN];
    this.#process = spawn('nsenter', [...args, join(this.dir, 'brnet.sock'), join(this.dir, 'calls')], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
  }

  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  /** `METHOD NETWORK ENDPOINT`, one for each call. */
  async calls(method: string): Promise<string[]> {
    const lines = (await readFile(join(this.dir, 'calls'), 'utf8')).split('\n');
    return lines.filter((line) => line.startsWith(`NetworkDriver.${method} `));
  }
}

test.serial('networks of a plugin: used, misused, and over restarts of agent and plugin', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-plugin-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const net = await NetworkLab.up(world(), 'tplug', dir);
  t.teardown(() => net.down());
  const host = net.hostNs(N1);
  const plugin = new Plugin(dir, host);
  t.teardown(() => plugin.stop());
  plugin.start();
  await net.applyAll();
  await until('the plugin is known', async () => {
    const { value = '{}' } = await net.send(N1, { verb: 'report' });
    return JSON.stringify(JSON.parse(value).drivers) === '{"plugins":["brnet"]}';
  });

  await net.startContainer(id('one'));
  await net.startContainer(id('two'));
  const says = async (task: string, ...command: string[]): Promise<string> =>
    (await net.inTask(id(task), command)).stdout;
  const reaches = async (task: string, address: string): Promise<boolean> =>
    (await net.inTask(id(task), ['busybox', 'ping', '-c1', '-W5', address])).code === 0;
  t.true(await reaches('one', '10.40.0.12'), 'the other container');
  t.true(await reaches('one', '10.40.0.1'), 'the gateway, which is the plugin’s');
  t.regex(await says('one', 'ip', 'link', 'show', 'eth0'), /02:77:/);
  const routes = await says('one', 'ip', 'route');
  t.regex(routes, /^default via 10\.40\.0\.1 dev eth0/m);
  t.regex(routes, /^198\.18\.0\.0\/16 via 10\.40\.0\.1 dev eth0/m);
  t.regex(routes, /^169\.254\.0\.2 dev dns0 .*src 10\.40\.0\.11/m);
  const conf = await net.send(N1, { verb: 'resolv-conf', taskId: id('one') });
  t.regex(conf.value ?? '', /^nameserver 169\.254\.0\.2$/m);
  t.regex(await says('one', 'busybox', 'nslookup', 'two', '169.254.0.2'), /10\.40\.0\.12/);
  t.regex(
    await says('two', 'ip', 'addr', 'show', 'eth1'),
    /10\.40\.0\.12\/24/,
    'beside a network of Shoal’s',
  );

  // While one plugin call hangs, everything else goes on.
  const order: string[] = [];
  const failures = Object.entries(WRONGS).map(async ([name, reason]) => {
    const error = await t.throwsAsync(net.startContainer(id(`w-${name}`)));
    t.regex(error?.message ?? '', reason);
    t.regex(error?.message ?? '', new RegExp(`network ${name}: plugin brnet: `));
    order.push(name);
  });
  await net.startContainer(id('plain')).then(() => order.push('plain'));
  await Promise.all(failures);
  t.true(order.indexOf('plain') < order.indexOf('hang'), order.join(' '));
  t.true(await reaches('plain', '10.5.0.12'));
  t.regex((await net.inHost(host, ['ip', 'addr', 'show', 'eth0'])).stdout, /10\.99\.0\.1\/24/);
  t.true(await reaches('one', '10.40.0.12'));

  // The agent ends, and the next one goes on.
  await net.killDriver(N1);
  net.startDriver(N1);
  await net.apply(N1);
  t.true(await reaches('one', '10.40.0.12'));
  t.regex((await net.send(N1, { verb: 'resolv-conf', taskId: id('one') })).value ?? '', /169\.254\.0\.2/);

  // The plugin ends, and the next one knows of nothing.
  await plugin.stop();
  plugin.start();
  await until('a container starts', () => net.attachOnce(id('late')));
  t.true(await reaches('late', '10.40.0.11'));

  // What is over is given back, and the network with the last of it.
  const before = (await plugin.calls('DeleteEndpoint')).length;
  for (const task of net.world.tasks) task.desired = 'shutdown';
  await net.apply(N1);
  for (const task of ['one', 'two', 'late', 'plain', ...Object.keys(WRONGS).map((name) => `w-${name}`)]) {
    await net.killContainer(id(task));
    await net.send(N1, { verb: 'detach', taskId: id(task) });
  }
  await until('the plugin has all back', async () => {
    await net.apply(N1);
    const { networks, endpoints } = JSON.parse(await readFile(join(dir, 'asked.json'), 'utf8'));
    return networks.length === 0 && endpoints.length === 0;
  });
  t.is((await plugin.calls('DeleteEndpoint')).length - before, 3, 'what was wrong was given back at once');
  t.notRegex((await net.inHost(host, ['ip', '-br', 'link'])).stdout, /^p[bcv]\w+/m);
  t.deepEqual(await net.down(), [], 'the driver left nothing behind');
});
