/** A manager's machine is lost with all it had; a backup brings the cluster back under the containers that go on. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import ava, { type ExecutionContext } from 'ava';
import { freePortBase } from '../../deploy/local/ports.ts';
import { CLI_PATH } from '../../deploy/local/project.ts';
import { createRoot } from '../../manager/ca/authority.ts';
import { SCHEMA_KEY, SCHEMA_VERSION } from '../../manager/store/stored-schema.ts';
import { isLocked } from '../../manager/vault/lock.ts';
import { delay } from '../../shared/lib/abort.ts';
import { startEtcd } from '../harness/etcd.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import type { ClusterState } from '../harness/cluster-state.ts';
import { containersOf, inContainer, lifeLines } from '../harness/containers.ts';
import { QUICK, settled } from '../harness/settled.ts';

const test = ava.serial;

const SECRET = 'correct-horse-battery-staple-0123456789';
const PASSPHRASE = 'a passphrase of the test';

async function directory(t: ExecutionContext): Promise<string> {
  const made = await mkdtemp(path.join(os.tmpdir(), 'shoal-backup-'));
  t.teardown(() => rm(made, { recursive: true }));
  return made;
}

async function shoal(...args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, [CLI_PATH, ...args], { timeout: 120_000 });
}

/** The manager's machine burns: no process, no file of it is left. */
async function destroyManager(swarm: TestCluster): Promise<string> {
  await swarm.manager.kill();
  await swarm.etcd.kill();
  const stateDir = path.join(swarm.layout.stateDir, 'manager');
  await rm(stateDir, { recursive: true });
  return stateDir;
}

/** A manager that starts on locked keys: the unlock key of another time does not open them, its own does. */
async function unlocked(
  t: ExecutionContext,
  { client, manager: { restart } }: Pick<TestCluster, 'client' | 'manager'>,
  keys: { readonly right: string; readonly wrong: string },
): Promise<void> {
  const { signal } = new AbortController();
  const started = restart();
  await until(async () =>
    /"LocalNodeState":"locked"/.test(JSON.stringify(await client.get('/info', signal))),
  );
  const unlock = (UnlockKey: string): Promise<unknown> => {
    const text = JSON.stringify({ UnlockKey });
    return client.call('POST', '/swarm/unlock', { type: 'application/json', text }, signal);
  };
  await t.throwsAsync(client.get('/services', signal), { message: /needs to be unlocked/ });
  await t.throwsAsync(unlock(keys.wrong), { message: /not the right one/ });
  await unlock(keys.right);
  await started;
}

