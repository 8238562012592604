/** Single containers through what goes wrong: agents and managers killed between any two steps, nodes that are away. */
import { readdir, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import anyTest, { type TestFn } from 'ava';
import { cgroupDirectories } from '../../deploy/local/cgroups.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { lifeLines, liveContainers } from '../harness/containers.ts';
import { busyboxImage } from '../images/images.ts';

const test = anyTest as TestFn<{ swarm: TestCluster }>;
const PATIENT = { within: 60_000 };

test.before(async (t) => {
  t.context.swarm = await cluster()
    .manager()
    .agents(3)
    .images(await busyboxImage())
    .up();
});

test.after.always(async (t) => {
  await t.context.swarm?.[Symbol.asyncDispose]();
});

/** The container's node. */
async function nodeOf(swarm: TestCluster, name: string): Promise<string> {
  const id = await field(swarm, name, '.Node.ID');
  return (await swarm.state()).hostname(id);
}

async function field(swarm: TestCluster, name: string, path: string): Promise<string> {
  return (await swarm.docker('inspect', '--format', `{{${path}}}`, name)).trim();
}

async function status(swarm: TestCluster, name: string): Promise<string> {
  return field(swarm, name, '.State.Status');
}

/** Removes a cgroup once its last process is gone. */
async function emptied(directory: string): Promise<void> {
  for (let i = 0; i < 200; i += 1) {
    try {
      return await rmdir(directory);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EBUSY')) throw error;
      await delay(50);
    }
  }
  throw new Error(`${directory} stays busy`);
}

/** Says that it was asked to end, and does not. */
const STUBBORN = 'trap "echo asked" TERM; echo ready; while :; do sleep 0.2; done';
/** Notes each run in a file of the container's own, and waits. */
const COUNTING = ['busybox', 'sh', '-c', 'echo run >>/runs; wc -l </runs; exec sleep 1000'];

test.serial('the agent is killed between create and start, and while it runs', async (t) => {
  const { swarm } = t.context;
  await swarm.docker('create', '--name', 'one', ...COUNTING);
  const node = swarm.node(await nodeOf(swarm, 'one'));
  await node.restart();
  t.is(await status(swarm, 'one'), 'created');
  await swarm.docker('start', 'one');
  const before = await lifeLines(swarm.layout);
  t.is(before.length, 1);
  await node.restart();
  t.deepEqual(await lifeLines(swarm.layout), before, 'the container did not notice');
  t.is(await status(swarm, 'one'), 'running');
  await swarm.docker('stop', '--time', '0', 'one');
  t.is(await field(swarm, 'one', '.State.ExitCode'), '137');
  await node.restart();
  t.is(await field(swarm, 'one', '.State.ExitCode'), '137');
  await swarm.docker('start', 'one');
  t.is(await swarm.docker('logs', 'one'), '1\n2\n', 'the files and the log are those of its first run');
  await swarm.docker('rm', '-f', 'one');
  t.deepEqual(await readdir(path.join(node.stateDir, 'containers')), []);
});

test.serial('what a health check found outlives the agent', async (t) => {
  const { swarm } = t.context;
  // Once healthy it is not looked at again for an hour: an agent that had forgotten would have nothing to say.
  const check = ['--health-cmd', 'echo well', '--health-interval', '1h', '--health-start-period', '1h'];
  await swarm.docker('run', '-d', '--name', 'well', ...check, ...COUNTING);
  const health = () => field(swarm, 'well', '.State.Health.Status');
  await swarm.eventually(async () => (await health()) === 'healthy', PATIENT);
  const log = await field(swarm, 'well', 'json .State.Health');
  const node = swarm.node(await nodeOf(swarm, 'well'));
  await node.restart();
  await swarm.eventually(async () => (await status(swarm, 'well')) === 'running', PATIENT);
  t.is(await field(swarm, 'well', 'json .State.Health'), log);
  t.like(JSON.parse(log), { Status: 'healthy', FailingStreak: 0, Log: [{ ExitCode: 0, Output: 'well\n' }] });
  await swarm.docker('rm', '-f', 'well');
});

test.serial('the manager is killed between create and start, and while it runs', async (t) => {
  const { swarm } = t.context;
  await swarm.docker('create', '--name', 'two', '--restart', 'always', ...COUNTING);
  await swarm.manager.restart();
  // Its nodes are on their way back: nobody has to wait for them by himself.
  await swarm.docker('run', '--rm', 'busybox', 'true');
  t.is(await status(swarm, 'two'), 'created');
  await swarm.docker('start', 'two');
  const before = await lifeLines(swarm.layout);
  await swarm.manager.restart();
  t.deepEqual(await lifeLines(swarm.layout), before);
  t.is((await swarm.docker('exec', 'two', 'echo', 'here')).trim(), 'here');
  await swarm.manager.restart();
  await swarm.docker('kill', 'two');
  t.is(await field(swarm, 'two', '.State.Status'), 'exited');
  await swarm.docker('rm', 'two');
});

test.serial('a machine restarts: policies decide, the files are still there', async (t) => {
  const { swarm } = t.context;
  const on = ['--label', 'com.docker.swarm.constraints=["node.hostname==a2"]'];
  await swarm.docker('run', '-d', '--name', 'stays', ...on, '--restart', 'unless-stopped', ...COUNTING);
  await swarm.docker('run', '-d', '--name', 'ends', ...on, ...COUNTING);
  await swarm.docker('create', '--name', 'waits', ...on, ...COUNTING);
  const node = swarm.node('a2');
  await node.kill();
  const lost = [...(await liveContainers(swarm.layout)).values()].filter(({ hostname }) => hostname === 'a2');
  t.is(lost.length, 2);
  for (const { pid, monitorPid } of lost) {
    process.kill(monitorPid, 'SIGKILL');
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it goes with its monitor
    }
  }
  // What a machine loses: its run directory and its cgroups.
  await rm(path.join(node.runDir, 'c'), { recursive: true, force: true });
  for (const directory of await cgroupDirectories(swarm.layout.cgroup)) {
    if (lost.some(({ id }) => directory.endsWith(id))) await emptied(directory);
  }
  await node.restart();
  await swarm.eventually(async () => (await swarm.docker('logs', 'stays')) === '1\n2\n', PATIENT);
  t.deepEqual(
    [await status(swarm, 'stays'), await status(swarm, 'ends'), await status(swarm, 'waits')],
    ['running', 'exited', 'created'],
  );
  t.is(await field(swarm, 'stays', '.RestartCount'), '1');
  t.is(await field(swarm, 'ends', '.State.ExitCode'), '255');
  await swarm.docker('start', 'ends', 'waits');
  t.is(await swarm.docker('logs', 'ends'), '1\n2\n');
  await swarm.docker('rm', '-f', 'stays', 'ends', 'waits');
});

