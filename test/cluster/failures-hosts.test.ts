/** Silence, stalls, a full etcd, clocks that are off, a crash loop and a power cut: what a cluster makes of each. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { z } from 'zod';
import { createEtcdClient } from '../../manager/store/etcd-client.ts';
import { delay } from '../../shared/lib/abort.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { tlsOfEmbedded } from '../harness/etcd.ts';
import { containersOf, inContainer, type LiveContainer, lifeLines } from '../harness/containers.ts';
import { stall } from '../harness/disturb.ts';
import { powerOff, powerOn } from '../harness/power-cut.ts';
import { QUICK, settled } from '../harness/settled.ts';

const test = anyTest as TestFn<{ swarm: TestCluster }>;
const { signal } = new AbortController();
const NODE_DOWN_AFTER_MS = 3_000;
const HOUR_MS = 3_600_000;
const ALL = { web: 6 };

test.before(async (t) => {
  t.context.swarm = await cluster()
    .manager()
    .managerArgs('--etcd-quota', '16')
    .agents(3)
    .nodeDownAfter(NODE_DOWN_AFTER_MS)
    .findingAddresses()
    .clock('a2', '-2h')
    .clock('a3', '+2h')
    .up();
  const { swarm } = t.context;
  await swarm.docker('network', 'create', '--driver', 'overlay', 'front');
  await swarm.deploy('web', { replicas: 6, networks: ['front'], ports: ['8080:80'], more: QUICK });
  await settled(swarm, ALL);
});

test.after.always(async (t) => {
  await t.context.swarm?.[Symbol.asyncDispose]();
});

const timeSchema = z.string().transform((text) => Date.parse(text));
const nodeSchema = z.object({
  UpdatedAt: timeSchema,
  Description: z.object({ Hostname: z.string() }),
  Status: z.object({ State: z.string(), Addr: z.string(), Message: z.string().optional() }),
});
const taskSchema = z.object({
  ID: z.string(),
  NodeID: z.string().optional(),
  CreatedAt: timeSchema,
  DesiredState: z.string(),
  Status: z.object({ Timestamp: timeSchema, State: z.string(), Err: z.string().optional() }),
  NetworksAttachments: z
    .array(
      z.object({
        Network: z.object({ Spec: z.object({ Name: z.string() }) }),
        Addresses: z.array(z.string()),
      }),
    )
    .optional(),
});

async function nodeRecord(swarm: TestCluster, hostname: string): Promise<z.output<typeof nodeSchema>> {
  const all = z.array(nodeSchema).parse(await swarm.client.get('/nodes', signal));
  const found = all.find((node) => node.Description.Hostname === hostname);
  if (found === undefined) throw new Error(`there is no node ${hostname}`);
  return found;
}

async function taskRecords(swarm: TestCluster): Promise<z.output<typeof taskSchema>[]> {
  return z.array(taskSchema).parse(await swarm.client.get('/tasks', signal));
}

/** Of the tasks that shall run. */
async function addressesOn(swarm: TestCluster, network: string): Promise<string[]> {
  return (await taskRecords(swarm)).flatMap(({ DesiredState, NetworksAttachments }) => {
    const own = NetworksAttachments?.find(({ Network }) => Network.Spec.Name === network);
    return DesiredState === 'running' ? [own?.Addresses[0]?.split('/')[0] ?? 'none'] : [];
  });
}

/** Resolves once the container's web pages can be had from there. */
async function reaches(swarm: TestCluster, from: LiveContainer, address: string): Promise<void> {
  const request = "printf 'GET /cgi-bin/index.cgi HTTP/1.0\\r\\n\\r\\n'";
  await swarm.eventually(async () => {
    const said = await inContainer(from, `${request} | nc -w 2 ${address} 80 2>&1 || :`);
    if (!said.includes('you are')) throw new Error(`${from.hostname} ${address}: ${said}`);
    return true;
  });
}

/** How often the manager has called a node down. */
async function verdicts(swarm: TestCluster): Promise<number> {
  const log = await readFile(path.join(swarm.layout.logDir, 'manager.log'), 'utf8');
  return log.split('"msg":"node is down"').length - 1;
}