test('a lost manager comes back from a backup, locked as it was; containers go on, what changed since is undone', async (t) => {
  const at = await directory(t);
  const [file, plain, passphrase, secret] = ['b', 'plain', 'passphrase', 'secret'].map((name) =>
    path.join(at, name),
  );
  if (!file || !plain || !passphrase || !secret) throw new Error('four are named');
  await writeFile(passphrase, `${PASSPHRASE}\n`);
  await writeFile(secret, SECRET);
  await using swarm = await cluster().manager().agents(2).nodeDownAfter(120_000).up();
  const socket = ['--socket', swarm.layout.socket];
  await swarm.docker('secret', 'create', 'pass', secret);
  await swarm.deploy('web', { replicas: 2, more: [...QUICK, '--secret', 'pass'] });
  await swarm.deploy('still', { replicas: 2, more: QUICK });
  await settled(swarm, { web: 2, still: 2 });
  const before = await lifeLines(swarm.layout);
  const nodes = (await swarm.docker('node', 'ls', '-q')).trim().split('\n').toSorted();
  const token = (await shoal('token', ...socket)).stdout;
  const stateDir = path.join(swarm.layout.stateDir, 'manager');
  await swarm.docker('swarm', 'update', '--autolock');
  const right = (await swarm.docker('swarm', 'unlock-key', '-q')).trim();
  await until(async () => isLocked(await readFile(path.join(stateDir, 'data-key'), 'utf8')));

  const told = await shoal('backup', file, '--passphrase-file', passphrase, ...socket);
  t.regex(told.stderr, /bytes, encrypted/);
  t.is((await stat(file)).mode & 0o777, 0o600);
  t.regex((await shoal('backup', plain, ...socket)).stderr, /NOT encrypted/);
  t.false((await readFile(plain)).includes(SECRET), 'sealed in its part');
  await t.throwsAsync(shoal('backup', file, ...socket), { message: /exists already/ });
  const wrong = (await swarm.docker('swarm', 'unlock-key', '--rotate', '-q')).trim();
  const restore = ['restore', file, '--state-dir', stateDir, '--passphrase-file', passphrase];
  t.regex(
    (await shoal(...restore, '--check')).stdout,
    new RegExp(`schema ${SCHEMA_VERSION}, 3 parts with \\d+ bytes: whole`),
  );
  await t.throwsAsync(shoal(...restore), { message: /holds a cluster already/ });
  await t.throwsAsync(shoal(...restore, '--force'), { message: /runs \(process \d+\): stop it first/ });

  // After the backup: one service grows, one is new.
  await swarm.docker('service', 'scale', '--detach', 'web=4');
  await swarm.deploy('late', { replicas: 1, more: QUICK });
  await settled(swarm, { web: 4, still: 2, late: 1 });

  await destroyManager(swarm);
  t.regex(
    (await shoal(...restore)).stdout,
    /start the manager now[^]*unlock key of when the backup was made/,
  );
  await unlocked(t, swarm, { right, wrong });
  await settled(swarm, { web: 2, still: 2 });
  t.deepEqual(await lifeLines(swarm.layout), before, 'the same containers, none restarted');
  t.deepEqual((await swarm.docker('node', 'ls', '-q')).trim().split('\n').toSorted(), nodes);
  t.is((await shoal('token', ...socket)).stdout, token, 'the same CA');
  t.is((await swarm.docker('service', 'ls', '--format', '{{.Name}}')).trim().split('\n').length, 2);

  // New tasks get the secret, and the cluster takes changes.
  await swarm.docker('service', 'update', '--quiet', '--detach', '--force', 'web');
  await swarm.eventually((s) => s.running('web').count === 2 && s.tasks('web').count >= 4, {
    within: 60_000,
  });
  const state = await settled(swarm, { web: 2, still: 2 });
  for (const one of await containersOf(swarm.layout, state, 'web')) {
    t.false(before.some((line) => line.startsWith(one.id)));
    t.is(await inContainer(one, 'cat /run/secrets/pass'), SECRET);
  }
  await swarm.node('a1').restart();
  await settled(swarm, { web: 2, still: 2 });
});

test('a task that ended after the backup is not run again, but replaced; a node that died is down', async (t) => {
  const file = path.join(await directory(t), 'b');
  await using swarm = await cluster().manager().agents(2).nodeDownAfter(15_000).up();
  await swarm.deploy('web', { more: [...QUICK, '--constraint', 'node.hostname==a1'] });
  await swarm.deploy('mobile', { more: QUICK });
  const state = await settled(swarm, { web: 1, mobile: 1 });
  const [first] = state.running('web').tasks;
  if (first === undefined) throw new Error('no task runs');
  const replaced = (s: ClusterState): boolean =>
    s.running('web').count === 1 && s.running('web').tasks.every(({ ID }) => ID !== first.ID);
  await shoal('backup', file, '--socket', swarm.layout.socket);
  await swarm.docker('service', 'update', '--quiet', '--detach', '--force', 'web');
  await swarm.eventually(replaced);
  await settled(swarm, { web: 1, mobile: 1 });
  const stateDir = await destroyManager(swarm);
  await swarm.node('a2').kill();
  await shoal('restore', file, '--state-dir', stateDir);
  await swarm.manager.restart();
  const after = await swarm.eventually(replaced, { within: 60_000 });
  t.regex(after.tasks('web').tasks.find(({ ID }) => ID === first.ID)?.Status.State ?? '', /failed|shutdown/);
  await swarm.eventually(
    async () =>
      (await swarm.docker('node', 'ls', '--format', '{{.Hostname}} {{.Status}}')).includes('a2 Down'),
    { within: 90_000 },
  );
  await swarm.eventually((s) => s.running('mobile').on('a1').count === 1 && replaced(s), { within: 60_000 });
  await swarm.node('a2').restart();
  await settled(swarm, { web: 1, mobile: 1 });
});

