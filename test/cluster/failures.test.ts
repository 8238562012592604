/** Nodes are cut off and processes are killed; what is desired runs in the end, just that. The kernel is asked. */
import anyTest, { type TestFn } from 'ava';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { containersOf, liveContainers } from '../harness/containers.ts';
import { QUICK, settled } from '../harness/settled.ts';

const test = anyTest as TestFn<{ swarm: TestCluster }>;

test.before(async (t) => {
  const swarm = await cluster().manager().agents(3).up();
  t.context.swarm = swarm;
  await swarm.deploy('web', { replicas: 6, ports: ['8080:80'], more: QUICK });
  await settled(swarm, { web: 6 });
});

test.after.always(async (t) => {
  await t.context.swarm?.[Symbol.asyncDispose]();
});

test.serial(
  'a node that is cut off: its tasks run elsewhere; once it is back, exactly what is desired',
  async (t) => {
    const { swarm } = t.context;
    const before = await liveContainers(swarm.layout);
    await swarm.node('a2').partition();
    const cut = await swarm.eventually((s) => s.running('web').notOn('a2').count === 6);
    t.is(cut.node('a2'), 'down');
    const during = [...(await liveContainers(swarm.layout)).values()];
    t.is(
      during.filter(({ hostname }) => hostname === 'a2').length,
      2,
      'nobody can stop what can not be reached',
    );
    t.is(during.length, 8);
    await swarm.node('a2').heal();
    await settled(swarm, { web: 6 });
    const after = await liveContainers(swarm.layout);
    const stayed = [...before.values()].filter(({ hostname }) => hostname !== 'a2');
    for (const { id, startTime } of stayed)
      t.is(after.get(id)?.startTime, startTime, 'nobody else was touched');
    t.deepEqual(
      [...after.values()].filter(({ hostname }) => hostname === 'a2'),
      [],
    );
  },
);

test.serial('a manager that is killed while it scales: no task too many, none missing', async (t) => {
  const { swarm } = t.context;
  await swarm.docker('service', 'scale', '--detach', 'web=12');
  await swarm.manager.crash();
  const state = await settled(swarm, { web: 12 });
  const slots = state.running('web').tasks.map(({ Slot }) => Slot);
  t.is(new Set(slots).size, 12, 'a task a slot');
  t.true(state.running('web').nodes.includes('a2'), 'the node that came back takes tasks again');
});

test.serial('etcd is killed: what runs runs on, and what is asked for then is done', async (t) => {
  const { swarm } = t.context;
  const before = [...(await liveContainers(swarm.layout)).keys()];
  await swarm.etcd.kill();
  await swarm.eventually(async () => {
    await swarm.docker('service', 'scale', '--detach', 'web=6');
    return true;
  });
  await settled(swarm, { web: 6 });
  const after = [...(await liveContainers(swarm.layout)).keys()];
  t.true(
    after.every((id) => before.includes(id)),
    'scaling down starts nothing',
  );
});

test.serial(
  'the manager is killed while a node is cut off: both come back to exactly what is desired',
  async (t) => {
    const { swarm } = t.context;
    const victim = (await swarm.state()).running('web').nodes[0] ?? '';
    await swarm.node(victim).partition();
    await swarm.manager.crash();
    await swarm.eventually((s) => s.running('web').notOn(victim).count === 6, { within: 60_000 });
    t.is((await swarm.state()).node(victim), 'down');
    await swarm.node(victim).heal();
    await settled(swarm, { web: 6 });
  },
);

test.serial('invariant 6: a monitor’s death fails its own task and no other', async (t) => {
  const { swarm } = t.context;
  const before = await liveContainers(swarm.layout);
  const [victim] = await containersOf(swarm.layout, await swarm.state(), 'web');
  if (victim === undefined) throw new Error('no container');
  process.kill(victim.monitorPid, 'SIGKILL');
  const failed = await swarm.eventually((s) =>
    s
      .tasks('web')
      .in('failed')
      .errors.some((text) => /monitor/.test(text)),
  );
  const task = failed
    .tasks('web')
    .tasks.find(({ Status }) => Status.ContainerStatus?.ContainerID === victim.id);
  t.is(task?.Status.State, 'failed');
  await settled(swarm, { web: 6 });
  const after = await liveContainers(swarm.layout);
  t.false(after.has(victim.id));
  const others = [...before.values()].filter(({ id }) => id !== victim.id);
  t.is(others.length, 5);
  for (const { id, startTime } of others) t.is(after.get(id)?.startTime, startTime);
});

test.serial(
  'a container of a service that was removed while its agent was dead is stopped on its return',
  async (t) => {
    const { swarm } = t.context;
    await swarm.deploy('gone', { replicas: 3, more: QUICK });
    await settled(swarm, { web: 6, gone: 3 });
    const own = await containersOf(swarm.layout, await swarm.state(), 'gone');
    const [leftover] = own;
    if (leftover === undefined) throw new Error('no container');
    await swarm.node(leftover.hostname).kill();
    await swarm.docker('service', 'rm', 'gone');
    await swarm.eventually(async (s) => {
      const live = await liveContainers(swarm.layout);
      const elsewhere = own.filter(({ id, hostname }) => hostname !== leftover.hostname && live.has(id));
      return s.tasks('gone').count === 0 && elsewhere.length === 0 && s.node(leftover.hostname) === 'down';
    });
    t.true((await liveContainers(swarm.layout)).has(leftover.id));
    await swarm.node(leftover.hostname).restart();
    await settled(swarm, { web: 6 });
    t.false((await liveContainers(swarm.layout)).has(leftover.id));
  },
);
