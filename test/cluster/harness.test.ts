/** The cluster under test survives what the harness does to it, and the harness leaves nothing behind. */
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import ava from 'ava';
import { describeInventory, takeInventory } from '../../deploy/local/inventory.ts';
import { cluster } from '../harness/cluster.ts';

const test = ava.serial;

const signal = new AbortController().signal;

test('a node that is cut off is down, and ready once it is connected again', async (t) => {
  await using swarm = await cluster().manager().agents(2).up();
  await swarm.eventually((s) => s.node('a1') === 'ready' && s.node('a2') === 'ready');
  await swarm.node('a2').partition();
  await swarm.eventually((s) => s.node('a2') === 'down' && s.node('a1') === 'ready');
  await swarm.node('a2').heal();
  await swarm.eventually((s) => s.node('a2') === 'ready');
  t.pass();
});

test('an agent that is killed stays dead until it is started; one that crashes is back by itself', async (t) => {
  await using swarm = await cluster().manager().agents(1).up();
  const node = swarm.node('a1');
  const first = node.pid;
  await node.kill();
  await swarm.eventually((s) => s.node('a1') === 'down');
  await node.restart();
  await swarm.eventually((s) => s.node('a1') === 'ready');
  const second = node.pid;
  t.not(second, first);
  await node.crash();
  await swarm.eventually((s) => s.node('a1') === 'ready' && node.pid !== undefined && node.pid !== second);
});

test('manager and etcd are killed, and the cluster answers again with the same nodes', async (t) => {
  await using swarm = await cluster().manager().agents(1).up();
  const before = (await swarm.state()).nodes.map((node) => node.ID);
  await swarm.manager.crash();
  await swarm.eventually((s) => s.node('a1') === 'ready');
  await swarm.etcd.kill();
  await swarm.eventually(async (s) => {
    const { status } = await swarm.api('POST', '/networks/create', { Name: 'after-etcd', Driver: 'overlay' });
    return s.node('a1') === 'ready' && (status === 201 || status === 409);
  });
  t.deepEqual(
    (await swarm.state()).nodes.map((node) => node.ID),
    before,
  );
});

test('leaving the scope removes every trace', async (t) => {
  const left = await (async () => {
    await using swarm = await cluster().manager().agents(2).up();
    const there = await takeInventory(swarm.layout, signal);
    t.true(there.processes.length >= 4); // manager, etcd, two agents
    t.true(there.netns.length >= 2);
    t.true(there.links.length >= 3);
    t.true(there.tables.length >= 1);
    // nobody else may get at what containers are made of
    for (const node of swarm.nodes) t.is((await stat(node.stateDir)).mode & 0o777, 0o700);
    return swarm.layout;
  })();
  t.deepEqual(describeInventory(await takeInventory(left, signal)), []);
  t.false(existsSync(left.stateDir));
});
