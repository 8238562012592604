/** The design's invariants, as far as only a whole cluster can show them. The others' tests carry their numbers too. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { createEtcdClient } from '../../manager/store/etcd-client.ts';
import { prefixEnd } from '../../manager/store/keys.ts';
import { delay } from '../../shared/lib/abort.ts';
import { checkoutDir } from '../harness/peers.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { tlsOfEmbedded } from '../harness/etcd.ts';
import { containersOf, lifeLines, liveContainers } from '../harness/containers.ts';
import { QUICK, settled } from '../harness/settled.ts';

const test = anyTest as TestFn<{ swarm: TestCluster }>;
const signal = new AbortController().signal;
/** The manager's default. */
const NODE_DOWN_AFTER_MS = 2_000;

test.before(async (t) => {
  const swarm = await cluster().manager().agents(2).up();
  t.context.swarm = swarm;
  await swarm.deploy('web', { replicas: 4, ports: ['8080:80'], more: QUICK });
  await settled(swarm, { web: 4 });
});

test.after.always(async (t) => {
  await t.context.swarm?.[Symbol.asyncDispose]();
});

interface Held {
  readonly revision: string;
  readonly keys: readonly string[];
}

/** Asks the cluster's etcd past its manager. Keys are those that begin with `prefix`. */
async function askEtcd(swarm: TestCluster, verb: 'range' | 'deleteRange', prefix: string): Promise<Held> {
  const client = createEtcdClient({
    endpoints: [`https://127.0.0.1:${swarm.layout.etcdClientPort}`],
    tls: await tlsOfEmbedded(path.join(swarm.layout.stateDir, 'manager', 'etcd')),
  });
  try {
    const keys = { key: Buffer.from(prefix), range_end: prefixEnd(prefix) };
    if (verb === 'deleteRange') await client.kv.deleteRange(keys);
    const { header, kvs } = await client.kv.range({ ...keys, keys_only: true });
    return { revision: header.revision, keys: kvs.map((kv) => kv.key.toString()) };
  } finally {
    client.close();
  }
}

test.serial('invariant 10: an idle cluster writes nothing, while it hears its nodes', async (t) => {
  const { swarm } = t.context;
  // what a start or a test before left to be written is written by then: two equal readings, a while apart
  let before = '';
  await swarm.eventually(async () => {
    const now = (await askEtcd(swarm, 'range', '/shoal/')).revision;
    const same = now === before;
    before = now;
    await delay(500, signal);
    return same;
  });
  await delay(3 * NODE_DOWN_AFTER_MS, signal);
  const { revision, keys } = await askEtcd(swarm, 'range', '/shoal/');
  t.is(revision, before);
  t.true(keys.length > 0, 'the store is where we looked');
  const state = await swarm.state();
  t.deepEqual(
    state.nodes.map((node) => node.Status.State),
    ['ready', 'ready'],
    'a node that had not been heard all the time would be down',
  );
});

test.serial(
  'invariant 2: a task that ended is replaced and never run again, not by another agent either',
  async (t) => {
    const { swarm } = t.context;
    const [victim] = await containersOf(swarm.layout, await swarm.state(), 'web');
    if (victim === undefined) throw new Error('no container');
    process.kill(victim.pid, 'SIGKILL');
    const ended = await swarm.eventually(
      (s) => s.tasks('web').in('failed').count === 1 && s.running('web').count === 4,
    );
    const old = ended.tasks('web').in('failed').tasks[0];
    t.is(old?.Status.ContainerStatus?.ContainerID, victim.id);
    await swarm.node(victim.hostname).restart();
    await settled(swarm, { web: 4 });
    const after = await swarm.state();
    t.is(after.tasks('web').tasks.find(({ ID }) => ID === old?.ID)?.Status.State, 'failed');
    t.false((await liveContainers(swarm.layout)).has(victim.id));
  },
);

test.serial('invariant 12: losing etcd stops no manager and touches no container', async (t) => {
  const { swarm } = t.context;
  const [before, pid] = [await lifeLines(swarm.layout), swarm.manager.pid()];
  t.is(before.length, 4);
  await swarm.etcd.kill();
  t.is((await swarm.state()).services.length, 1, 'reads are answered meanwhile');
  await swarm.eventually(async () => {
    await swarm.docker('service', 'update', '--quiet', '--detach', '--label-add', 'after=etcd', 'web');
    return true;
  });
  await settled(swarm, { web: 4 });
  t.is(swarm.manager.pid(), pid);
  t.deepEqual(await lifeLines(swarm.layout), before);
});

test.serial('invariant 12: losing the leadership stops no manager and touches no container', async (t) => {
  const { swarm } = t.context;
  const [before, pid] = [await lifeLines(swarm.layout), swarm.manager.pid()];
  const { keys: held } = await askEtcd(swarm, 'range', '/shoal/v1-election/');
  t.is(held.length, 1, 'the only manager leads');
  await askEtcd(swarm, 'deleteRange', '/shoal/v1-election/');
  await swarm.docker('service', 'scale', '--detach', 'web=6');
  await settled(swarm, { web: 6 });
  const { keys: again } = await askEtcd(swarm, 'range', '/shoal/v1-election/');
  t.is(again.length, 1);
  t.not(again[0], held[0], 'it was elected anew');
  t.is(swarm.manager.pid(), pid);
  const after = await lifeLines(swarm.layout);
  for (const line of before) t.true(after.includes(line), (await swarm.state()).toString());
});

test('a test names each invariant of the design', async (t) => {
  const directory = `${checkoutDir()}/test`;
  const files = (await readdir(directory, { recursive: true })).filter((name) => name.endsWith('.test.ts'));
  const texts = await Promise.all(files.map((name) => readFile(`${directory}/${name}`, 'utf8')));
  const named = new Set(
    texts.flatMap((text) => [...text.matchAll(/'invariant (\d+): /g)].map((match) => match[1])),
  );
  t.deepEqual(
    [...named].toSorted((a, b) => Number(a) - Number(b)),
    Array.from({ length: 12 }, (_, i) => String(i + 1)),
  );
});
