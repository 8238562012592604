/** depends_on through `shoal deploy`: the order in which services start, what a client sees of it, and what fails. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import ava, { type ExecutionContext } from 'ava';
import { CLI_PATH } from '../../deploy/local/project.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';

const test = ava.serial;

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function commandOf(
  t: ExecutionContext,
  swarm: TestCluster,
  compose: string,
  ...more: string[]
): Promise<string[]> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-depends-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, 'compose.yaml');
  await writeFile(file, compose);
  return [CLI_PATH, 'deploy', '-c', file, '--socket', swarm.layout.socket, ...more, 'shop'];
}

async function deploy(
  t: ExecutionContext,
  swarm: TestCluster,
  compose: string,
  ...more: string[]
): Promise<Result> {
  const args = await commandOf(t, swarm, compose, ...more);
  return new Promise((resolve) => {
    execFile(process.execPath, args, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

/** Ctrl-C once it waits. Resolves with the exit code. */
async function interrupted(t: ExecutionContext, swarm: TestCluster, compose: string): Promise<number | null> {
  const child = spawn(process.execPath, await commandOf(t, swarm, compose), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  // It goes on to read: a client that can not write has failed.
  await new Promise<void>((resolve) => {
    child.stdout.on('data', (chunk) => String(chunk).includes('waits for service') && resolve());
    child.stdout.once('end', resolve);
  });
  child.kill('SIGINT');
  return child.exitCode ?? once(child, 'exit').then(([code]) => code as number | null);
}

const service = (script: string, more = ''): string => `
    image: shoal/example:latest
    stop_grace_period: 1s
    entrypoint: [/bin/sh, -c, "${script}"]
    ${more}`;

/** `migrate` exits with this code; db is healthy once the node's file `gate` is there. */
const stack = (exit: number, gate: string): string => `
services:
  web:${service('exec sleep 1000', 'deploy: {replicas: 2}')}
    depends_on:
      migrate: {condition: service_completed_successfully}
      db: {condition: service_started, restart: true}
  migrate:${service(`exit ${exit}`)}
    depends_on: {db: {condition: service_healthy}}
  db:${service('exec sleep 1000', `volumes: ['${gate}:/gate']`)}
    healthcheck: {test: [CMD, test, -f, /gate/open], interval: 300ms, retries: 1000}
`;

async function gateOf(t: ExecutionContext): Promise<{ directory: string; open: () => Promise<void> }> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-gate-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return { directory, open: () => writeFile(path.join(directory, 'open'), '') };
}

test('services start when what they depend on is healthy and complete, and a client sees what they wait for', async (t) => {
  await using swarm = await cluster().manager().agents(2).up();
  const gate = await gateOf(t);
  const deploying = deploy(t, swarm, stack(0, gate.directory));
  await swarm.eventually(async () => {
    const shown = await swarm.docker('service', 'ps', '--no-trunc', '--format', '{{.Error}}', 'shop_web');
    return shown.includes('waits for service shop_migrate to complete (0 of 1)');
  });
  await swarm.eventually(async () => (await swarm.state()).tasks('shop_db').count === 1);
  t.is(
    (await swarm.state()).tasks('shop_migrate').tasks.filter((task) => task.NodeID !== undefined).length,
    0,
  );
  const impatient = await deploy(t, swarm, stack(0, gate.directory), '--timeout', '2');
  t.is(impatient.code, 1);
  t.regex(
    impatient.stderr,
    /not converged within 2 s \(it goes on\):[\s\S]*shop_migrate: waits for service shop_db to be healthy/,
  );
  t.is((await deploy(t, swarm, stack(0, gate.directory), '--detach')).code, 0);
  t.is(await interrupted(t, swarm, stack(0, gate.directory)), 130);
  await gate.open();
  const { code, stdout, stderr } = await deploying;
  t.is(code, 0, stderr);
  t.regex(stdout, /shop_migrate: waits for service shop_db to be healthy \(0 of 1\)/);
  const state = await swarm.state();
  const [migrated] = state.tasks('shop_migrate').tasks;
  t.is(migrated?.Status.State, 'complete');
  const running = state.running('shop_web').tasks;
  t.is(running.length, 2);
  const since = async (id = ''): Promise<number> => {
    return Date.parse(
      (await swarm.docker('inspect', '--format', '{{.Status.Timestamp}}', id)).split(' +')[0] ?? '',
    );
  };
  const completedAt = await since(migrated?.ID);
  for (const { ID } of running) t.true((await since(ID)) >= completedAt);
  const before = running.map(({ ID }) => ID);

  // What runs is not held back again, and is replaced with a dependency that says so.
  const changed = stack(0, gate.directory).replace('\n  db:', '\n  db:\n    environment: {A: b}');
  const again = await deploy(t, swarm, changed);
  t.is(again.code, 0, again.stderr);
  await swarm.eventually((s) => {
    const now = s.running('shop_web').tasks.map(({ ID }) => ID);
    return now.length === 2 && now.every((id) => !before.includes(id));
  });
});

test('a dependency that failed for good is named, and the deployment ends non-zero', async (t) => {
  await using swarm = await cluster().manager().agents(1).up();
  const gate = await gateOf(t);
  await gate.open();
  const { code, stderr } = await deploy(t, swarm, stack(3, gate.directory));
  t.is(code, 1);
  t.regex(
    stderr,
    /shop_migrate, which failed: task: non-zero exit \(3\)|shop_migrate: its task failed and is not restarted: task: non-zero exit \(3\)/,
  );
  t.is((await swarm.state()).running('shop_web').count, 0);
  // The next deployment, with the mistake mended, goes on from there.
  const mended = await deploy(t, swarm, stack(0, gate.directory));
  t.is(mended.code, 0, mended.stderr);
  t.is((await swarm.state()).running('shop_web').count, 2);
  const cycle = await deploy(
    t,
    swarm,
    stack(0, gate.directory).replace('\n  db:', '\n  db:\n    depends_on: [web]'),
  );
  t.is(cycle.code, 1);
  t.regex(
    cycle.stderr,
    /compose\.yaml:\d+:\d+: .*services wait for one another: web -> migrate -> db -> web/,
  );
});
