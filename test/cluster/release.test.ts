/** A release of this project, made as `npm run release` makes it and used as hosts use it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { findProgram, run } from '../../deploy/local/command.ts';
import { freePortBase } from '../../deploy/local/ports.ts';
import { PROJECT_ROOT } from '../../deploy/local/project.ts';
import { VERSION } from '../../shared/lib/version.ts';
import { freshDebian, inRoot } from '../harness/debian-root.ts';
import { makeRelease, type Release, releaseName } from '../../deploy/release/release.ts';

const signal = new AbortController().signal;
let directory = '';
let release: Release;

test.before(async () => {
  directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-release-'));
  release = await makeRelease({ root: PROJECT_ROOT, outDir: directory, epochSeconds: 1_700_000_000 }, signal);
});

test.after.always(() => rm(directory, { recursive: true, force: true }));

interface Result {
  readonly code: number | null;
  readonly output: string;
}

async function execute(program: string, args: readonly string[]): Promise<Result> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

test.serial(
  'its checksums are right, and the unpacked tree runs a manager, an agent and the example',
  async (t) => {
    await run('sh', ['-c', 'cd "$1" && sha256sum --check --strict SHA256SUMS', 'sh', directory], signal);
    const place = await mkdtemp(path.join(directory, 'unpacked-'));
    await run('tar', ['-xzf', release.tarball, '-C', place], signal);
    const tree = path.join(place, releaseName());
    t.false(existsSync(path.join(tree, 'node_modules/typescript')));
    const cli = path.join(tree, 'dist/deploy/cli/main.js');
    const name = `r${Math.random().toString(36).slice(2, 9)}`;
    const portBase = await freePortBase(30_000 - Math.floor(Math.random() * 900), 5);
    t.teardown(() => execute(process.execPath, [cli, 'down', '--name', name]));
    const ports = ['--port-base', String(portBase), '--example-port', String(portBase + 4)];
    const up = await execute(process.execPath, [
      cli,
      'up',
      '--detach',
      '--name',
      name,
      '--nodes',
      '1',
      ...ports,
    ]);
    t.is(up.code, 0, up.output);
    t.regex(up.output, /1 nodes joined and ready[\s\S]*answers/);
    await installFromManager(t, [cli, 'token', 'agent', '--name', name], portBase);
    const down = await execute(process.execPath, [cli, 'down', '--name', name]);
    t.is(down.code, 0, down.output);
  },
);

test.serial('its own install.sh puts it where the command finds all that it needs', async (t) => {
  const root = await mkdtemp(path.join(directory, 'root-'));
  await run('tar', ['-xzf', release.tarball, '-C', directory, `${releaseName()}/deploy/install.sh`], signal);
  const installer = path.join(directory, releaseName(), 'deploy/install.sh');
  const args = ['manager', '--release', release.tarball, '--root', root, '--advertise', '10.0.0.5:7370'];
  const { code, output } = await execute(installer, args);
  t.is(code, 0, output);
  const installed = path.join(root, 'opt/shoal/current/dist/deploy/cli/main.js');
  t.regex((await execute(process.execPath, [installed, 'manager', '--help'])).output, /--advertise/);
});

/** The command that a manager prints, run for a fresh root instead of a fresh machine. */
async function installFromManager(
  t: ExecutionContext,
  token: readonly string[],
  port: number,
): Promise<void> {
  const root = await mkdtemp(path.join(directory, 'fresh-'));
  const command = (await run(process.execPath, token, signal)).trim();
  t.regex(command, new RegExp(`^sudo sh -c '.*:${port} .*'$`));
  const inRoot = (text: string): Promise<Result> =>
    execute('sh', ['-c', `export SHOAL_ROOT=${root}; ${text.replace(/^sudo /, '')}`]);
  // a token of another cluster: its digest is not that of this manager's CA
  const other = command.replace(/"[0-9a-f]{64} /, `"${'0'.repeat(64)} `);
  t.not(other, command);
  const refused = await inRoot(other);
  t.not(refused.code, 0, refused.output);
  t.regex(refused.output, /checksum did NOT match/);
  t.deepEqual(await readdir(root), []);
  const done = await inRoot(command);
  t.is(done.code, 0, done.output);
  t.true(existsSync(path.join(root, 'opt/shoal/current/native/build/shoal-monitor')));
  t.regex(await readFile(path.join(root, 'etc/shoal/join-token'), 'utf8'), /^SHOAL-1-/);
  t.regex(
    await readFile(path.join(root, 'etc/shoal/agent.env'), 'utf8'),
    new RegExp(`join-token .*:${port}"`),
  );
}

const debTest = findProgram('dpkg-deb') === undefined ? test.serial.skip : test.serial;

