/** A node is drained under load and comes back: requests are answered all the while, and its share of the tasks returns. */
import anyTest, { type TestFn } from 'ava';
import { z } from 'zod';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { liveContainers } from '../harness/containers.ts';
import { QUICK, settled } from '../harness/settled.ts';

const test = anyTest as TestFn<{ swarm: TestCluster }>;

const NODES = ['a1', 'a2', 'a3'];
const PORT = 8080;
const LEVELLED = ['--label', 'shoal.rebalance=1s', '--update-monitor', '500ms', '--update-parallelism', '2'];

test.before(async (t) => {
  const swarm = await cluster().manager().agents(3).up();
  t.context.swarm = swarm;
  await swarm.deploy('web', { replicas: 6, ports: [`${PORT}:80`], more: [...QUICK, ...LEVELLED] });
  await settled(swarm, { web: 6 });
});

test.after.always(async (t) => {
  await t.context.swarm?.[Symbol.asyncDispose]();
});

const ASKERS = 4;

/** Asks one node after the other, on a connection each, until told to stop; what went wrong is collected. */
async function keepAsking(swarm: TestCluster, first: number, until: AbortSignal) {
  const failed: string[] = [];
  let asked = first;
  while (!until.aborted) {
    const hostname = NODES[asked % NODES.length] ?? '';
    asked += 1;
    try {
      const headers = { connection: 'close' };
      const url = `http://${swarm.node(hostname).address}:${PORT}/`;
      const answer = await fetch(url, { headers, signal: AbortSignal.timeout(5_000) });
      await answer.text();
      if (!answer.ok) failed.push(`request ${asked} through ${hostname}: ${answer.status}`);
    } catch (error) {
      const cause = error instanceof Error ? `${error.message} ${String(error.cause ?? '')}` : String(error);
      failed.push(`request ${asked} through ${hostname}: ${cause}`);
    }
  }
  return { asked: asked - first, failed };
}

/** What was asked while `act` did its work. */
async function underLoad(swarm: TestCluster, act: () => Promise<unknown>) {
  const done = new AbortController();
  const askers = Array.from({ length: ASKERS }, (_asker, first) => keepAsking(swarm, first, done.signal));
  await act().finally(() => done.abort());
  const answers = await Promise.all(askers);
  return {
    asked: answers.reduce((sum, one) => sum + one.asked, 0),
    failed: answers.flatMap((one) => one.failed),
  };
}

const reportSchema = z.object({ Status: z.object({ State: z.string(), Timestamp: z.string() }) });

async function lastReport(swarm: TestCluster, taskId: string) {
  return reportSchema.parse((await swarm.api('GET', `/tasks/${taskId}`)).body).Status;
}

test.serial('a drain loses no request: each task serves elsewhere before it is stopped', async (t) => {
  const { swarm } = t.context;
  const before = (await swarm.state()).running('web').on('a2').tasks;
  t.is(before.length, 2);
  const { asked, failed } = await underLoad(swarm, async () => {
    await swarm.docker('node', 'update', '--availability', 'drain', 'a2');
    await swarm.eventually((s) => s.running('web').on('a2').count === 0, { within: 60_000 });
    await settled(swarm, { web: 6 });
  });
  t.log(`${asked} requests`);
  t.deepEqual(failed, []);
  const state = await swarm.state();
  for (const { ID, Slot } of before) {
    const next = state.running('web').tasks.find((task) => task.Slot === Slot);
    const served = await lastReport(swarm, next?.ID ?? '');
    const stopped = await lastReport(swarm, ID);
    t.is(`${served.State}, ${stopped.State}`, 'running, shutdown');
    t.true(Date.parse(served.Timestamp) < Date.parse(stopped.Timestamp), 'the next one served first');
  }
  const message = await swarm.docker('node', 'inspect', '--format', '{{.Status.Message}}', 'a2');
  t.is(message.trim(), 'drained');
  const left = [...(await liveContainers(swarm.layout)).values()].filter(({ hostname }) => hostname === 'a2');
  t.deepEqual(left, []);
});

test.serial('back again, the node gets its share, one task after the other and without a gap', async (t) => {
  const { swarm } = t.context;
  const { asked, failed } = await underLoad(swarm, async () => {
    await swarm.docker('node', 'update', '--availability', 'active', 'a2');
    await swarm.eventually(
      (s) => NODES.every((name) => s.running('web').on(name).count === 2) && s.running('web').count === 6,
      { within: 60_000 },
    );
  });
  t.log(`${asked} requests`);
  t.deepEqual(failed, []);
  await settled(swarm, { web: 6 });
});

test.serial('with no room elsewhere the tasks stay, and the client says why', async (t) => {
  const { swarm } = t.context;
  await swarm.docker('service', 'update', '--detach', '--replicas-max-per-node', '2', 'web');
  await swarm.docker('node', 'update', '--availability', 'drain', 'a2');
  await swarm.eventually(async () => {
    const errors = await swarm.docker(
      'node',
      'ps',
      '--no-trunc',
      '--format',
      '{{.CurrentState}} {{.Error}}',
      'a2',
    );
    return /Running .*its node is drained; its replacement \w+ finds no place: .*max replicas per node/.test(
      errors,
    );
  });
  const state = await swarm.state();
  t.is(state.running('web').on('a2').count, 2);
  const message = await swarm.docker('node', 'inspect', '--format', '{{.Status.Message}}', 'a2');
  t.is(message.trim(), 'draining: 2 tasks are still there');
  await swarm.docker('service', 'update', '--detach', '--label-add', 'shoal.drain=at-once', 'web');
  await swarm.eventually((s) => s.running('web').on('a2').count === 0);
});
