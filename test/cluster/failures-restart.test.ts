/** What was killed comes back before anybody calls it down: no container notices, and nothing is started anew. */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import anyTest, { type TestFn } from 'ava';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { containersOf, lifeLines } from '../harness/containers.ts';
import { redisImage } from '../images/images.ts';
import { QUICK, settled } from '../harness/settled.ts';
import { startTransfer, type Transfer } from '../harness/transfer.ts';

interface Context {
  swarm: TestCluster;
  echoes: ((text: string) => Promise<string>)[];
  transfer: Transfer;
}

const test = anyTest as TestFn<Context>;
const PORT = 9000;
const ALL = { web: 3, cache: 3 };
const PATIENT = { within: 60_000 };

test.before(async (t) => {
  const swarm = await cluster()
    .manager()
    .agents(3)
    .nodeDownAfter(120_000)
    .images(await redisImage())
    .up();
  t.context.swarm = swarm;
  await swarm.deploy('web', { replicas: 3, more: QUICK });
  await swarm.deploy('cache', { replicas: 3, image: 'redis:latest', ports: [`${PORT}:6379`], more: QUICK });
  await settled(swarm, ALL);
  t.context.transfer = await startTransfer(swarm, 'a1', 'a2');
  t.context.echoes = await Promise.all(swarm.nodes.map(({ address }) => openEcho(address)));
});

/** As /ca shows it. */
interface Authority {
  readonly Certificate: string;
  readonly Rotation?: { readonly Moved: number; readonly Waiting: readonly { readonly Hostname: string }[] };
}

const sockets: net.Socket[] = [];

test.after.always(async (t) => {
  for (const socket of sockets) socket.destroy();
  await t.context.swarm?.[Symbol.asyncDispose]();
});

/** A connection to the published port; until a redis listens (it has no health check), it is refused and tried again. */
async function connected(address: string): Promise<net.Socket> {
  const end = Date.now() + PATIENT.within;
  for (;;) {
    const socket = net.connect(PORT, address);
    sockets.push(socket);
    try {
      await once(socket, 'connect');
      socket.on('error', () => undefined); // the next question fails
      return socket;
    } catch (error) {
      if (Date.now() > end) throw error;
      await setTimeout(100);
    }
  }
}

/** A TCP connection to a redis through the published port, open over all of the tests; it says what it is told. */
async function openEcho(address: string): Promise<(text: string) => Promise<string>> {
  const socket = await connected(address);
  return async (text) => {
    const answer = once(socket, 'data', { signal: AbortSignal.timeout(10_000) }).catch((error: unknown) => {
      throw new Error(`${address} does not echo ${text}`, { cause: error });
    });
    socket.write(`ECHO ${text}\r\n`);
    const [data] = (await answer) as [Buffer];
    return data.toString('utf8').split('\r\n')[1] ?? '';
  };
}

test.serial(
  'invariant 6: agents are killed: no container notices, connections go on, the next agents adopt',
  async (t) => {
    const { swarm, echoes } = t.context;
    const before = await lifeLines(swarm.layout);
    t.is(before.length, 8);
    const tasks = (await swarm.state()).running('web').tasks.map(({ ID }) => ID);
    for (const echo of echoes) t.is(await echo('one'), 'one');
    await Promise.all(swarm.nodes.map((node) => node.kill()));
    t.deepEqual(await lifeLines(swarm.layout), before);
    for (const echo of echoes) t.is(await echo('two'), 'two');
    await Promise.all(swarm.nodes.map((node) => node.restart()));
    const state = await settled(swarm, ALL);
    t.deepEqual(
      state.running('web').tasks.map(({ ID }) => ID),
      tasks,
    );
    t.deepEqual(await lifeLines(swarm.layout), before);
    for (const echo of echoes) t.is(await echo('three'), 'three');
  },
);

