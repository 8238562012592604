/** The distribution's dockerd with shoal-oci as a runtime of its containers. Needs root. */
import { join } from 'node:path';
import test from 'ava';
import { importBusybox, startDockerd } from '../harness/dockerd.ts';
import { checkoutDir } from '../harness/peers.ts';

const IMAGE = 'busybox:oci';
const WITH = ['--runtime', 'shoal-oci'];

interface Failure {
  readonly code?: number;
  readonly stdout?: string;
  readonly stderr?: string;
}

test('docker run, exec, top, pause, update, stop, start, rm', async (t) => {
  t.timeout(240_000);
  const program = join(checkoutDir(), 'native', 'build', 'shoal-oci');
  await using dockerd = await startDockerd(['--add-runtime', `shoal-oci=${program}`]);
  const docker = (...args: string[]): Promise<string> => dockerd.docker(...args);
  const failure = (...args: string[]): Promise<Failure> =>
    docker(...args).then(
      (stdout) => ({ code: 0, stdout }),
      (error: unknown) => error as Failure,
    );
  await importBusybox(dockerd, IMAGE);

  const files =
    'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>&-; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>&-; true';
  const limits = ['--memory', '64m', '--pids-limit', '50'];
  t.is(await docker('run', '--rm', ...WITH, ...limits, IMAGE, 'sh', '-c', files), `${64 << 20}\n50\n`);
  t.is((await failure('run', '--rm', ...WITH, IMAGE, 'sh', '-c', 'exit 9')).code, 9);
  t.like(
    await failure('run', '--rm', '--tty', ...WITH, IMAGE, 'sh', '-c', 'test -t 1 && echo terminal; exit 4'),
    {
      code: 4,
      stdout: 'terminal\r\n',
    },
  );
  const missing = await failure('run', '--rm', ...WITH, IMAGE, 'nosuch');
  t.is(missing.code, 127);
  t.regex(missing.stderr ?? '', /executable file not found in \$PATH/);
  t.is((await failure('run', '--rm', ...WITH, IMAGE, '/bin')).code, 126);

  await docker('run', '--detach', '--name', 'boat', ...WITH, IMAGE, 'sleep', '1000');
  t.is(await docker('inspect', '--format', '{{.HostConfig.Runtime}}', 'boat'), 'shoal-oci\n');
  t.like(await failure('exec', 'boat', 'sh', '-c', 'echo inside; exit 3'), { code: 3, stdout: 'inside\n' });
  t.is(await docker('exec', '--tty', 'boat', 'echo', 'inside'), 'inside\r\n');
  t.regex(await docker('top', 'boat'), /sleep 1000/);
  await docker('pause', 'boat');
  t.is(await docker('inspect', '--format', '{{.State.Status}}', 'boat'), 'paused\n');
  await docker('unpause', 'boat');
  await docker('update', '--memory', '32m', '--memory-swap', '64m', 'boat');
  t.regex(await docker('exec', 'boat', 'sh', '-c', files), new RegExp(`^${32 << 20}\n`));
  await docker('stop', '--time', '1', 'boat');
  t.is(await docker('inspect', '--format', '{{.State.ExitCode}}', 'boat'), '137\n');
  await docker('start', 'boat');
  t.is(await docker('inspect', '--format', '{{.State.Status}}', 'boat'), 'running\n');
  await docker('rm', '--force', 'boat');
  t.is(await docker('ps', '--all', '--quiet'), '');
});
