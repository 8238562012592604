/** What is mounted in a single container, in which order, and what of it can be written. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { busyboxImage } from '../images/images.ts';
import { suite } from './suite.ts';

const images = [await busyboxImage()];
const { test } = await suite((cluster) => cluster.agents(1).images(...images));

const shell = (script: string): string[] => ['--network', 'none', 'busybox', 'sh', '-c', script];

test('what a volume’s options name is mounted at the first start, and at later ones', async (t, {
  docker,
  tag,
}) => {
  const [volume, name] = [`memory-${tag}`, `mounted-${tag}`];
  const options = ['type=tmpfs', 'device=tmpfs', 'o=size=64k'].flatMap((option) => ['--opt', option]);
  await docker.ok('volume', 'create', ...options, volume);
  const seen = 'grep " /v " /proc/mounts; echo there >>/v/f; cat /v/f';
  await docker.ok('create', '--name', name, '--volume', `${volume}:/v`, ...shell(seen));
  for (let run = 0; run < 2; run += 1)
    t.regex(await docker.ok('start', '--attach', name), /^tmpfs \/v tmpfs .*size=64k.*\nthere$/);
  await docker.ok('rm', name);
  await docker.ok('volume', 'rm', volume);
});

test('what is mounted over a directory hides nothing that is mounted below it', async (t, {
  docker,
  tag,
}) => {
  const [inner, outer, etc] = [`inner-${tag}`, `outer-${tag}`, `etc-${tag}`];
  const mounts = ['-v', `${inner}:/a/b`, '--tmpfs', '/a/c', '-v', `${outer}:/a`, '-v', `${etc}:/etc`];
  const script = 'grep -c " /a/[bc] " /proc/mounts; touch /a/b/kept; grep -c localhost /etc/hosts';
  t.is(await docker.ok('run', '--name', outer, ...mounts, ...shell(script)), '2\n2');
  t.true((await docker.ok('cp', `${outer}:/a/b/kept`, '-')).includes('kept'));
  await docker.ok('rm', outer);
  await docker.ok('volume', 'rm', inner, outer, etc);
});

test('a root that is only read has such files below /etc', async (t, { docker }) => {
  const script = 'for f in hosts hostname resolv.conf; do echo >>/etc/$f || echo kept; done 2>/dev/null';
  t.is(await docker.ok('run', '--rm', ...shell(script)), '');
  t.is(await docker.ok('run', '--rm', '--read-only', ...shell(script)), 'kept\nkept\nkept');
});

test('the group of a user is among its groups, in the command and beside it', async (t, { docker, tag }) => {
  const name = `groups-${tag}`;
  const groups = ['sed', '-n', 's/^Groups:[[:space:]]*//p', '/proc/self/status'];
  const run = ['--user', '5:7', '--group-add', '9', '--network', 'none', 'busybox'];
  t.is(await docker.ok('run', '--rm', ...run, ...groups), '7 9');
  await docker.ok('run', '--detach', '--name', name, ...run, 'sleep', '1000');
  t.is(await docker.ok('exec', name, ...groups), '7 9');
  t.is(await docker.ok('exec', '--user', '3:4', name, ...groups), '4');
  await docker.ok('rm', '--force', name);
});

test('to look at the log of a container that was only created does it no harm', async (t, {
  docker,
  tag,
}) => {
  const name = `unread-${tag}`;
  const state = ['inspect', '--format', '{{.State.Status}} {{.State.ExitCode}}{{.State.Error}}', name];
  await docker.ok('create', '--name', name, '--network', 'none', 'busybox', 'echo', 'ran');
  for (const follow of [[], ['--follow']]) {
    t.is(await docker.ok('logs', ...follow, name), '');
    t.is(await docker.ok(...state), 'created 0');
  }
  t.is(await docker.ok('start', '--attach', name), 'ran');
  t.is(await docker.ok('logs', '--follow', name), 'ran');
  await docker.ok('rm', name);
});

test('-v of a file that is there binds it; where a mount goes reads as a path does', async (t, {
  docker,
  tag,
}) => {
  const [host, name] = [await mkdtemp(path.join(os.tmpdir(), 'shoal-client-')), `places-${tag}`];
  t.teardown(() => rm(host, { recursive: true, force: true }));
  await writeFile(path.join(host, 'file'), 'bound\n');
  t.is(await docker.ok('run', '--rm', '-v', `${host}/file:/f:ro`, ...shell('cat /f')), 'bound');
  const below = ['run', '--rm', '-v', `${host}/file/below:/f`, ...shell('true')];
  t.regex(await docker.fails(...below), /bind source ".*below" can not be made/);
  const places = ['-v', `${host}:/none/../b/`, '-v', '/none/../c/', '--tmpfs', '/none/../d/'];
  await docker.ok('create', '--name', name, ...places, ...shell('true'));
  const destinations = '{{range .Mounts}}{{println .Destination}}{{end}}';
  t.deepEqual((await docker.lines('inspect', '--format', destinations, name)).filter(Boolean).toSorted(), [
    '/b',
    '/c',
    '/d',
  ]);
  await docker.ok('start', '--attach', name);
  await docker.ok('rm', '--volumes', name);
  for (const root of ['/', '/a/..'])
    t.regex(await docker.fails('create', '-v', `${host}:${root}`, 'busybox'), /over '\/' is not possible/);
  const twice = ['-v', `${host}:/x`, '-v', `${host}:/x/`, 'busybox'];
  t.regex(await docker.fails('create', ...twice), /Duplicate mount point: \/x/);
});

test('an upload for which there is no room fails at once, and says why', async (t, { docker, tag }) => {
  const [host, name] = [await mkdtemp(path.join(os.tmpdir(), 'shoal-client-')), `full-${tag}`];
  t.teardown(() => rm(host, { recursive: true, force: true }));
  await writeFile(path.join(host, 'large'), Buffer.alloc(4 << 20));
  const options = ['type=tmpfs', 'device=tmpfs', 'o=size=64k'].flatMap((option) => ['--opt', option]);
  await docker.ok('volume', 'create', ...options, name);
  await docker.ok('create', '--name', name, '--volume', `${name}:/v`, '--network', 'none', 'busybox');
  // What the client had under way when it failed is read, wherever it was then.
  for (let time = 0; time < 5; time += 1) {
    const began = performance.now();
    t.regex(await docker.fails('cp', path.join(host, 'large'), `${name}:/v/`), /No space left on device/);
    t.true(performance.now() - began < 20_000);
  }
  await docker.ok('rm', name);
  await docker.ok('volume', 'rm', name);
});

test('update: processors are a number or a quota, not both', async (t, { docker, tag }) => {
  const name = `measured-${tag}`;
  await docker.ok('create', '--name', name, '--cpus', '0.5', '--network', 'none', 'busybox');
  t.regex(
    await docker.fails('update', '--cpu-quota', '20000', name),
    /CpuQuota cannot be updated as NanoCpus/,
  );
  await docker.ok('update', '--cpus', '0.25', name);
  const limits = '{{.HostConfig.NanoCpus}} {{.HostConfig.CpuQuota}}';
  t.is(await docker.ok('inspect', '--format', limits, name), '250000000 0');
  await docker.ok('rm', name);
});
