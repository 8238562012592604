/** An external etcd of three members and two managers on it: members die, a leader is deposed while it decides. */
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { ApiClient } from '../../deploy/cli/client.ts';
import { Child } from '../../deploy/local/child.ts';
import { CLI_PATH } from '../../deploy/local/project.ts';
import { delay } from '../../shared/lib/abort.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { ClusterState } from '../harness/cluster-state.ts';
import { lifeLines } from '../harness/containers.ts';
import { EtcdMembers } from '../harness/etcd-members.ts';
import { QUICK, settled } from '../harness/settled.ts';

const test = anyTest as TestFn<{ swarm: TestCluster; etcd: EtcdMembers; second: SecondManager }>;
const { signal } = new AbortController();

test.before(async (t) => {
  const etcd = await EtcdMembers.start();
  t.context.etcd = etcd;
  const swarm = await cluster().manager().managerArgs('--etcd', etcd.endpoints.join(',')).agents(2).up();
  t.context.swarm = swarm;
  await swarm.deploy('web', { replicas: 4, more: QUICK });
  await settled(swarm, { web: 4 });
});

test.after.always(async (t) => {
  await t.context.second?.process.stop();
  await t.context.swarm?.[Symbol.asyncDispose]();
  await t.context.etcd?.[Symbol.asyncDispose]();
});

/** Resolves once a write gets through. */
function written(swarm: TestCluster, label: string): Promise<unknown> {
  const update = ['service', 'update', '--quiet', '--detach', '--label-add', label, 'web'];
  return swarm.eventually(() => swarm.docker(...update).then(() => true), { within: 60_000 });
}

test.serial('etcd loses its leader: writes go on, no container notices', async (t) => {
  const { swarm, etcd } = t.context;
  const [before, pid] = [await lifeLines(swarm.layout), swarm.manager.pid()];
  const leader = await etcd.leader();
  await etcd.kill(leader);
  await written(swarm, 'after=leader');
  t.not(await etcd.leader(), leader);
  await settled(swarm, { web: 4 });
  t.deepEqual(await lifeLines(swarm.layout), before);
  await etcd.startAll();
  t.is(swarm.manager.pid(), pid);
});

test.serial(
  'all of etcd dies and comes back: reads are answered meanwhile, no container notices',
  async (t) => {
    const { swarm, etcd } = t.context;
    const [before, pid] = [await lifeLines(swarm.layout), swarm.manager.pid()];
    await etcd.killAll();
    t.is((await swarm.state()).running('web').count, 4);
    const refused = await swarm.api('POST', '/networks/create', { Name: 'x', Driver: 'overlay' });
    t.is(refused.status, 503);
    await etcd.startAll();
    await written(swarm, 'after=all');
    await settled(swarm, { web: 4 });
    t.is(swarm.manager.pid(), pid);
    t.deepEqual(await lifeLines(swarm.layout), before);
  },
);

interface SecondManager {
  readonly process: Child;
  readonly client: ApiClient;
  readonly logFile: string;
}

/** On the same machine and etcd, with ports and directories of its own. */
async function secondManager(swarm: TestCluster, etcd: EtcdMembers): Promise<SecondManager> {
  const { layout } = swarm;
  const stateDir = path.join(layout.stateDir, 'manager-2');
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  await copyFile(path.join(layout.stateDir, 'manager', 'data-key'), path.join(stateDir, 'data-key'));
  const socket = path.join(layout.runDir, 'second.sock');
  const logFile = path.join(layout.logDir, 'manager-2.log');
  // Nobody uses the ports of the embedded etcd.
  const address = `${swarm.machineAddress}:${layout.etcdClientPort}`;
  const args = [
    ...[CLI_PATH, 'manager', '--name', layout.name, '--socket', socket],
    ...['--state-dir', stateDir, '--run-dir', path.join(layout.runDir, 'manager-2')],
    ...['--listen', address, '--advertise', address, '--etcd', etcd.endpoints.join(',')],
  ];
  const process = new Child(
    { title: 'manager-2', args, logFile, stateDir: layout.stateDir },
    () => undefined,
  );
  process.start();
  const client = new ApiClient(socket);
  const serves = async (): Promise<boolean> =>
    (await client.send('GET', '/_ping', undefined, signal).catch(() => undefined))?.status === 200;
  await swarm.eventually(serves, { within: 60_000 });
  return { process, client, logFile };
}

test.serial(
  'a leader that stands still while it decides is deposed, and writes nothing afterwards',
  async (t) => {
    const { swarm, etcd } = t.context;
    const second = await secondManager(swarm, etcd);
    t.context.second = second;
    const pid = swarm.manager.pid();
    if (pid === undefined) throw new Error('no manager runs');
    const leads = async (file: string): Promise<boolean> => {
      const lines = (await readFile(file, 'utf8')).split('\n');
      const last = lines.findLast((line) => line.includes('"msg":"this manager leads'));
      return last !== undefined && !last.includes('leads no more');
    };
    const first = path.join(swarm.layout.logDir, 'manager.log');
    t.true(await leads(first));
    await swarm.docker('service', 'scale', '--detach', 'web=12');
    process.kill(pid, 'SIGSTOP');
    try {
      // It holds the lease no more, and nobody else is there to lead.
      const end = Date.now() + 60_000;
      while (!(await leads(second.logFile)) && Date.now() < end) await delay(200, signal);
      t.true(await leads(second.logFile));
      await scale(second.client, 3);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    const state = await settled(swarm, { web: 3 });
    t.is(new Set(state.running('web').tasks.map(({ Slot }) => Slot)).size, 3);
    t.false(await leads(first));
    t.is(swarm.manager.pid(), pid, 'it lost the leadership, not its life');
    const other = await ClusterState.read(second.client, signal);
    const ids = (s: ClusterState): string[] =>
      s
        .tasks('web')
        .tasks.map(({ ID }) => ID)
        .toSorted();
    t.deepEqual(ids(other), ids(await swarm.state()), 'both say the same');
    await swarm.docker('service', 'scale', '--detach', 'web=4');
    await settled(swarm, { web: 4 });
    await second.process.stop();
    await swarm.eventually(() => leads(first), { within: 60_000 });
  },
);

async function scale(client: ApiClient, replicas: number): Promise<void> {
  const service = (await client.get('/services/web', signal)) as {
    Version: { Index: number };
    Spec: { Mode: unknown };
  };
  const target = `/services/web/update?version=${service.Version.Index}`;
  const text = JSON.stringify({ ...service.Spec, Mode: { Replicated: { Replicas: replicas } } });
  const answer = await client.send('POST', target, { type: 'application/json', text }, signal);
  if (answer.status !== 200) throw new Error(JSON.stringify(answer));
}