test.serial(
  'a node that falls silent is called down after its time, not before, and then replaced',
  async (t) => {
    const { swarm } = t.context;
    const old = new Set((await taskRecords(swarm)).map(({ ID }) => ID));
    const cutAt = Date.now();
    await swarm.node('a1').partition();
    await swarm.eventually((s) => s.running('web').notOn('a1').count === 6);
    const down = await nodeRecord(swarm, 'a1');
    t.is(down.Status.State, 'down');
    t.is(down.Status.Message, 'heartbeat failure');
    // It was heard at most one beat, a quarter of its time, before the cut.
    t.true(down.UpdatedAt - cutAt >= NODE_DOWN_AFTER_MS * 0.75 - 1, `${down.UpdatedAt - cutAt} ms`);
    const fresh = (await taskRecords(swarm)).filter(({ ID }) => !old.has(ID));
    t.is(fresh.length, 2);
    for (const task of fresh) {
      t.true(task.CreatedAt >= down.UpdatedAt, 'the decision follows the verdict');
      t.true(task.Status.Timestamp >= task.CreatedAt, 'and runs later, whatever the clock of its node');
      t.true(task.Status.Timestamp <= Date.now());
    }
    await swarm.node('a1').heal();
    await settled(swarm, ALL);
  },
);

test.serial(
  'a manager that stands still for a second, and for longer than nodes wait, blames nobody',
  async (t) => {
    const { swarm } = t.context;
    const [before, said] = [await lifeLines(swarm.layout), await verdicts(swarm)];
    for (const ms of [1_000, 2.5 * NODE_DOWN_AFTER_MS]) await stall(swarm.manager.pid(), ms, signal);
    // A false verdict would come within the silence that is allowed.
    await delay(1.5 * NODE_DOWN_AFTER_MS, signal);
    await settled(swarm, ALL);
    t.is(await verdicts(swarm), said);
    t.deepEqual(await lifeLines(swarm.layout), before);
  },
);

test.serial(
  'etcd is full: the API says so, nothing that runs notices, and the manager makes room',
  async (t) => {
    const { swarm } = t.context;
    const before = await lifeLines(swarm.layout);
    const refused = await fillUntilRefused(t, swarm);
    t.regex(refused, /etcd has no space left and refuses to commit/);
    t.regex(refused, /what runs goes on/);
    await swarm.eventually(
      async () => {
        await swarm.docker('service', 'update', '--quiet', '--detach', '--label-add', 'after=full', 'web');
        return true;
      },
      { within: 60_000 },
    );
    await swarm.docker('service', 'scale', '--detach', 'web=7');
    await settled(swarm, { web: 7 });
    await swarm.docker('service', 'scale', '--detach', 'web=6');
    await settled(swarm, ALL);
    const after = await lifeLines(swarm.layout);
    t.true(before.filter((line) => after.includes(line)).length >= 5, 'scaling down took one');
  },
);

/** What a user is told while etcd is full. Tried again when the manager was faster than the question. */
async function fillUntilRefused(t: ExecutionContext, swarm: TestCluster): Promise<string> {
  const client = createEtcdClient({
    endpoints: [`https://127.0.0.1:${swarm.layout.etcdClientPort}`],
    tls: await tlsOfEmbedded(path.join(swarm.layout.stateDir, 'manager', 'etcd')),
  });
  t.teardown(() => client.close());
  const value = Buffer.alloc(1024 * 1024, 'x');
  for (let attempt = 0; attempt < 5; attempt += 1) {
    let full = false;
    for (let i = 0; i < 100 && !full; i += 1) {
      full = await client
        .put('/filler')
        .value(value)
        .then(
          () => false,
          (error: unknown) => String(error).includes('space exceeded'),
        );
    }
    t.true(full);
    const body = { Name: 'late', Labels: {}, Driver: 'overlay' };
    const answer = await swarm.api('POST', '/networks/create', body);
    if (answer.status === 503) return JSON.stringify(answer.body);
    t.is(answer.status, 201);
    await swarm.docker('network', 'rm', 'late');
  }
  throw new Error('the manager has always been faster');
}