debTest('the Debian package: dpkg installs, removes and purges it', async (t) => {
  const root = await mkdtemp(path.join(directory, 'dpkg-'));
  for (const part of ['var/lib/dpkg/info', 'var/lib/dpkg/updates', 'etc']) {
    await mkdir(path.join(root, part), { recursive: true });
  }
  for (const file of ['status', 'available']) await writeFile(path.join(root, 'var/lib/dpkg', file), '');
  await writeFile(path.join(root, 'etc/group'), 'root:x:0:\n');
  // in the test's root: dpkg's records, the scripts' work (by DPKG_ROOT), and none of what the package depends on
  const forced = ['--force-script-chrootless', '--force-depends', '--log=/dev/null', `--root=${root}`];
  const dpkg = (...args: string[]): Promise<Result> => execute('dpkg', [...forced, ...args]);
  const installed = await dpkg('--install', release.deb ?? '');
  t.is(installed.code, 0, installed.output);
  const current = path.join(root, 'opt/shoal/current');
  t.regex(await readlink(current), /^releases\/\d/);
  t.true(existsSync(path.join(root, 'usr/local/bin/shoal')));
  const role = await execute(path.join(current, 'deploy/install.sh'), ['manager', '--root', root]);
  t.is(role.code, 0, role.output);
  t.is((await dpkg('--install', release.deb ?? '')).code, 0);
  t.is((await dpkg('--remove', 'shoal')).code, 0);
  t.true(existsSync(path.join(root, 'etc/shoal/manager.env')));
  t.false(existsSync(path.join(root, 'etc/systemd/system/shoal-manager.service')));
  t.is((await dpkg('--purge', 'shoal')).code, 0);
  const left = (await readdir(root, { recursive: true })).filter((name) => name.includes('shoal'));
  t.deepEqual(left, []);
});

debTest(
  'a fresh Debian without a compiler: its apt installs all that a manager and an agent need, and purges it',
  async (t) => {
    t.timeout(280_000);
    const root = path.join(directory, 'debian');
    await freshDebian(root, signal);
    for (const file of [release.tarball, release.deb ?? ''])
      await copyFile(file, path.join(root, 'tmp', path.basename(file)));
    const there = (script: string): Promise<Result> => execute(...inRoot(root, script));
    const succeeds = async (script: string): Promise<string> => {
      const { code, output } = await there(script);
      t.is(code, 0, `${script}\n${output}`);
      return output;
    };
    const bare = await there(
      `cd /tmp && tar -xzf ${releaseName()}.tar.gz && ${releaseName()}/deploy/install.sh agent`,
    );
    t.is(bare.code, 1, bare.output);
    t.regex(
      bare.output,
      /missing: systemd as the running init system\n.*missing: Node\.js 20\.19 or later \(none is on/,
    );

    const package_ = path.basename(release.deb ?? '');
    await succeeds(`apt-get update -q && apt-get install -y -q --no-install-recommends /tmp/${package_}`);
    t.is((await succeeds('shoal --version')).trim(), VERSION);
    t.is(await succeeds('for program in gcc cc make npm; do command -v $program || :; done'), '');
    const here = await there('/opt/shoal/current/deploy/install.sh manager');
    t.is(here.output.trim(), 'install: missing: systemd as the running init system');
    const installer = '/opt/shoal/current/deploy';
    await succeeds(
      `${installer}/prerequisites.sh --runtime manager && ${installer}/prerequisites.sh --runtime agent`,
    );
    await succeeds(
      `cd /opt/shoal/current/dist/chunks && for part in $(grep -l libshoal.so *.js); do
        node --input-type=module -e 'await import(process.argv[1])' "$PWD/$part" || exit; done`,
    );
    const serves = await succeeds(`unshare --net sh -c '
    ip link set lo up
    shoal manager --listen 127.0.0.1:7370 --advertise 127.0.0.1:7370 >/tmp/log 2>&1 &
    for attempt in $(seq 200); do shoal token 2>/dev/null && break; sleep 0.3; done
    kill $! && wait $!'`);
    const token = serves.trim();
    t.regex(token, /^SHOAL-1-[0-9a-z]{50}-[0-9a-z]{25}$/, await readFile(path.join(root, 'tmp/log'), 'utf8'));

    // A role, as into the tree of an image.
    const role = ['agent', '--root', root, '--manager', '10.0.0.5:7370', '--join', token];
    const given = await execute(path.join(root, installer, 'install.sh'), role);
    t.is(given.code, 0, given.output);
    t.true(existsSync(path.join(root, 'etc/systemd/system/shoal-agent.service')));
    t.true(existsSync(path.join(root, 'var/lib/shoal/manager/id')));
    await succeeds('apt-get purge -y -q shoal && rm -rf /tmp/*');
    t.is(
      await succeeds(
        "getent group shoal; find / -xdev -iname '*shoal*' -not -path '/proc/*' -not -path '/run/*'",
      ),
      '',
    );
  },
);
