/** `shoal up` and `shoal down` as a user runs them, with everything that can be in their way. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import ava, { type ExecutionContext } from 'ava';
import { EXAMPLE_IMAGE } from '../../deploy/local/example-image.ts';
import { run } from '../../deploy/local/command.ts';
import { ensurePeers } from '../harness/peers.ts';
import { readMarker } from '../../deploy/local/cleanup.ts';
import { describeInventory, takeInventory } from '../../deploy/local/inventory.ts';
import { type Layout, makeLayout } from '../../deploy/local/layout.ts';
import { freePortBase } from '../../deploy/local/ports.ts';
import { clusterProcesses, signalProcess, waitGone } from '../../deploy/local/proc.ts';
import { CLI_PATH } from '../../deploy/local/project.ts';

const test = ava.serial;

const signal = new AbortController().signal;

interface Result {
  readonly code: number | null;
  readonly output: string;
}

async function shoal(...args: readonly string[]): Promise<Result> {
  const child = spawn(process.execPath, [CLI_PATH, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

/** A cluster's places, and its removal whatever the test does. */
async function place(t: ExecutionContext): Promise<{ layout: Layout; flags: readonly string[] }> {
  const name = `u${Math.random().toString(36).slice(2, 9)}`;
  const portBase = await freePortBase(31_000 - Math.floor(Math.random() * 900), 4);
  const layout = makeLayout({ name, portBase });
  t.teardown(async () => {
    await shoal('down', '--name', name);
    for (const directory of [layout.stateDir, layout.runDir])
      await rm(directory, { recursive: true, force: true });
  });
  return { layout, flags: ['--name', name, '--port-base', String(portBase), '--nodes', '2', '--no-example'] };
}

async function left(layout: Layout): Promise<string[]> {
  return describeInventory(await takeInventory(layout, signal));
}

test('up --detach returns with the cluster up, a second up is refused, down leaves nothing', async (t) => {
  const { layout, flags } = await place(t);
  const up = await shoal('up', '--detach', ...flags);
  t.is(up.code, 0, up.output);
  t.regex(up.output, /2 nodes joined and ready/);
  t.regex(up.output, /docker -H unix:\/\/\/run\/shoal-\w+\/shoal\.sock node ls/);
  const status = await shoal('status', '--name', layout.name);
  t.regex(status.output, /node-1 +ready[\s\S]*node-2 +ready/);
  const second = await shoal('up', ...flags);
  t.is(second.code, 1);
  t.regex(second.output, /is already up \(process \d+\): .*shoal down/);
  const down = await shoal('down', '--name', layout.name);
  t.is(down.code, 0, down.output);
  t.deepEqual(await left(layout), []);
});

test('directories of the user’s choosing: up and down touch only what is theirs', async (t) => {
  const { layout, flags } = await place(t);
  const own = await mkdtemp(path.join(os.tmpdir(), 'shoal-up-'));
  t.teardown(() => rm(own, { recursive: true, force: true }));
  const directories = ['--state-dir', path.join(own, 'state'), '--run-dir', path.join(own, 'run')];
  // somebody else's program that has the path among its arguments
  const bystander = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', path.join(own, 'state')]);
  t.teardown(() => bystander.kill());
  const up = await shoal('up', '--detach', ...flags, ...directories);
  t.is(up.code, 0, up.output);
  t.true(existsSync(path.join(own, 'run', 'shoal.sock')), up.output);
  const down = await shoal('down', '--name', layout.name, ...directories);
  t.is(down.code, 0, down.output);
  t.false(existsSync(path.join(own, 'state')));
  t.is(bystander.exitCode ?? bystander.signalCode, null);
});

test('after everything but the containers was killed, they go on, and down removes it all', async (t) => {
  const { layout, flags } = await place(t);
  t.is((await shoal('up', '--detach', ...flags)).code, 0);
  const port = await freePortBase(28_000 + Math.floor(Math.random() * 900), 1);
  await runService(layout, port);
  await killAll(layout);
  t.regex(await (await fetch(`http://localhost:${port}/`)).text(), /Hello from container/);
  const monitors = (await left(layout)).filter((line) => line.includes('shoal-monitor'));
  t.is(monitors.length, 4);
  t.not((await left(layout)).length, 0);
  const down = await shoal('down', '--name', layout.name);
  t.is(down.code, 0, down.output);
  t.deepEqual(await left(layout), []);
});

test('after everything was killed, up sweeps what was left and comes up', async (t) => {
  const { layout, flags } = await place(t);
  t.is((await shoal('up', '--detach', ...flags)).code, 0);
  await killAll(layout);
  const again = await shoal('up', '--detach', ...flags);
  t.is(again.code, 0, again.output);
  t.regex(again.output, /removed what an earlier run left/);
});

test('Ctrl-C removes a cluster in the foreground', async (t) => {
  const { layout, flags } = await place(t);
  const child = spawn(process.execPath, [CLI_PATH, 'up', ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  for await (const chunk of child.stdout) {
    output += String(chunk);
    if (output.includes('Ctrl-C removes it all')) break;
  }
  const closed = once(child, 'exit');
  child.kill('SIGINT');
  t.deepEqual(await closed, [0, null]);
  t.deepEqual(await left(layout), []);
});

test('a port that is taken is named, with what to do, and nothing is made', async (t) => {
  const { layout, flags } = await place(t);
  const server = createServer().listen(layout.managerPort, '0.0.0.0');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const up = await shoal('up', ...flags);
  t.is(up.code, 1);
  t.regex(
    up.output,
    new RegExp(`tcp port ${layout.managerPort} \\(the manager\\) is taken by .*--port-base`),
  );
  t.deepEqual(await left(layout), []);
});

test('a directory that up did not make is left alone by up and down', async (t) => {
  const { layout, flags } = await place(t);
  await mkdir(layout.stateDir, { recursive: true });
  const file = path.join(layout.stateDir, 'precious');
  await writeFile(file, 'x');
  for (const args of [
    ['up', ...flags],
    ['down', '--name', layout.name],
  ]) {
    const { code, output } = await shoal(...args);
    t.is(code, 1);
    t.regex(output, /was not made by 'shoal up'/);
    t.true(existsSync(file));
  }
});

/** Four replicas of the example's web server, published; resolves when all run and answer. */
async function runService(layout: Layout, port: number): Promise<void> {
  const { docker } = await ensurePeers();
  const host = ['-H', `unix://${layout.socket}`];
  const publish = ['--publish', `${port}:80`];
  const create = [
    'service',
    'create',
    '-q',
    '--no-resolve-image',
    '--replicas',
    '4',
    ...publish,
    EXAMPLE_IMAGE,
  ];
  await run(docker, [...host, ...create], signal);
  await run(docker, [...host, 'ps'], signal);
}

/** SIGKILL for every process of the cluster but monitors, its supervisor first: nobody cleans up. */
async function killAll(layout: Layout): Promise<void> {
  const marker = await readMarker(layout.runDir);
  if (marker === undefined) throw new Error('the cluster has no marker');
  process.kill(marker.ownerPid, 'SIGKILL');
  const all = (await clusterProcesses(layout.stateDir, layout.runDir)).filter(
    (info) => !info.command.startsWith('shoal-monitor'),
  );
  for (const info of all) await signalProcess(info, 'SIGKILL');
  await waitGone(all, 10_000);
}