/** A manager by itself, as the command line starts it. */
async function manager(
  t: ExecutionContext,
  at: string,
  ...more: readonly string[]
): Promise<{
  readonly socket: string;
  readonly ended: Promise<string>;
  readonly stop: () => Promise<unknown>;
}> {
  const port = await freePortBase(14_000 + Math.floor(Math.random() * 16_000), 3);
  const socket = path.join(at, 'socket');
  const args = [
    'manager',
    '--state-dir',
    path.join(at, 'state'),
    '--run-dir',
    path.join(at, 'run'),
    '--socket',
    socket,
  ];
  args.push('--listen', `127.0.0.1:${port}`, '--advertise', `127.0.0.1:${port}`);
  args.push('--etcd-client-port', String(port + 1), '--etcd-peer-port', String(port + 2), ...more);
  const child = spawn(process.execPath, [CLI_PATH, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (text) => (said += String(text)));
  const ended = once(child, 'exit').then(() => said);
  const stop = (): Promise<unknown> => {
    child.kill('SIGTERM');
    return ended;
  };
  t.teardown(async () => void (await stop()));
  return { socket, ended, stop };
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await condition().catch(() => false))) {
    if (Date.now() > end) throw new Error(`not met within 60 s: ${String(condition)}`);
    await delay(100, new AbortController().signal);
  }
}

test('a manager makes backups by itself, encrypted, and keeps so many; from an external etcd too', async (t) => {
  await using etcd = await startEtcd();
  await etcd.client.put('/somebody/else').value('theirs');
  const at = await directory(t);
  const [kept, passphrase] = [path.join(at, 'kept'), path.join(at, 'passphrase')];
  await writeFile(passphrase, PASSPHRASE);
  const flags = ['--backup-dir', kept, '--backup-every', '1s', '--backup-keep', '2'];
  const { socket } = await manager(
    t,
    at,
    ...['--etcd', etcd.endpoints.join(','), ...flags, '--backup-passphrase-file', passphrase],
  );
  const seen = new Set<string>();
  await until(async () => {
    for (const name of await readdir(kept)) if (!name.startsWith('.')) seen.add(name);
    return seen.size >= 4;
  });
  const names = (await readdir(kept)).filter((name) => !name.startsWith('.')).toSorted();
  t.true(names.length <= 3, 'two, and a new one before the oldest goes');
  const newest = path.join(kept, names.at(-1) ?? '');
  await t.throwsAsync(shoal('restore', '--check', newest), { message: /is encrypted/ });
  t.regex(
    (await shoal('restore', '--check', newest, '--passphrase-file', passphrase)).stdout,
    /cluster local \(\w+\) .*: whole/,
  );

  // The cluster of the external etcd goes on with an etcd of its own.
  const file = path.join(at, 'b');
  const token = (await shoal('token', '--socket', socket)).stdout;
  await shoal('backup', file, '--socket', socket);
  const next = await directory(t);
  await shoal('restore', file, '--state-dir', path.join(next, 'state'));
  const restored = await manager(t, next, '--backup-every', '0');
  await until(async () => (await shoal('token', '--socket', restored.socket)).stdout === token);
  t.false((await readdir(path.join(next, 'state'))).includes('backups'), '0 is never');
});

test('what a manager is told of backups and can not be is refused by name', async (t) => {
  const at = await directory(t);
  const refused = async (message: RegExp, ...flags: readonly string[]): Promise<void> => {
    t.regex(await (await manager(t, at, ...flags)).ended, message);
  };
  await refused(/--backup-every.*a number with s, m, h or d is wanted/, '--backup-every', '5 minutes');
  await refused(/--backup-keep.*a whole number from 1/, '--backup-keep', '0');
  await refused(/passphrase file .*none can not be read/, '--backup-passphrase-file', path.join(at, 'none'));
});

