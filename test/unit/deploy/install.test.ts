/** install.sh as users run it, into a root of the test's own: nothing of this machine is touched. */
import { execFile } from 'node:child_process';
import {
  appendFile,
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { existsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { findProgram, run } from '../../../deploy/local/command.ts';
import { PROJECT_ROOT } from '../../../deploy/local/project.ts';
import { sha256, writeTree } from '../../../deploy/release/tree.ts';

const signal = new AbortController().signal;
const TOKEN = `SHOAL-1-${'a'.repeat(50)}-${'b'.repeat(25)}`;
const JOIN = ['--manager', '10.0.0.5:7370', '--join', TOKEN];

interface Result {
  readonly code: number;
  readonly output: string;
}

function execute(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Result> {
  return new Promise((resolve) => {
    execFile(program, [...args], { env }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, output: stdout + stderr });
    });
  });
}

/** Places for releases and a root to install into. */
class Host {
  readonly directory: string;
  readonly root: string;

  constructor(directory: string) {
    this.directory = directory;
    this.root = path.join(directory, 'root');
  }

  static async make(t: ExecutionContext): Promise<Host> {
    const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-install-'));
    t.teardown(() => rm(directory, { recursive: true }));
    const host = new Host(directory);
    await mkdir(path.join(host.root, 'etc'), { recursive: true });
    await writeFile(path.join(host.root, 'etc/group'), 'root:x:0:\n');
    return host;
  }

  /** A release as far as install.sh looks at it: its own files are the real ones. `note` makes it differ. */
  async release(version: string, note = ''): Promise<string> {
    const source = await mkdtemp(path.join(this.directory, 'source-'));
    const files = ['deploy/install.sh', 'deploy/prerequisites.sh'];
    const units = ['deploy/systemd/shoal-agent.service', 'deploy/systemd/shoal-manager.service'];
    for (const file of [...files, ...units]) await cp(path.join(PROJECT_ROOT, file), path.join(source, file));
    const text = await readFile(path.join(PROJECT_ROOT, 'package.json'), 'utf8');
    await writeFile(
      path.join(source, 'package.json'),
      text.replace(/"version": "[^"]*"/, `"version": "${version}"`),
    );
    await writeFile(path.join(source, 'note'), note);
    const tree = path.join(source, `shoal-${version}`);
    const all = [...files, ...units, 'package.json', 'note'].map((file) => ({
      source: file,
      path: file,
      executable: files.includes(file),
    }));
    await writeTree(source, tree, all, 1_000_000);
    return tree;
  }

  /** With nothing of the caller's environment but PATH. */
  run(tree: string, args: readonly string[], env: Record<string, string> = {}): Promise<Result> {
    const all = { PATH: process.env['PATH'], SHOAL_ROOT: this.root, ...env };
    return execute(path.join(tree, 'deploy/install.sh'), args, all);
  }

  path(file: string): string {
    return path.join(this.root, file);
  }

  read(file: string): Promise<string> {
    return readFile(this.path(file), 'utf8');
  }

  async mode(file: string): Promise<string> {
    return ((await stat(this.path(file))).mode & 0o7777).toString(8);
  }

