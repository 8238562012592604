/** What users get wrong is said in words, where `docker service ps` and the client show it, and harms nobody else. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import anyTest, { type TestFn } from 'ava';
import { hasWireGuard } from '../../agent/native/network.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { liveContainers } from '../harness/containers.ts';
import { reachableAddress } from '../harness/outside.ts';
import { type Registry, startRegistry } from '../harness/registry.ts';
import { QUICK, settled } from '../harness/settled.ts';

const test = anyTest as TestFn<{ swarm: TestCluster; registry: Registry }>;

test.before(async (t) => {
  const registry = await startRegistry(reachableAddress());
  t.context.registry = registry;
  t.context.swarm = await cluster().manager().agents(2).registry(registry.address).up();
});

test.after.always(async (t) => {
  await t.context.swarm?.[Symbol.asyncDispose]();
  await t.context.registry?.[Symbol.asyncDispose]();
});

/** What the stock client shows of a service's tasks, errors in full. */
function shown(swarm: TestCluster, service: string): Promise<string> {
  const format = '{{.CurrentState}} | {{.DesiredState}} | {{.Error}}';
  return swarm.docker('service', 'ps', '--no-trunc', '--format', format, service);
}

test.serial('an image that does not exist: rejected with the registry’s message', async (t) => {
  const { swarm, registry } = t.context;
  await swarm.deploy('noimage', { image: `${registry.address}/no/such:v9`, more: QUICK });
  await swarm.eventually((s) => s.tasks('noimage').in('rejected').count > 1);
  const text = await shown(swarm, 'noimage');
  t.regex(text, /^Rejected .*no\/such.*(manifest unknown|repository name not known|not found)/im);
  t.is((await swarm.state()).running('noimage').count, 0);
  await swarm.docker('service', 'rm', 'noimage');
});

test.serial('a registry that nobody answers at: rejected, and its address is named', async (t) => {
  const { swarm } = t.context;
  await swarm.deploy('noregistry', { image: '127.0.0.1:1/some:thing', more: QUICK });
  await swarm.eventually((s) => s.tasks('noregistry').in('rejected').count > 0);
  t.regex(await shown(swarm, 'noregistry'), /^Rejected .*127\.0\.0\.1:1/m);
  await swarm.docker('service', 'rm', 'noregistry');
});

test.serial(
  'a command that is not in the image: failed with the reason; the crash loop is slow and leaves few traces',
  async (t) => {
    const { swarm } = t.context;
    const delayMs = 1_000;
    await swarm.deploy('nocommand', {
      more: ['--restart-delay', `${delayMs}ms`, '--entrypoint', '/bin/no-such-command'],
    });
    const seen = new Map<string, number>();
    await swarm.eventually(
      (s) => {
        for (const task of s.tasks('nocommand').tasks) seen.set(task.ID, Date.parse(task.CreatedAt));
        return seen.size >= 8;
      },
      { within: 60_000 },
    );
    const created = [...seen.values()].toSorted((a, b) => a - b);
    // a replacement is made when its forerunner ends and waits for the delay: only from the third on do both count
    const gaps = created.slice(2).map((at, i) => at - (created[i + 1] ?? 0));
    t.true(
      gaps.every((gap) => gap >= delayMs - 50),
      `tasks came ${gaps.join(', ')} ms after one another`,
    );
    // 5 past ones and the present one; a new one may come a moment before the oldest goes
    await swarm.eventually((s) => s.tasks('nocommand').count <= 6);
    t.true(seen.size > 6);
    t.regex(await shown(swarm, 'nocommand'), /^Failed .*"\/bin\/no-such-command": .*not found/m);
    await swarm.docker('service', 'rm', 'nocommand');
    await swarm.eventually(
      async (s) => s.tasks('nocommand').count === 0 && (await liveContainers(swarm.layout)).size === 0,
    );
  },
);

test.serial('a restart policy of two attempts ends after them', async (t) => {
  const { swarm } = t.context;
  const more = ['--restart-delay', '100ms', '--restart-max-attempts', '2', '--entrypoint', '/bin/false'];
  await swarm.deploy('fewtimes', { more });
  const state = await swarm.eventually((s) => s.tasks('fewtimes').in('failed').count === 3);
  t.is(state.tasks('fewtimes').count, 3);
  t.true(state.tasks('fewtimes').errors.every((text) => /non-zero exit \(1\)/.test(text)));
  await swarm.docker('service', 'rm', 'fewtimes');
});

test.serial('a port that another service publishes is refused, and its holder is named', async (t) => {
  const { swarm } = t.context;
  await swarm.deploy('first', { ports: ['8081:80'], more: QUICK });
  const error = await t.throwsAsync(swarm.deploy('second', { ports: ['8081:80'] }));
  t.regex(error?.message ?? '', /8081.*already in use.*first/);
  await t.throwsAsync(
    swarm.deploy('stack', 'services: { web: { image: shoal/example, ports: ["8081:80"] } }'),
    {
      message: /8081.*first/,
    },
  );
  const state = await settled(swarm, { first: 1 });
  t.deepEqual(
    state.services.map(({ Spec }) => Spec.Name),
    ['first'],
  );
  await swarm.docker('service', 'rm', 'first');
});