test.serial(
  'clocks two hours off: nodes join, say so, and an update neither hurries nor hangs',
  async (t) => {
    const { swarm } = t.context;
    t.is((await nodeRecord(swarm, 'a2')).Status.Message, "its clock is 2 h behind the manager's");
    t.is((await nodeRecord(swarm, 'a3')).Status.Message, "its clock is 2 h ahead of the manager's");
    t.is((await nodeRecord(swarm, 'a1')).Status.Message, undefined);
    const monitor = [
      '--update-monitor',
      '3s',
      '--update-parallelism',
      '0',
      '--update-failure-action',
      'pause',
    ];
    await swarm.docker('service', 'update', '--quiet', '--detach', '--env-add', 'V=2', ...monitor, 'web');
    const updateSchema = z.array(
      z.object({
        UpdateStatus: z.object({
          State: z.string(),
          StartedAt: timeSchema,
          CompletedAt: timeSchema.optional(),
        }),
      }),
    );
    let times: number[] = [];
    await swarm.eventually(
      async () => {
        const [web] = updateSchema.parse(await swarm.client.get('/services', signal));
        if (web?.UpdateStatus.State !== 'completed') return false;
        times = [web.UpdateStatus.StartedAt, web.UpdateStatus.CompletedAt ?? 0];
        return true;
      },
      { within: 60_000 },
    );
    t.true((times[1] ?? 0) - (times[0] ?? 0) >= 3_000, 'the monitoring time was kept');
    const state = await settled(swarm, ALL);
    t.is(state.running('web').nodes.length, 3, 'on nodes of every clock');
    for (const { Status, CreatedAt } of await taskRecords(swarm)) {
      t.true(Status.Timestamp >= CreatedAt && Status.Timestamp <= Date.now() + HOUR_MS / 60);
    }
  },
);

test.serial('a task that crash-loops says when it is tried next, and its history is bounded', async (t) => {
  const { swarm } = t.context;
  await swarm.deploy('bad', { more: ['--restart-delay', '10ms', '--entrypoint', '/none'] });
  await swarm.eventually((s) => s.tasks('bad').errors.some((text) => text.startsWith('next try at ')), {
    within: 60_000,
  });
  const listed = await swarm.docker('service', 'ps', '--no-trunc', 'bad');
  t.regex(listed, /executable file not found/);
  t.true((await swarm.state()).tasks('bad').count <= 1 + 5 + 1);
  await swarm.docker(
    'service',
    'update',
    '--quiet',
    '--detach',
    '--entrypoint',
    '/bin/busybox httpd -f',
    'bad',
  );
  await settled(swarm, { ...ALL, bad: 1 });
  await swarm.docker('service', 'rm', 'bad');
  await settled(swarm, ALL);
});

test.serial(
  'a machine whose address changes is found at the new one: nothing is moved, and its networks follow',
  async (t) => {
    const { swarm } = t.context;
    const [before, said] = [await lifeLines(swarm.layout), await verdicts(swarm)];
    const node = swarm.node('a1');
    for (const [old, next] of [
      [node.address, node.address.replace(/\d+$/, '201')],
      [node.address.replace(/\d+$/, '201'), node.address],
    ] as const) {
      const steps = [`addr del ${old}/24 dev eth0`, `addr add ${next}/24 dev eth0`];
      for (const step of steps) await node.run('ip', ...step.split(' '));
      await node.run('ip', 'route', 'replace', 'default', 'via', next.replace(/\d+$/, '1'));
      await swarm.eventually(async () => {
        const { Status } = await nodeRecord(swarm, 'a1');
        return Status.State === 'ready' && Status.Addr === next;
      });
      await settled(swarm, ALL);
      const live = await containersOf(swarm.layout, await swarm.state(), 'web');
      for (const from of live)
        for (const address of await addressesOn(swarm, 'front')) await reaches(swarm, from, address);
      t.regex(await swarm.node('a2').curl(`http://${next}:8080/cgi-bin/index.cgi`), /you are/);
    }
    t.deepEqual(await lifeLines(swarm.layout), before);
    t.is(await verdicts(swarm), said, 'it was not called down');
  },
);

test.serial(
  'the power goes everywhere at once: exactly the desired runs again, with addresses of its own',
  async (t) => {
    const { swarm } = t.context;
    await powerOff(swarm);
    t.deepEqual(await lifeLines(swarm.layout), []);
    await powerOn(swarm);
    const state = await settled(swarm, ALL);
    const addresses = new Map<string, string>();
    for (const task of await taskRecords(swarm)) {
      if (task.DesiredState !== 'running') continue;
      const own = task.NetworksAttachments?.find(({ Network }) => Network.Spec.Name === 'front');
      addresses.set(task.ID, own?.Addresses[0]?.split('/')[0] ?? 'none');
    }
    t.is(new Set(addresses.values()).size, 6, 'no address twice');
    const live = await containersOf(swarm.layout, state, 'web');
    for (const [i, task] of state.running('web').tasks.entries()) {
      const container = live[i];
      if (container === undefined) throw new Error('no container');
      const shown = await inContainer(container, 'ip -4 -o addr');
      t.true(shown.includes(` ${addresses.get(task.ID)}/`), `${task.ID} has ${shown}`);
    }
    for (const node of swarm.nodes)
      t.regex(await node.curl(`http://${node.address}:8080/cgi-bin/index.cgi`), /you are/);
  },
);
