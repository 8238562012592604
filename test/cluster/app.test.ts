/** nginx, redis and a client from a registry, on two overlay networks over three nodes: what a compose file promises. */
import anyTest, { type TestFn } from 'ava';
import { z } from 'zod';
import { delay } from '../../shared/lib/abort.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import {
  cgroupFile,
  containersOf,
  inContainer,
  type LiveContainer,
  liveContainers,
  runsExactlyTheDesired,
} from '../harness/containers.ts';
import { type Outside, outsideOf, reachableAddress } from '../harness/outside.ts';
import { freePort, pushImage, type Registry, startRegistry } from '../harness/registry.ts';
import { busyboxImage, nginxImage, redisImage } from '../images/images.ts';

interface Context {
  swarm: TestCluster;
  registry: Registry;
  outside: Outside;
  /** A port that nothing on the nodes uses: they are hosts of their own. */
  url: (hostname: string) => string;
}

const test = anyTest as TestFn<Context>;
const signal = new AbortController().signal;
const PORT = 8080;
const NODES = ['a1', 'a2', 'a3'];

function compose(registry: string, web: { tag: string; round: string }): string {
  return `
services:
  web:
    image: ${registry}/nginx:${web.tag}
    environment: { ROUND: "${web.round}" }
    networks: [front]
    ports: ["${PORT}:80"]
    healthcheck: { test: "nc -w 2 127.0.0.1 80 </dev/null", interval: 200ms, retries: 50 }
    deploy:
      replicas: 3
      update_config: { order: start-first, parallelism: 1, monitor: 200ms }
      restart_policy: { delay: 100ms }
      resources: { limits: { memory: 96M, cpus: "0.5", pids: 64 } }
  cache:
    image: ${registry}/redis:latest
    command: --bind 0.0.0.0 --protected-mode no --dir /data --appendonly yes --appendfsync always
    networks: [back]
    volumes: ["data:/data"]
    healthcheck: { test: [CMD, redis-cli, ping], interval: 500ms, start_period: 1m }
    deploy:
      placement: { constraints: ["node.hostname == a2"] }
      restart_policy: { delay: 100ms }
  client:
    image: ${registry}/busybox:latest
    command: sleep 1d
    stop_grace_period: 0s
    networks: [front, back, six]
    deploy: { mode: global }
networks:
  six: { driver: overlay, enable_ipv6: true, ipam: { config: [{ subnet: "fd00:517e::/64" }] } }
  front: { driver: overlay }
  back: { driver: overlay }
volumes:
  data: {}
`;
}

test.before(async (t) => {
  const registry = await startRegistry(reachableAddress(), await freePort(reachableAddress()));
  t.context.registry = registry;
  const nginx = await nginxImage();
  const images = [nginx, { ...nginx, reference: 'nginx:v2' }, await redisImage(), await busyboxImage()];
  for (const image of images) await pushImage(registry, image);
  const swarm = await cluster().manager().agents(3).registry(registry.address).up();
  t.context.swarm = swarm;
  t.context.outside = await outsideOf(swarm);
  t.context.url = (hostname) => `http://${swarm.node(hostname).address}:${PORT}/`;
  await swarm.deploy('app', compose(registry.address, { tag: 'latest', round: '1' }));
  await swarm.eventually(
    (s) => counts(s.running('app_web').count, s.running('app_cache').count, s.running('app_client').count),
    { within: 90_000 },
  );
});

test.after.always(async (t) => {
  await t.context.swarm?.[Symbol.asyncDispose]();
  await t.context.registry?.[Symbol.asyncDispose]();
});

function counts(web: number, cache: number, client: number): boolean {
  return web === 3 && cache === 1 && client === 3;
}

async function on(swarm: TestCluster, service: string, hostname: string): Promise<LiveContainer> {
  const all = await containersOf(swarm.layout, await swarm.state(), service);
  const found = all.find((container) => container.hostname === hostname);
  if (found === undefined) throw new Error(`no container of ${service} on ${hostname}`);
  return found;
}

const serviceSchema = z.object({
  Endpoint: z.object({ VirtualIPs: z.array(z.object({ NetworkID: z.string(), Addr: z.string() })) }),
});
const sixSchema = z.object({
  EnableIPv6: z.boolean(),
  Containers: z.record(z.string(), z.object({ IPv6Address: z.string().startsWith('fd00:517e::') })),
});
const networkSchema = z.object({ Id: z.string() });

async function vipOf(swarm: TestCluster, service: string, network: string): Promise<string> {
  const { Id } = networkSchema.parse((await swarm.api('GET', `/networks/${network}`)).body);
  const { Endpoint } = serviceSchema.parse((await swarm.api('GET', `/services/${service}`)).body);
  const address = Endpoint.VirtualIPs.find((vip) => vip.NetworkID === Id)?.Addr;
  if (address === undefined) throw new Error(`${service} has no address on ${network}`);
  return address.split('/')[0] ?? '';
}