  /** All that is below the root, the releases' contents left out. */
  async files(): Promise<string[]> {
    const names = await readdir(this.root, { recursive: true });
    return names.filter((name) => !/releases\/[^/]+\//.test(name)).toSorted();
  }
}

async function installed(t: ExecutionContext, host: Host, tree: string, ...args: string[]): Promise<void> {
  const { code, output } = await host.run(tree, args);
  t.is(code, 0, output);
}

test('an agent: program, unit, group, configuration and a token that only root reads', async (t) => {
  const host = await Host.make(t);
  await installed(
    t,
    host,
    await host.release('1.0.0'),
    'agent',
    ...JOIN,
    '--name',
    'prod',
    '--',
    '--label',
    'zone=a',
  );
  t.is(await readlink(host.path('opt/shoal/current')), 'releases/1.0.0');
  t.is(await host.mode('opt/shoal/current/deploy/install.sh'), '755');
  t.is(await host.mode('opt/shoal/current/package.json'), '644');
  t.regex(
    await host.read('usr/local/bin/shoal'),
    /^exec '\/.*' \/opt\/shoal\/current\/dist\/deploy\/cli\/main\.js "\$@"$/m,
  );
  t.is(await host.mode('usr/local/bin/shoal'), '755');
  const configuration = await host.read('etc/shoal/agent.env');
  t.regex(configuration, /^SHOAL_AGENT_FLAGS="--name prod --label zone=a"$/m);
  t.regex(configuration, /^SHOAL_AGENT_JOIN="--join-file \/etc\/shoal\/join-token 10\.0\.0\.5:7370"$/m);
  t.false(configuration.includes(TOKEN));
  t.is(await host.read('etc/shoal/join-token'), `${TOKEN}\n`);
  t.is(await host.mode('etc/shoal/join-token'), '600');
  t.regex(await host.read('etc/group'), /^shoal:/m);
  const unit = 'etc/systemd/system/shoal-agent.service';
  t.is(
    await host.read(unit),
    await readFile(path.join(PROJECT_ROOT, 'deploy/systemd/shoal-agent.service'), 'utf8'),
  );
  t.is(
    await readlink(host.path('etc/systemd/system/multi-user.target.wants/shoal-agent.service')),
    `/${unit}`,
  );
});

test('options, environment variables and a file for the token come to the same', async (t) => {
  const [one, two] = [await Host.make(t), await Host.make(t)];
  await installed(
    t,
    one,
    await one.release('1.0.0'),
    'agent',
    ...JOIN,
    '--name',
    'prod',
    '--',
    '--label',
    'zone=a',
  );
  const file = path.join(two.directory, 'token');
  await writeFile(file, `  ${TOKEN}\n`);
  const env = {
    SHOAL_ROLE: 'agent',
    SHOAL_MANAGERS: '10.0.0.5:7370',
    SHOAL_JOIN_FILE: file,
    SHOAL_NAME: 'prod',
  };
  const { code, output } = await two.run(await two.release('1.0.0'), [], {
    ...env,
    SHOAL_FLAGS: '--label zone=a',
  });
  t.is(code, 0, output);
  t.deepEqual(await two.files(), await one.files());
  for (const name of ['agent.env', 'join-token'])
    t.is(await two.read(`etc/shoal/${name}`), await one.read(`etc/shoal/${name}`));
});

test('one more manager joins with a token, which is not in its configuration', async (t) => {
  const host = await Host.make(t);
  await installed(t, host, await host.release('1.0.0'), 'manager', '--advertise', '10.0.0.6:7370', ...JOIN);
  const configuration = await host.read('etc/shoal/manager.env');
  t.regex(configuration, /^SHOAL_MANAGER_FLAGS="--advertise 10\.0\.0\.6:7370"$/m);
  t.regex(configuration, /^SHOAL_MANAGER_JOIN="--join-file \/etc\/shoal\/join-token 10\.0\.0\.5:7370"$/m);
  t.is(await host.mode('etc/shoal/join-token'), '600');
  t.regex(await host.read('etc/systemd/system/shoal-manager.service'), /\$SHOAL_MANAGER_JOIN$/m);
});

test('a manager and an agent on one host; the second role leaves the first alone', async (t) => {
  const host = await Host.make(t);
  const tree = await host.release('1.0.0');
  await installed(t, host, tree, 'manager', '--advertise', '10.0.0.5:7370');
  const before = await host.read('etc/shoal/manager.env');
  t.regex(before, /^SHOAL_MANAGER_FLAGS="--advertise 10\.0\.0\.5:7370"$/m);
  await installed(t, host, tree, 'agent', ...JOIN);
  t.is(await host.read('etc/shoal/manager.env'), before);
  t.true(existsSync(host.path('etc/systemd/system/shoal-manager.service')));
});

test('an upgrade switches the release and keeps configuration, state and the release before', async (t) => {
  const host = await Host.make(t);
  await installed(t, host, await host.release('1.0.0'), 'agent', ...JOIN);
  await appendFile(host.path('etc/shoal/agent.env'), '# by hand\n');
  await mkdir(host.path('var/lib/shoal/agent'), { recursive: true });
  const configuration = await host.read('etc/shoal/agent.env');
  await installed(t, host, await host.release('1.1.0'), 'agent');
  await installed(t, host, await host.release('1.2.0'), 'upgrade');
  t.is(await readlink(host.path('opt/shoal/current')), 'releases/1.2.0');
  t.deepEqual((await readdir(host.path('opt/shoal/releases'))).toSorted(), ['1.1.0', '1.2.0']);
  t.is(await host.read('etc/shoal/agent.env'), configuration);
  t.true(existsSync(host.path('var/lib/shoal/agent')));
});

test('an older release is refused with the reason, unless it is asked for', async (t) => {
  const host = await Host.make(t);
  await installed(t, host, await host.release('1.10.0'), 'agent', ...JOIN);
  const older = await host.release('1.9.2');
  const before = await host.files();
  for (const args of [['upgrade'], ['agent']]) {
    const { code, output } = await host.run(older, args);
    t.is(code, 1);
    t.regex(output, /Shoal 1\.10\.0 is installed, and this is the older 1\.9\.2: it may not understand/);
    t.deepEqual(await host.files(), before);
  }
  await installed(t, host, older, 'upgrade', '--downgrade');
  t.is(await readlink(host.path('opt/shoal/current')), 'releases/1.9.2');
});

test('the same release again changes nothing; the same version made anew replaces it', async (t) => {
  const host = await Host.make(t);
  const tree = await host.release('1.0.0', 'first');
  await installed(t, host, tree, 'agent', ...JOIN);
  const { ino } = await stat(host.path('opt/shoal/releases/1.0.0'));
  await installed(t, host, tree, 'agent');
  t.is((await stat(host.path('opt/shoal/releases/1.0.0'))).ino, ino);
  await installed(t, host, await host.release('1.0.0', 'second'), 'agent');
  t.is(await host.read('opt/shoal/current/note'), 'second');
  t.deepEqual(await readdir(host.path('opt/shoal/releases')), ['1.0.0']);
  // from where it is installed itself
  await installed(t, host, host.path('opt/shoal/current'), 'upgrade');
  t.is(await host.read('opt/shoal/current/note'), 'second');
});

test('uninstall keeps state and configuration; --purge leaves nothing', async (t) => {
  const host = await Host.make(t);
  const tree = await host.release('1.0.0');
  const state = 'var/lib/shoal/agent/identity.json';
  const put = async (): Promise<void> => {
    await installed(t, host, tree, 'agent', ...JOIN);
    await mkdir(path.dirname(host.path(state)), { recursive: true });
    await writeFile(host.path(state), '{}');
  };
  await put();
  await installed(t, host, tree, 'uninstall');
  const left = await host.files();
  t.true(left.includes(state) && left.includes('etc/shoal/agent.env'), left.join('\n'));
  t.deepEqual(
    left.filter((name) => /opt\/shoal|local\/bin\/shoal|\.service$/.test(name)),
    [],
  );
  await put();
  await installed(t, host, tree, 'uninstall', '--purge');
  const rest = (await host.files()).filter((name) => name.includes('shoal'));
  t.deepEqual(rest, []);
});

test('a command of that name that is not ours survives uninstall', async (t) => {
  const host = await Host.make(t);
  const tree = await host.release('1.0.0');
  await mkdir(host.path('usr/local/bin'), { recursive: true });
  await writeFile(host.path('usr/local/bin/shoal'), 'another program\n');
  await installed(t, host, tree, 'uninstall', '--purge');
  t.is(await host.read('usr/local/bin/shoal'), 'another program\n');
});

test('--dry-run says what it would do and does nothing', async (t) => {
  const host = await Host.make(t);
  const tree = await host.release('1.0.0');
  const before = await host.files();
  const { code, output } = await host.run(tree, ['agent', ...JOIN, '--dry-run']);
  t.is(code, 0, output);
  t.regex(output, /would run: mv -fT .*current[\s\S]*would write: .*agent\.env[\s\S]*nothing was done/);
  t.false(output.includes(TOKEN));
  t.deepEqual(await host.files(), before);
});

const REFUSED: readonly (readonly [args: readonly string[], because: RegExp])[] = [
  [['worker'], /unknown option or role 'worker'/],
  [['agent', '--bogus'], /unknown option or role '--bogus'/],
  [['agent', '--manager'], /--manager needs a value/],
  [['agent', '--manager', '10.0.0.5:7370'], /--manager needs --join/],
  [['agent', '--join', TOKEN], /needs --manager/],
  [['agent', '--manager', '10.0.0.5:7370', '--join', 'SHOAL-1-abc'], /join token is malformed/],
  [
    ['agent', '--manager', '10.0.0.5:7370', '--join-file', '/does/not/exist'],
    /\/does\/not\/exist .* can not be read/,
  ],
  [['agent', ...JOIN, '--advertise', '10.0.0.5:7370'], /--advertise is for managers/],
  [['agent', ...JOIN, '--', '--label', 'a="b'], /'a="b' has a character/],
  [['agent', ...JOIN, '--name', 'a\nb'], /has a character/],
  [['agent', ...JOIN, '--root', 'relative'], /absolute path, and is 'relative'/],
  [
    ['agent', ...JOIN, '--node', '/bin/false'],
    /missing: Node\.js 20\.19 or later \(\/bin\/false is not Node/,
  ],
  [['agent', ...JOIN, '--release', '/does/not/exist.tar.gz'], /can not be read/],
];

for (const [args, because] of REFUSED) {
  test(`refused, and nothing is changed: ${JSON.stringify(args)}`, async (t) => {
    const host = await Host.make(t);
    const before = await host.files();
    const { code, output } = await host.run(await host.release('1.0.0'), args);
    t.not(code, 0);
    t.regex(output, because);
    t.deepEqual(await host.files(), before);
  });
}

test('a Node that is too old is named with its version', async (t) => {
  const host = await Host.make(t);
  const old = path.join(host.directory, 'node');
  await writeFile(old, '#!/bin/sh\n[ "$1" = --version ] && echo v18.19.0 && exit 0\nexit 1\n');
  await chmod(old, 0o755);
  const { code, output } = await host.run(await host.release('1.0.0'), ['agent', ...JOIN, '--node', old]);
  t.is(code, 1);
  t.regex(output, /missing: Node\.js 20\.19 or later \(.*\/node is v18\.19\.0/);
});

test('a damaged release is refused, and what is installed stays', async (t) => {
  const host = await Host.make(t);
  await installed(t, host, await host.release('1.0.0'), 'agent', ...JOIN);
  const before = await host.files();
  const tree = await host.release('1.1.0');
  await appendFile(path.join(tree, 'note'), 'changed');
  const { code, output } = await host.run(tree, ['upgrade']);
  t.is(code, 1);
  t.regex(output, /note: FAILED[\s\S]*is not complete/);
  t.deepEqual(await host.files(), before);
});

test('a tarball: installed when its checksum fits, refused when it does not or is no release', async (t) => {
  const host = await Host.make(t);
  const tree = await host.release('1.0.0');
  const tarball = path.join(host.directory, 'shoal-1.0.0.tar.gz');
  await run('tar', ['-czf', tarball, '-C', path.dirname(tree), path.basename(tree)], signal);
  const sums = path.join(host.directory, 'SHA256SUMS');
  await writeFile(sums, `${'0'.repeat(64)}  ${path.basename(tarball)}\n`);
  const wrong = await host.run(tree, ['agent', ...JOIN, '--release', tarball]);
  t.is(wrong.code, 1);
  t.regex(wrong.output, /is not what .*SHA256SUMS says/);
  await writeFile(sums, `${await sha256(tarball)}  ${path.basename(tarball)}\n`);
  await installed(t, host, tree, 'agent', ...JOIN, '--release', tarball);
  t.is(await readlink(host.path('opt/shoal/current')), 'releases/1.0.0');
  const garbage = path.join(host.directory, 'garbage.tar.gz');
  await writeFile(garbage, 'not a tarball');
  t.regex((await host.run(tree, ['upgrade', '--release', garbage])).output, /garbage\.tar\.gz is damaged/);
});

test('a source tree is not a release, and is told how to become one', async (t) => {
  const host = await Host.make(t);
  const { code, output } = await host.run(PROJECT_ROOT, ['agent', ...JOIN]);
  t.is(code, 1);
  t.regex(output, /is not a release but a source tree: 'npm run release'/);
});

test('where a cluster of `shoal up` is, nothing is installed into its places', async (t) => {
  const host = await Host.make(t);
  await mkdir(host.path('run/shoal'), { recursive: true });
  await writeFile(host.path('run/shoal/cluster.json'), '{}');
  const { code, output } = await host.run(await host.release('1.0.0'), ['agent', ...JOIN]);
  t.is(code, 1);
  t.regex(output, /shoal down/);
});

test('the agent’s unit lets containers outlive it, and denies them nothing', async (t) => {
  const unit = await readFile(path.join(PROJECT_ROOT, 'deploy/systemd/shoal-agent.service'), 'utf8');
  for (const line of [
    'KillMode=process',
    'Delegate=yes',
    'RuntimeDirectoryPreserve=yes',
    'OOMPolicy=continue',
    'Restart=always',
  ]) {
    t.true(unit.split('\n').includes(line), line);
  }
  // inherited by containers, or a mount namespace that the next agent does not share; see systemd.exec(5)
  t.notRegex(
    unit,
    /^(NoNewPrivileges|SystemCall|Restrict|Lock|Protect|Private|Capability|ReadOnly|Inaccessible|Bind|Memory)/m,
  );
});

(findProgram('systemd-analyze') === undefined ? test.skip : test)('systemd accepts the units', async (t) => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-units-'));
  t.teardown(() => rm(directory, { recursive: true }));
  for (const name of ['shoal-agent.service', 'shoal-manager.service']) {
    const text = await readFile(path.join(PROJECT_ROOT, 'deploy/systemd', name), 'utf8');
    // the command is not on this machine
    await writeFile(path.join(directory, name), text.replaceAll('/usr/local/bin/shoal', process.execPath));
  }
  const units = (await readdir(directory)).map((name) => path.join(directory, name));
  const program = findProgram('systemd-analyze') ?? '';
  const { output } = await execute(program, ['verify', '--man=no', ...units], { PATH: process.env['PATH'] });
  t.deepEqual(
    output.split('\n').filter((line) => line.includes('shoal-')),
    [],
  );
});

test('bash can read the scripts', async (t) => {
  for (const script of ['install.sh', 'prerequisites.sh', 'launch.sh']) {
    const { code, output } = await execute(
      '/bin/bash',
      ['-n', path.join(PROJECT_ROOT, 'deploy', script)],
      {},
    );
    t.is(code, 0, output);
  }
});

test('a release is fetched only from a manager whose CA is given', async (t) => {
  const host = await Host.make(t);
  const tree = await host.release('1.0.0');
  const before = await host.files();
  const refused = async (because: RegExp, ...args: string[]): Promise<void> => {
    const { code, output } = await host.run(tree, ['agent', ...JOIN, ...args]);
    t.not(code, 0);
    t.regex(output, because);
  };
  await refused(/--from needs --ca FILE/, '--from', '127.0.0.1:1');
  await refused(/exclude one another/, '--from', '127.0.0.1:1', '--release', '/x.tar.gz');
  const ca = path.join(host.directory, 'ca');
  await writeFile(ca, 'no certificate');
  await refused(/--from is HOST:PORT/, '--ca', ca, '--from', 'https://127.0.0.1:1');
  await refused(/127\.0\.0\.1:1 gives no release/, '--ca', ca, '--from', '127.0.0.1:1');
  t.deepEqual(await host.files(), before);
});