test.serial('a node is down: its container is listed as such, and can be removed all the same', async (t) => {
  const { swarm } = t.context;
  await swarm.docker('run', '-d', '--name', 'away', '--restart', 'always', ...COUNTING);
  const hostname = await nodeOf(swarm, 'away');
  const node = swarm.node(hostname);
  await node.partition();
  await swarm.eventually((s) => s.node(hostname) === 'down', PATIENT);
  const listed = await swarm.docker(
    'ps',
    '-a',
    '--filter',
    'name=away',
    '--format',
    '{{.State}} {{.Status}}',
  );
  t.is(listed.trim(), 'dead Dead (its node is down)');
  t.is(await status(swarm, 'away'), 'dead');
  await t.throwsAsync(swarm.docker('rm', 'away'), { message: /cannot remove container/ });
  await t.throwsAsync(swarm.docker('exec', 'away', 'true'), { message: /not connected|is not running/ });
  await swarm.docker('rm', '-f', 'away');
  t.is((await swarm.docker('ps', '-aq')).trim(), '');
  t.is((await lifeLines(swarm.layout)).length, 1, 'its node does not know yet');
  await node.heal();
  await swarm.eventually(async () => (await lifeLines(swarm.layout)).length === 0, PATIENT);
  await swarm.eventually(
    async () => (await readdir(path.join(node.stateDir, 'containers'))).length === 0,
    PATIENT,
  );
});

test.serial('stopped while its node is away: it stops when that is back, and stays so', async (t) => {
  const { swarm } = t.context;
  await swarm.docker('run', '-d', '--name', 'later', '--restart', 'always', ...COUNTING);
  const hostname = await nodeOf(swarm, 'later');
  await swarm.node(hostname).partition();
  await swarm.eventually((s) => s.node(hostname) === 'down', PATIENT);
  await t.throwsAsync(swarm.docker('restart', 'later'), { message: /is not connected/ });
  await swarm.docker('stop', 'later');
  await swarm.node(hostname).heal();
  await swarm.eventually(async () => (await lifeLines(swarm.layout)).length === 0, PATIENT);
  await swarm.eventually(async () => (await status(swarm, 'later')) === 'exited', PATIENT);
  await swarm.docker('start', 'later');
  t.is(await status(swarm, 'later'), 'running');
  await swarm.docker('rm', '-f', 'later');
});

test.serial('the agent is killed while a start is on its way: it is started once it is back', async (t) => {
  const { swarm } = t.context;
  await swarm.docker('create', '--name', 'mid', ...COUNTING);
  const node = swarm.node(await nodeOf(swarm, 'mid'));
  await node.kill();
  const started = swarm.docker('start', 'mid').then(
    () => true,
    () => false,
  );
  await node.restart();
  // Refused because the node was away, or done: never something in between.
  if (await started) t.is(await status(swarm, 'mid'), 'running');
  else await swarm.docker('start', 'mid');
  await swarm.eventually(async () => (await lifeLines(swarm.layout)).length === 1, PATIENT);
  t.is(await swarm.docker('logs', 'mid'), '1\n');
  await swarm.docker('rm', '-f', 'mid');
  await swarm.eventually(async () => (await lifeLines(swarm.layout)).length === 0, PATIENT);
});

test.serial(
  'the agent is killed while a container has its time to stop: it is stopped once it is back',
  async (t) => {
    const { swarm } = t.context;
    await swarm.docker('run', '-d', '--name', 'slow', '--stop-timeout', '2', 'busybox', 'sh', '-c', STUBBORN);
    await swarm.eventually(async () => (await swarm.docker('logs', 'slow')).includes('ready'), PATIENT);
    const node = swarm.node(await nodeOf(swarm, 'slow'));
    const stopped = swarm.docker('stop', '--time', '600', 'slow');
    await swarm.eventually(async () => (await swarm.docker('logs', 'slow')).includes('asked'), PATIENT);
    await node.kill();
    await node.restart();
    await stopped;
    // The command ends, too, when its node is called down before the agent is back.
    await swarm.eventually(async () => (await status(swarm, 'slow')) === 'exited', PATIENT);
    t.is(await field(swarm, 'slow', '.State.ExitCode'), '137');
    await swarm.docker('rm', 'slow');
    await swarm.eventually(async () => (await lifeLines(swarm.layout)).length === 0, PATIENT);
  },
);