/** The addresses in busybox nslookup's answer, that of the name server apart. */
async function lookup(from: LiveContainer, name: string): Promise<string[]> {
  const text = await inContainer(from, `nslookup -type=a -timeout=2 -retry=1 ${name} || true`);
  const answer = text.slice(text.indexOf('\n\n'));
  return [...answer.matchAll(/^Address(?: \d+)?: ([\d.]+)/gm)].map((match) => match[1] ?? '').toSorted();
}

test.serial('what the file asks for runs, spread over the nodes, and nothing else', async (t) => {
  const { swarm } = t.context;
  const state = await swarm.state();
  t.deepEqual(state.running('app_web').nodes, NODES);
  t.deepEqual(state.running('app_client').nodes, NODES);
  t.deepEqual(state.running('app_cache').nodes, ['a2']);
  t.true(await runsExactlyTheDesired(swarm.layout, state));
});

test.serial('names resolve: short, with the stack, tasks.X, from every node', async (t) => {
  const { swarm } = t.context;
  const vip = await vipOf(swarm, 'app_web', 'app_front');
  for (const hostname of NODES) {
    const client = await on(swarm, 'app_client', hostname);
    t.deepEqual(await lookup(client, 'web'), [vip], `web on ${hostname}`);
    t.deepEqual(await lookup(client, 'app_web'), [vip], `app_web on ${hostname}`);
    for (const name of ['tasks.web', 'tasks.app_web']) {
      const tasks = await lookup(client, name);
      t.is(new Set(tasks).size, 3, `${name} on ${hostname}: ${tasks.join()}`);
      t.false(tasks.includes(vip));
    }
    t.deepEqual(await lookup(client, 'nosuchname'), []);
  }
});

test.serial('a network with IPv6: names, VIP and addresses from every node, as the API says', async (t) => {
  const { swarm } = t.context;
  const six = sixSchema.parse((await swarm.api('GET', '/networks/app_six')).body);
  t.true(six.EnableIPv6);
  const addresses = Object.values(six.Containers).map(({ IPv6Address }) => IPv6Address.split('/')[0] ?? '');
  t.is(new Set(addresses).size, 3, addresses.join());
  for (const hostname of NODES) {
    const client = await on(swarm, 'app_client', hostname);
    for (const to of [...addresses, 'client.app_six', 'tasks.client.app_six'])
      t.regex(await inContainer(client, `ping -6 -c 1 -W 5 ${to} || true`), /1 packets received/, to);
  }
});

test.serial('a VIP balances over replicas on several nodes', async (t) => {
  const { swarm } = t.context;
  for (const hostname of NODES) {
    const client = await on(swarm, 'app_client', hostname);
    const get = String.raw`printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 web 80 | tail -n 1`;
    const text = await inContainer(client, `i=0; while [ $i -lt 40 ]; do ${get}; i=$((i+1)); done`);
    const lines = text.trim().split('\n');
    t.is(lines.length, 40, text);
    t.is(new Set(lines.map((line) => line.split(' ')[0])).size, 3, text);
  }
});

test.serial('redis is reached by name from every node', async (t) => {
  const { swarm } = t.context;
  const cache = await on(swarm, 'app_cache', 'a2');
  for (const hostname of NODES) {
    const client = await on(swarm, 'app_client', hostname);
    const said = await inContainer(
      client,
      `printf 'SET ${hostname} hello\\r\\nQUIT\\r\\n' | nc -w 5 cache 6379`,
    );
    t.is(said, '+OK\r\n+OK\r\n');
    t.is(await inContainer(cache, `redis-cli get ${hostname}`), 'hello\n');
  }
});

test.serial(
  'networks that share no service can not reach one another, and hold no name of one another',
  async (t) => {
    const { swarm } = t.context;
    const cache = await on(swarm, 'app_cache', 'a2');
    const address = (
      await inContainer(cache, "ip -4 -o addr show scope global | awk '{print $4}' | cut -d/ -f1")
    ).trim();
    const vip = await vipOf(swarm, 'app_cache', 'app_back');
    const client = await on(swarm, 'app_client', 'a1');
    const ask = (where: string): string =>
      `printf 'PING\\r\\nQUIT\\r\\n' | nc -w 2 ${where} 6379 || echo refused`;
    t.is(await inContainer(client, ask(address)), '+PONG\r\n+OK\r\n');
    for (const hostname of NODES) {
      const web = await on(swarm, 'app_web', hostname);
      t.deepEqual(await lookup(web, 'cache'), []);
      for (const where of [address, vip]) {
        t.notRegex(await inContainer(web, ask(where)), /PONG/, `${where} from web on ${hostname}`);
      }
    }
  },
);