test.serial('a place that is nowhere: pending, with the reasons counted', async (t) => {
  const { swarm } = t.context;
  await swarm.deploy('nowhere', { more: ['--constraint', 'node.hostname==mars'] });
  await swarm.deploy('toolarge', { more: ['--reserve-memory', '900G'] });
  await swarm.deploy('toofast', { more: ['--reserve-cpu', '900'] });
  await swarm.eventually((s) =>
    ['nowhere', 'toolarge', 'toofast'].every((name) => s.tasks(name).errors.length === 1),
  );
  t.regex(
    await shown(swarm, 'nowhere'),
    /^Pending .*no suitable node .*node\.hostname==mars not met on 2 nodes/m,
  );
  t.regex(await shown(swarm, 'toolarge'), /^Pending .*no suitable node .*insufficient memory on 2 nodes/m);
  t.regex(await shown(swarm, 'toofast'), /^Pending .*no suitable node .*insufficient CPU on 2 nodes/m);
  await swarm.docker(
    'service',
    'update',
    '--quiet',
    '--detach',
    '--constraint-rm',
    'node.hostname==mars',
    'nowhere',
  );
  await swarm.eventually((s) => s.running('nowhere').count === 1);
  await swarm.docker('service', 'rm', 'nowhere', 'toolarge', 'toofast');
});

test.serial('an encrypted network: on nodes with WireGuard or nowhere, and the reason is said', async (t) => {
  const { swarm } = t.context;
  await swarm.docker('network', 'create', '--driver', 'overlay', '--opt', 'encrypted', 'secret');
  await swarm.deploy('shy', { replicas: 2, networks: ['secret'] });
  // The nodes' kernel is this one. Where it has WireGuard, what is sent is looked at by the tests in the virtual machine.
  if (await hasWireGuard()) await swarm.eventually((s) => s.running('shy').count === 2);
  else {
    await swarm.eventually((s) => s.tasks('shy').errors.length === 2);
    t.regex(
      await shown(swarm, 'shy'),
      /^Pending .*network secret is encrypted and the kernel has no WireGuard on 2 nodes/m,
    );
    t.is((await swarm.state()).running('shy').count, 0);
  }
  t.regex(await swarm.docker('network', 'inspect', 'secret'), /"encrypted": ""/);
  await swarm.docker('service', 'rm', 'shy');
  await swarm.docker('network', 'rm', 'secret');
});

/** A server of somebody else on the node; its end is the caller's. */
async function foreignServer(swarm: TestCluster, hostname: string, port: number): Promise<ChildProcess> {
  const script = `require('node:http').createServer((_, r) => r.end('mine')).listen(${port}, () => console.log('up'))`;
  const child = spawn(
    'nsenter',
    [
      `--net=/run/netns/${swarm.layout.netnsPrefix}host_${swarm.node(hostname).index}`,
      process.execPath,
      '-e',
      script,
    ],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  await once(child.stdout, 'data');
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

async function answer(swarm: TestCluster, hostname: string, port: number): Promise<string> {
  const url = `http://${swarm.node(hostname).address}:${port}/`;
  return (await fetch(url, { headers: { connection: 'close' }, signal: AbortSignal.timeout(5_000) })).text();
}

function message(swarm: TestCluster): Promise<string> {
  return swarm.docker('node', 'inspect', 'a1', '--format', '{{.Status.Message}}');
}

test.serial(
  'a port that somebody else’s server has on a node stays his, is said so, and is taken when he goes',
  async (t) => {
    const { swarm } = t.context;
    const server = await foreignServer(swarm, 'a1', 8082);
    try {
      await swarm.deploy('taken', { ports: ['8082:80'], more: QUICK });
      await swarm.eventually(async () => /Hello/.test(await answer(swarm, 'a2', 8082)));
      t.is(await answer(swarm, 'a1', 8082), 'mine');
      t.regex(await swarm.logTails(200), /8082\/tcp.*another process/);
      await swarm.eventually(async () => /8082\/tcp is in use by another process/.test(await message(swarm)));
    } finally {
      await end(server);
    }
    await swarm.eventually(async () => /Hello/.test(await answer(swarm, 'a1', 8082)), { within: 60_000 });
    await swarm.eventually(async () => !/8082/.test(await message(swarm)), { within: 60_000 });
    await swarm.docker('service', 'rm', 'taken');
  },
);

test.serial(
  'a port of mode host that somebody else’s server has: the task fails with the reason',
  async (t) => {
    const { swarm } = t.context;
    const server = await foreignServer(swarm, 'a1', 8083);
    try {
      await swarm.deploy('hostport', {
        more: [
          ...QUICK,
          '--publish',
          'mode=host,published=8083,target=80',
          '--constraint',
          'node.hostname==a1',
        ],
      });
      await swarm.eventually((s) => s.tasks('hostport').in('failed').count > 0);
      t.regex(await shown(swarm, 'hostport'), /^Failed .*8083\/tcp.*another process/m);
      t.is(await answer(swarm, 'a1', 8083), 'mine');
    } finally {
      await end(server);
    }
    await swarm.eventually(async () => /Hello/.test(await answer(swarm, 'a1', 8083)));
    await swarm.docker('service', 'rm', 'hostport');
  },
);
