/** The distribution's podman with shoal-oci as its runtime. Needs root. */
import { execFile } from 'node:child_process';
import { chown, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { removeCgroup } from '../../deploy/local/cgroups.ts';
import { leftoverName } from '../harness/leftovers.ts';
import { checkoutDir, ensurePodman } from '../harness/peers.ts';

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The limits that podman would set need more rights than a test may have. */
const CONFIG = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
events_logger = "file"
lock_type = "file"
`;

/** `runDir`: of 50 characters at most, which is podman's rule. */
async function startPodman(directory: string, runDir: string, parent: string) {
  const { podman, conmon, env } = await ensurePodman();
  const config = join(directory, 'containers.conf');
  await writeFile(config, CONFIG);
  const options = [
    ...['--root', join(directory, 'data'), '--runroot', runDir],
    ...['--tmpdir', join(directory, 'tmp'), '--storage-driver', 'vfs', '--conmon', conmon],
    ...['--cgroup-manager', 'cgroupfs'],
    ...['--runtime', join(checkoutDir(), 'native', 'build', 'shoal-oci')],
  ];
  const call = (...args: string[]): Promise<Outcome> =>
    promisify(execFile)(podman, [...options, ...args], {
      env: { ...env, CONTAINERS_CONF: config },
      timeout: 60_000,
    }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: unknown) => error as Outcome,
    );
  const ok = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await call(...args);
    if (code !== 0) throw new Error(`podman ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const usual = ['--network', 'none', '--cgroup-parent', parent];
  return { call, ok, run: (...args: string[]) => call('run', ...usual, ...args) };
}

/** A root of busybox whose owner is root of a container with ids from `owner` on. */
async function makeRoot(directory: string, owner = 0): Promise<string> {
  await mkdir(join(directory, 'bin'), { recursive: true });
  for (const name of ['etc', 'tmp']) await mkdir(join(directory, name));
  await cp('/bin/busybox', join(directory, 'bin', 'busybox'));
  for (const applet of ['sh', 'cat', 'ls', 'echo', 'sleep', 'id', 'true', 'touch'])
    await symlink('busybox', join(directory, 'bin', applet));
  await writeFile(join(directory, 'etc', 'mine'), 'of the image');
  for (const name of ['', ...(await readdir(directory))]) await chown(join(directory, name), owner, owner);
  return directory;
}

test('podman run, exec, top, pause, stop, start, rm; limits, user namespaces, read-only', async (t) => {
  t.timeout(240_000);
  const directory = await mkdtemp(join(tmpdir(), 'shoal-test-podman-'));
  const parent = `/${leftoverName('podman')}0`;
  const runDir = `/dev/shm/${leftoverName('podman')}0`;
  const podman = await startPodman(directory, runDir, parent);
  t.teardown(async () => {
    await podman.call('rm', '--all', '--force', '--time', '0');
    await removeCgroup(parent);
    for (const each of [directory, runDir]) await rm(each, { recursive: true, force: true });
  });
  const root = ['--rootfs', await makeRoot(join(directory, 'image'))];
  const files =
    'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>&-; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>&-; exit 9';
  const limits = ['--memory', '64m', '--pids-limit', '50'];
  t.like(await podman.run('--rm', ...limits, ...root, 'sh', '-c', files), {
    code: 9,
    stdout: `${64 << 20}\n50\n`,
  });
  t.is((await podman.run('--rm', ...root, 'nosuch')).code, 127);
  t.is((await podman.run('--rm', ...root, '/bin')).code, 126);
  const readOnly = 'touch /x || echo refused; echo kept > /tmp/x && cat /tmp/x';
  t.is((await podman.run('--rm', '--read-only', ...root, 'sh', '-c', readOnly)).stdout, 'refused\nkept\n');
  const copied = ['--tmpfs', '/etc', ...root, 'cat', '/etc/mine'];
  t.is((await podman.run('--rm', ...copied)).stdout, 'of the image');
  const other = await makeRoot(join(directory, 'other'), 700_000);
  const users = ['--uidmap', '0:700000:1000', '--gidmap', '0:700000:1000', '--rootfs', other];
  const script = 'cat /proc/self/uid_map; touch /made && ls -ln /made; echo x > /dev/null && echo null';
  const mapped = await podman.run('--rm', ...users, 'sh', '-c', script);
  t.regex(mapped.stdout, /^ +0 +700000 +1000\n\S+ +1 0 +0 .*\/made\nnull\n$/, mapped.stderr);

  t.is((await podman.run('--detach', '--name', 'boat', ...root, 'sleep', '1000')).code, 0);
  t.like(await podman.call('exec', 'boat', 'sh', '-c', 'echo inside; exit 3'), {
    code: 3,
    stdout: 'inside\n',
  });
  t.is(await podman.ok('exec', '--tty', 'boat', 'echo', 'inside'), 'inside\r\n');
  t.regex(await podman.ok('top', 'boat'), /sleep 1000/);
  await podman.ok('pause', 'boat');
  t.is(await podman.ok('inspect', '--format', '{{.State.Status}}', 'boat'), 'paused\n');
  await podman.ok('unpause', 'boat');
  await podman.ok('stop', '--time', '0', 'boat');
  t.is(await podman.ok('inspect', '--format', '{{.State.ExitCode}}', 'boat'), '137\n');
  await podman.ok('start', 'boat');
  t.is(await podman.ok('inspect', '--format', '{{.State.Status}}', 'boat'), 'running\n');
  await podman.ok('rm', '--force', '--time', '0', 'boat');
  t.is(await podman.ok('ps', '--all', '--quiet'), '');
  t.false((await readFile('/proc/self/mountinfo', 'utf8')).includes(directory));
});