test.serial(
  'an allow-list lets in whom it names, by short names, at once, and replaces no task',
  async (t) => {
    const { swarm } = t.context;
    const tasks = (await swarm.state()).running('app_cache');
    const answers = async (hostname: string): Promise<boolean> => {
      const client = await on(swarm, 'app_client', hostname);
      return /PONG/.test(
        await inContainer(client, `printf 'PING\\r\\nQUIT\\r\\n' | nc -w 2 cache 6379 || true`),
      );
    };
    const allow = (list: string) =>
      swarm.docker('service', 'update', '--label-add', `shoal.allow-from=${list}`, 'app_cache');
    for (const [list, wanted] of [
      ['web:6379', false],
      ['client:6379', true],
      ['client:80', false],
    ] as const) {
      await allow(list);
      for (const hostname of NODES) await swarm.eventually(async () => (await answers(hostname)) === wanted);
    }
    await swarm.docker('service', 'update', '--label-rm', 'shoal.allow-from', 'app_cache');
    for (const hostname of NODES) await swarm.eventually(() => answers(hostname));
    t.deepEqual((await swarm.state()).running('app_cache'), tasks);
  },
);

test.serial('the published port answers on every node and shows the client’s own address', async (t) => {
  const { outside, url } = t.context;
  for (const hostname of NODES) {
    const replicas = new Set<string>();
    for (let i = 0; i < 20; i += 1) {
      const [replica, address] = (await outside.get(url(hostname))).trim().split(' ');
      t.is(address, outside.address, `through ${hostname}`);
      replicas.add(replica ?? '');
    }
    t.true(replicas.size > 1, `through ${hostname} only ${[...replicas].join()} answered`);
  }
});

test.serial('the way out works', async (t) => {
  const { swarm, registry } = t.context;
  for (const hostname of NODES) {
    const client = await on(swarm, 'app_client', hostname);
    const [host, port] = registry.address.split(':');
    const get = String.raw`printf 'GET /v2/ HTTP/1.0\r\n\r\n' | nc -w 5 ${host} ${port}`;
    t.regex(await inContainer(client, get), /200 OK[\s\S]*\{\}$/);
  }
});

test.serial('a service without networks has the way out, and nothing else', async (t) => {
  const { swarm, registry } = t.context;
  const args = ['httpd', '-f', '-p', '80'];
  await swarm.deploy('alone', { replicas: 2, image: `${registry.address}/busybox:latest`, args });
  await swarm.eventually((s) => s.running('alone').count === 2, { within: 60_000 });
  const [one, other] = await containersOf(swarm.layout, await swarm.state(), 'alone');
  if (one === undefined || other === undefined) throw new Error('two containers are wanted');
  const [host, port] = registry.address.split(':');
  const get = String.raw`printf 'GET /v2/ HTTP/1.0\r\n\r\n' | nc -w 5`;
  t.regex(await inContainer(one, `${get} ${host} ${port}`), /200 OK/);
  const address = (
    await inContainer(other, "ip -4 addr show eth0 | sed -n 's#.*inet \\([0-9.]*\\)/.*#\\1#p'")
  ).trim();
  t.regex(address, /^\d+\.\d+\.\d+\.\d+$/);
  t.regex(await inContainer(one, `${get} ${address} 80 || echo refused`), /refused/);
  await swarm.docker('service', 'rm', 'alone');
});

test.serial('limits are in the container’s cgroup', async (t) => {
  const { swarm } = t.context;
  const { layout } = swarm;
  const web = await on(swarm, 'app_web', 'a1');
  const memory = await cgroupFile(layout, web, 'memory.limit_in_bytes', 'memory.max');
  t.is(memory, String(96 * 1024 * 1024));
  t.is(await cgroupFile(layout, web, 'pids.max'), '64');
  const [quota, period] = (await cgroupFile(layout, web, 'cpu.cfs_quota_us', 'cpu.max')).split(' ');
  t.is(Number(quota) / Number(period ?? (await cgroupFile(layout, web, 'cpu.cfs_period_us'))), 0.5);
});

test.serial('a named volume keeps its data when the task is replaced', async (t) => {
  const { swarm } = t.context;
  const before = await on(swarm, 'app_cache', 'a2');
  await inContainer(before, 'redis-cli set kept yes');
  process.kill(before.pid, 'SIGKILL');
  const state = await swarm.eventually((s) => {
    const [task] = s.running('app_cache').tasks;
    return task !== undefined && task.Status.ContainerStatus?.ContainerID !== before.id;
  });
  const [after] = await containersOf(swarm.layout, state, 'app_cache');
  if (after === undefined) throw new Error('no container');
  t.is(await inContainer(after, 'redis-cli get kept'), 'yes\n');
  const client = await on(swarm, 'app_client', 'a3');
  t.regex(await inContainer(client, `printf 'GET kept\\r\\nQUIT\\r\\n' | nc -w 5 cache 6379`), /yes/);
});