test('data of the first version is brought forward after a backup, from which it comes forward again', async (t) => {
  await using etcd = await startEtcd();
  const endpoints = ['--etcd', etcd.endpoints.join(','), '--backup-every', '0'];
  const at = await directory(t);
  const first = await manager(t, at, ...endpoints);
  await until(async () => (await shoal('token', '--socket', first.socket)).stdout !== '');
  const { stdout: token } = await shoal('token', '--socket', first.socket);
  await first.stop();
  // As a manager of then wrote it: what a join token holds, and a key of a CA, in the clear. No version, and nobody says what he knows.
  const key = '/shoal/v1/cluster/self';
  const { secrets: _, ...rest } = JSON.parse((await etcd.client.get(key).string()) ?? '{}') as Record<
    string,
    unknown
  >;
  const { caCertificatePem, caKeyPem } = await createRoot(String(rest['clusterId']), Date.now());
  const joinSecrets = { worker: 'w'.repeat(25), manager: 'm'.repeat(25) };
  await etcd.client.put(key).value(JSON.stringify({ ...rest, caCertificatePem, caKeyPem, joinSecrets }));
  await etcd.client.delete().key(SCHEMA_KEY);
  const old = {
    ...{ id: 'old', hostname: 'old', address: '10.9.9.9:7370', state: 'member' },
    version: '0.0.9',
    createdAtMs: 1,
    updatedAtMs: 1,
  };
  await etcd.client.put('/shoal/v1/managers/old').value(JSON.stringify(old));

  const second = await manager(t, at, ...endpoints);
  await until(async () =>
    (await shoal('token', '--socket', second.socket)).stdout.includes(joinSecrets.worker),
  );
  t.not((await shoal('token', '--socket', second.socket)).stdout, token);
  await until(async () =>
    /stored data +warning +version 1, becomes 2 once.*old \(0\.0\.9\)/.test(
      (await shoal('status', '--socket', second.socket)).stdout,
    ),
  );
  t.like(
    JSON.parse((await etcd.client.get(key).string()) ?? '{}'),
    { caKeyPem, joinSecrets },
    'the old one can read it',
  );

  await shoal('manager', 'rm', 'old', '--socket', second.socket);
  await until(async () =>
    /stored data +ok +version 2/.test((await shoal('status', '--socket', second.socket)).stdout),
  );
  await until(async () => !(await etcd.client.get(key).string())?.includes('PRIVATE KEY'));
  t.regex((await etcd.client.get(key).string()) ?? '', /"secrets":\{"sealed"/);
  const backups = path.join(at, 'state', 'backups');
  const [file = '', ...more] = await readdir(backups);
  t.regex(file, /^shoal-before-\d+\.\d+\.\d+-.*-schema-1\.shoalbackup$/);
  t.deepEqual(more, []);
  const next = await directory(t);
  await shoal('restore', path.join(backups, file), '--state-dir', path.join(next, 'state'));
  const restored = await manager(t, next, '--backup-every', '0');
  await until(async () =>
    /stored data +ok +version 2/.test((await shoal('status', '--socket', restored.socket)).stdout),
  );
  t.true((await shoal('token', '--socket', restored.socket)).stdout.includes(joinSecrets.worker));
});

test('a manager refuses data of a newer version with the reason, and leaves it as it is', async (t) => {
  await using etcd = await startEtcd();
  const first = await manager(t, await directory(t), '--etcd', etcd.endpoints.join(','));
  await until(async () => (await shoal('token', '--socket', first.socket)).stdout !== '');
  t.like(JSON.parse((await etcd.client.get(SCHEMA_KEY).string()) ?? '{}'), { version: SCHEMA_VERSION });
  const newer = '{"version":7,"writtenBy":"9.9.9"}';
  await etcd.client.put(SCHEMA_KEY).value(newer);
  const second = await manager(t, await directory(t), '--etcd', etcd.endpoints.join(','));
  const reason = /schema version 7, written by Shoal 9\.9\.9; this is Shoal .*would damage it/;
  t.regex(await second.ended, reason);
  t.regex(await first.ended, reason, 'one that runs ends, too');
  t.is(await etcd.client.get(SCHEMA_KEY).string(), newer);
});