test.serial('invariant 6: manager, etcd and agents are killed at once: no container notices', async (t) => {
  const { swarm, echoes, transfer } = t.context;
  const before = await lifeLines(swarm.layout);
  await Promise.all([swarm.manager.kill(), swarm.etcd.kill(), ...swarm.nodes.map((node) => node.kill())]);
  await transfer.goesOn();
  t.deepEqual(await lifeLines(swarm.layout), before);
  for (const echo of echoes) t.is(await echo('alone'), 'alone');
  for (const node of swarm.nodes) node.start();
  await Promise.all([swarm.manager.restart(), ...swarm.nodes.map((node) => node.restart())]);
  await settled(swarm, ALL);
  await transfer.goesOn();
  t.deepEqual(await lifeLines(swarm.layout), before, 'the transfer is still that one');
  for (const echo of echoes) t.is(await echo('together'), 'together');
});

test.serial('an agent that starts while no manager is there goes on with what it was told', async (t) => {
  const { swarm, echoes } = t.context;
  const before = await lifeLines(swarm.layout);
  await swarm.manager.kill();
  await swarm.node('a1').kill();
  swarm.node('a1').start();
  const end = Date.now() + PATIENT.within;
  while (!(await swarm.node('a1').isUp())) {
    if (Date.now() > end) throw new Error(`the agent does not come up\n${await swarm.logTails(10)}`);
  }
  t.deepEqual(await lifeLines(swarm.layout), before);
  for (const echo of echoes) t.is(await echo('unruled'), 'unruled');
  await swarm.manager.restart();
  await settled(swarm, ALL);
  t.deepEqual(await lifeLines(swarm.layout), before);
});

test.serial(
  'the CA is replaced, across deaths of an agent and the manager: no container notices, all have moved',
  async (t) => {
    const { swarm, echoes } = t.context;
    const before = await lifeLines(swarm.layout);
    const authority = async (): Promise<Authority> => (await swarm.api('GET', '/ca')).body as Authority;
    const old = (await authority()).Certificate;
    await swarm.node('a3').kill();
    t.is((await swarm.api('POST', '/ca/rotate', {})).status, 202);
    await swarm.eventually(async () => (await authority()).Rotation?.Moved === 2, PATIENT);
    t.deepEqual(
      (await authority()).Rotation?.Waiting.map(({ Hostname }) => Hostname),
      ['a3'],
    );
    await swarm.manager.restart();
    t.is((await authority()).Certificate, old);
    swarm.node('a3').start();
    await swarm.eventually(async () => (await authority()).Rotation === undefined, PATIENT);
    const { Certificate: root } = await authority();
    t.not(root, old);
    const trusted = async ({ stateDir }: { stateDir: string }): Promise<string> =>
      (JSON.parse(await readFile(path.join(stateDir, 'identity.json'), 'utf8')) as { ca: string }).ca;
    await swarm.eventually(
      async () => (await Promise.all(swarm.nodes.map(trusted))).every((ca) => ca === root),
      PATIENT,
    );
    await Promise.all(swarm.nodes.map((node) => node.restart()));
    await settled(swarm, ALL);
    t.deepEqual(await lifeLines(swarm.layout), before);
    for (const echo of echoes) t.is(await echo('moved'), 'moved');
  },
);

test.serial(
  'a container that ends while its agent is dead is reported by the next agent, with its exit code',
  async (t) => {
    const { swarm } = t.context;
    const [victim] = await containersOf(swarm.layout, await swarm.state(), 'web');
    if (victim === undefined) throw new Error('no container');
    const others = (await lifeLines(swarm.layout)).filter((line) => !line.startsWith(victim.id));
    const node = swarm.node(victim.hostname);
    await node.kill();
    process.kill(victim.pid, 'SIGKILL');
    await node.restart();
    const failed = await swarm.eventually((s) => s.tasks('web').in('failed').count > 0);
    const task = failed.tasks('web').in('failed').tasks[0];
    t.is(task?.Status.ContainerStatus?.ContainerID, victim.id);
    t.regex(task?.Status.Err ?? '', /non-zero exit \(137\)/);
    await settled(swarm, ALL);
    const after = await lifeLines(swarm.layout);
    for (const line of others) t.true(after.includes(line));
  },
);