test.serial('logs of a service are those of all its replicas', async (t) => {
  const { swarm } = t.context;
  const text = await swarm.docker('service', 'logs', 'app_web');
  const names = [...text.matchAll(/^app_web\.(\d)\.\S+@(a\d) +\| .*"GET \/ HTTP/gm)];
  t.deepEqual([...new Set(names.map((match) => match[1]))].toSorted(), ['1', '2', '3']);
  t.deepEqual([...new Set(names.map((match) => match[2]))].toSorted(), NODES);
});

/** Asks one node after the other from outside, on a connection each, until told to stop; what went wrong is collected. */
async function keepAsking(
  { url, outside }: Context,
  until: AbortSignal,
): Promise<{ asked: number; failed: string[]; replicas: Set<string> }> {
  const failed: string[] = [];
  const replicas = new Set<string>();
  let asked = 0;
  while (!until.aborted) {
    const hostname = NODES[asked % NODES.length] ?? '';
    asked += 1;
    try {
      const [replica = '', seen] = (await outside.get(url(hostname))).trim().split(' ');
      if (seen !== outside.address) failed.push(`request ${asked} through ${hostname}: it saw ${seen}`);
      replicas.add(replica);
    } catch (error) {
      failed.push(`request ${asked} through ${hostname}: ${describe(error)}`);
    }
  }
  return { asked, failed, replicas };
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.message} ${String(error.cause ?? '')}` : String(error);
}

test.serial(
  'invariant 11: during a rolling update no request fails, and each shows the client’s own address, whatever node is asked',
  async (t) => {
    const { swarm, registry } = t.context;
    const old = new Set(
      (await containersOf(swarm.layout, await swarm.state(), 'app_web')).map(({ id }) => id),
    );
    const done = new AbortController();
    const asking = keepAsking(t.context, done.signal);
    await swarm.deploy('app', compose(registry.address, { tag: 'v2', round: '2' }));
    await swarm
      .eventually(
        async (s) => {
          const containers = await containersOf(swarm.layout, s, 'app_web');
          const isNew = containers.length === 3 && containers.every(({ id }) => !old.has(id));
          return isNew && (await runsExactlyTheDesired(swarm.layout, s));
        },
        { within: 90_000 },
      )
      .finally(() => done.abort());
    const { asked, failed, replicas } = await asking;
    t.log(`${asked} requests, ${replicas.size} replicas`);
    t.deepEqual(failed, []);
    t.true(replicas.size > 3, 'old and new replicas have answered');
    t.true(asked > 20);
    const web = await on(swarm, 'app_web', 'a1');
    t.regex(
      await swarm.docker('inspect', '--format', '{{.Config.Env}} {{.Config.Image}}', web.id),
      /ROUND=2.*:v2/,
    );
  },
);

test.serial('a task runs only once it is healthy, and is replaced when it is no longer', async (t) => {
  const { swarm, registry } = t.context;
  const check = ['--health-cmd', 'test -f /tmp/ok', '--health-interval', '200ms', '--health-retries', '2'];
  await swarm.deploy('gate', {
    image: `${registry.address}/busybox:latest`,
    args: ['sleep', '1d'],
    more: [...check, '--health-start-period', '10m', '--stop-grace-period', '0s', '--restart-delay', '100ms'],
  });
  const waiting = await swarm.eventually((s) => s.tasks('gate').in('starting').count === 1);
  await delay(1_000, signal); // several checks; whatever the time, it must not run
  t.is((await swarm.state()).running('gate').count, 0);
  const first = waiting.tasks('gate').tasks[0]?.ID;
  await inOnlyContainer(swarm, 'gate', 'touch /tmp/ok');
  const running = await swarm.eventually((s) => s.running('gate').count === 1);
  t.is(running.running('gate').tasks[0]?.ID, first);

  await inOnlyContainer(swarm, 'gate', 'rm /tmp/ok');
  const replaced = await swarm.eventually((s) =>
    s
      .tasks('gate')
      .in('starting')
      .tasks.some(({ ID }) => ID !== first),
  );
  t.regex(replaced.tasks('gate').in('failed').errors.join(), /unhealthy/);
  await swarm.docker('service', 'rm', 'gate');
});

/** The container of the service's only task that lives, healthy or not. */
async function inOnlyContainer(swarm: TestCluster, service: string, line: string): Promise<void> {
  const { tasks } = (await swarm.state()).tasks(service);
  const live = tasks.filter(({ Status }) => ['starting', 'running'].includes(Status.State));
  const id = live[0]?.Status.ContainerStatus?.ContainerID;

  const container = (await liveContainers(swarm.layout)).get(id ?? '');
  if (live.length !== 1 || container === undefined) throw new Error(`${service} has not one container`);
  await inContainer(container, line);
}
