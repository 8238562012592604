/** Three managers and their nodes come from the release before to this one under load, machine by machine, by one command. */
import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import test from 'ava';
import { CLI_PATH } from '../../deploy/local/project.ts';
import { delay } from '../../shared/lib/abort.ts';
import { VERSION } from '../../shared/lib/version.ts';
import { SCHEMA_VERSION } from '../../manager/store/stored-schema.ts';
import { makeConfigs } from '../harness/api-load.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { lifeLines } from '../harness/containers.ts';
import { doctoredRelease, versionBefore } from '../harness/doctored.ts';
import { QUICK, settled } from '../harness/settled.ts';

const { signal } = new AbortController();
const OLD = versionBefore();
/** What the new release stores otherwise. */
const PLANTED = `{
  what: 'planted',
  rewrite: (table, _key, value) => (table === 'services' && !('planted' in value) ? { ...value, planted: true } : value),
  revert: (table, _key, value) => {
    if (table !== 'services') return value;
    const { planted: _, ...rest } = value;
    return rest;
  },
}`;

interface Ran {
  readonly code: number;
  readonly text: string;
}

function shoal(...args: readonly string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI_PATH, ...args], { timeout: 280_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), text: stdout + stderr }),
    );
  });
}

/** The processes of the machine with this address: their titles and present pids. */
function processesAt(swarm: TestCluster, address: string): [string, () => number | undefined][] {
  const nodes = swarm.nodes.filter((node) => node.address === address);
  const own: [string, () => number | undefined][] = nodes.map((node) => [node.hostname, () => node.pid]);
  if (address === swarm.machineAddress) own.push(['manager', swarm.manager.pid]);
  for (const one of swarm.others)
    if (one.address.startsWith(`${address}:`)) own.push([one.hostname, () => one.pid]);
  return own;
}

/** What the installation of a release comes to on a machine: another program, and units that are started again. */
async function install(swarm: TestCluster, address: string, upgraded: Set<string>): Promise<void> {
  for (const [title, pid] of processesAt(swarm, address)) {
    upgraded.add(title);
    const old = pid();
    if (old === undefined) throw new Error(`${title} does not run`);
    process.kill(old, 'SIGTERM');
    while (pid() === undefined || pid() === old) await delay(50, signal);
  }
}

test('an upgrade from the release before, under load: it stops where a machine fails, and goes on from there', async (t) => {
  const upgraded = new Set<string>();
  const programs = { old: '', new: '' };
  await using swarm = await cluster()
    .managers(3)
    .agents(2)
    .onMachine()
    .prepare(async ({ stateDir }) => {
      programs.old = await doctoredRelease(path.join(stateDir, 'old'), { version: OLD });
      programs.new = await doctoredRelease(path.join(stateDir, 'new'), {
        version: VERSION,
        migration: PLANTED,
      });
    })
    .program((title) => (upgraded.has(title) ? programs.new : programs.old))
    .up();
  await swarm.deploy('web', { replicas: 4, more: QUICK });
  await settled(swarm, { web: 4 });
  const before = await lifeLines(swarm.layout);

  const asked: string[] = [];
  let failing: number | undefined = 2;
  const installer = createServer((request, response) => {
    const address = request.url?.slice(1) ?? '';
    asked.push(address);
    const fails = asked.length === failing;
    const done = fails ? Promise.reject(new Error('no space left')) : install(swarm, address, upgraded);
    done.then(
      () => response.end(),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  const door = path.join(swarm.layout.stateDir, 'installer');
  installer.listen(door);
  t.teardown(() => installer.close());
  const at = ['--socket', swarm.layout.socket];
  const run = `curl -fsS --unix-socket ${door} "http://x/$SHOAL_UPGRADE_ADDRESS"`;
  const upgrade = ['upgrade', '--run', run, '--to', VERSION, ...at];
  const status = async (socket: string): Promise<string> => (await shoal('status', '--socket', socket)).text;

  const far = await shoal('upgrade', '--run', run, '--to', '9.0.0', ...at);
  t.is(far.code, 1);
  t.regex(far.text, /more than one minor release from 9\.0\.0/);
  t.is(asked.length, 0);
  const clients = [swarm.client, ...swarm.others.map(({ client }) => client)];
  const over = new AbortController();
  t.teardown(() => over.abort());
  const load = ['x', 'y'].map((name) => makeConfigs(clients, name, over.signal));

  const stopped = await shoal(...upgrade);
  t.is(stopped.code, 1, stopped.text);
  t.regex(
    stopped.text,
    /its upgrade ended with exit code 22\. The upgrade has stopped: 1 of 4 machines have /,
  );
  failing = undefined;
  const first = swarm.others.find(({ hostname }) => upgraded.has(hostname));
  const mixed = await status(first?.client.socket ?? '');
  t.regex(mixed, new RegExp(`versions +warning +${VERSION}, but ${OLD} on manager `.replaceAll('.', '\\.')));
  t.regex(
    mixed,
    new RegExp(`stored data +warning +version ${SCHEMA_VERSION}, becomes ${SCHEMA_VERSION + 1} once`),
  );
  await swarm.docker('service', 'scale', '--detach', 'web=5');
  await settled(swarm, { web: 5 });

  const finished = await shoal(...upgrade);
  t.is(finished.code, 0, finished.text);
  t.regex(finished.text, new RegExp(`all have ${VERSION} \\(3 upgraded\\)`));
  over.abort();
  t.deepEqual((await Promise.all(load)).flat(), [], 'a client that tries once more sees no error');
  t.is(new Set(asked).size, 4);
  t.is(asked.length, 5, 'each machine once, and the one that failed twice');
  const after = await status(swarm.layout.socket);
  t.regex(after, new RegExp(`versions +ok +${VERSION}`));
  t.regex(after, new RegExp(`stored data +ok +version ${SCHEMA_VERSION + 1}`));
  await settled(swarm, { web: 5 });
  const lives = await lifeLines(swarm.layout);
  t.true(
    before.every((line) => lives.includes(line)),
    'no container noticed',
  );
  const states = [
    path.join(swarm.layout.stateDir, 'manager'),
    ...swarm.others.map((one) => path.join(one.stateDir, 'state')),
  ];
  const backups = await Promise.all(states.map((one) => readdir(path.join(one, 'backups')).catch(() => [])));
  t.is(backups.flat().filter((name) => name.startsWith(`shoal-before-${VERSION}-`)).length, 1);
  t.regex((await shoal(...upgrade)).text, /all have .* \(0 upgraded\)/);
  t.is(asked.length, 5);
});
