/** docker run as people use it, on a node that the scheduler chooses. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import ava from 'ava';
import { buildImage, buildLayer } from '../../agent/image/build-tar.ts';
import { BUSYBOX_PATH, busyboxLayer } from '../../agent/image/busybox-layer.ts';
import { reachableAddress } from '../harness/outside.ts';
import { pushImage, type Registry, startRegistry } from '../harness/registry.ts';
import { busyboxImage, nginxImage } from '../images/images.ts';
import { type Scene, suite } from './suite.ts';

const images = [await busyboxImage(), await nginxImage()];
const registry: Registry = await startRegistry(reachableAddress());
const { test } = await suite((cluster) =>
  cluster
    .agents(2)
    .registry(registry.address)
    .images(...images),
);

ava.after.always(() => registry[Symbol.asyncDispose]());

/** Asks again until it holds; fails after a minute. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`it did not become true: ${condition.toString()}`);
    await delay(100);
  }
}

async function exits({ docker }: Scene, code: number, ...args: string[]) {
  const output = await docker.run(['run', ...args]);
  if (output.code !== code)
    throw new Error(
      `docker run ${args.join(' ')}: ${output.code}, not ${code}\n${output.stdout}${output.stderr}`,
    );
  return output;
}

function inspect<T>({ docker }: Scene, name: string, field: string): Promise<T> {
  return docker.json<T>('inspect', '--format', `{{json ${field}}}`, name);
}

test('run --rm: output, errors and exit codes are the command’s, and nothing is left', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `rm-${tag}`;
  t.is((await exits(scene, 0, '--rm', 'busybox', 'echo', 'hello')).stdout, 'hello\n');
  const both = await exits(
    scene,
    3,
    '--rm',
    '--name',
    name,
    'busybox',
    'sh',
    '-c',
    'echo a; echo b >&2; exit 3',
  );
  t.deepEqual([both.stdout, both.stderr], ['a\n', 'b\n']);
  t.regex(
    (await exits(scene, 127, '--rm', 'busybox', 'nosuch')).stderr,
    /"nosuch".*executable file not found/,
  );
  t.regex((await exits(scene, 126, '--rm', 'busybox', '/etc')).stderr, /permission denied/i);
  await exits(scene, 125, '--rm', '--restart', 'always', 'busybox', 'true');
  t.deepEqual(await docker.lines('ps', '--all', '--quiet'), []);
});

test('run of an image that no node has: the client pulls it; its volumes, user and labels count', async (t, scene) => {
  const { docker, tag } = scene;
  const mark = await buildLayer([{ kind: 'file', path: 'data/from-image', content: tag }]);
  const image = buildImage(`made-${tag}:1`, [await busyboxLayer(), mark], {
    Env: [BUSYBOX_PATH],
    Cmd: ['sh', '-c', 'cat /data/from-image; id -u'],
    User: '4321',
    Labels: { from: 'image' },
    Volumes: { '/data': {} },
  });
  const reference = await pushImage(registry, image);
  const name = `pulled-${tag}`;
  const { stdout, stderr } = await exits(scene, 0, '--name', name, reference);
  t.is(stdout, `${tag}4321\n`);
  t.regex(stderr, /Unable to find image .* locally/);
  t.deepEqual(await inspect(scene, name, '.Config.Labels'), { from: 'image' });
  t.like(await inspect(scene, name, '.Config'), { User: '4321', Volumes: { '/data': {} } });
  const [mount] = await inspect<{ Name: string }[]>(scene, name, '.Mounts');
  await docker.ok('rm', '-v', name);
  t.false((await docker.lines('volume', 'ls', '--quiet')).includes(mount?.Name ?? ''));
  await exits(scene, 0, '--rm', '--pull', 'always', reference);
});

test('logs: files of a limited size keep the last lines, the driver none keeps nothing', async (t, scene) => {
  const { docker, tag } = scene;
  const [short, none] = [`short-${tag}`, `none-${tag}`];
  const limits = ['--log-opt', 'max-size=4k', '--log-opt', 'max-file=2'];
  await exits(scene, 0, '--name', short, ...limits, 'busybox', 'seq', '1', '1000');
  const kept = await docker.lines('logs', short);
  t.is(kept.at(-1), '1000');
  t.true(kept.length > 50 && kept.length < 200, `${kept.length}`);
  t.deepEqual(await docker.lines('logs', '--tail', '100', short), kept.slice(-100));
  const shown = { Type: 'json-file', Config: { 'max-size': '4k', 'max-file': '2' } };
  t.deepEqual(await inspect(scene, short, '.HostConfig.LogConfig'), shown);
  const said = await exits(scene, 0, '--name', none, '--log-driver', 'none', 'busybox', 'echo', 'said');
  t.is(said.stdout, 'said\n');
  t.regex((await docker.run(['logs', none])).stderr, /does not support reading/);
  await docker.ok('rm', short, none);
});

test('run -i and run -it: input goes in, a terminal is one', async (t, scene) => {
  const { docker } = scene;
  const piped = await docker.runWith('one\ntwo\n', ['run', '--rm', '-i', 'busybox', 'wc', '-l']);
  t.deepEqual([piped.code, piped.stdout.trim()], [0, '2']);
  const script = 'tty; read line; echo "got $line"; exit 4';
  const output = await docker.terminal(['run', '--rm', '-it', 'busybox', 'sh', '-c', script], 'typed\n');
  t.is(output.code, 4, output.stdout);
  t.regex(output.stdout, /\/dev\/pts\/0\r\n[^]*got typed\r\n/);
});

test('run -d -p: published on every node, with the image’s ports; -P chooses', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const [web, all] = [`web-${tag}`, `all-${tag}`];
  const port = tag === 'v20' ? 18_080 : 18_081;
  const id = await docker.ok('run', '-d', '--name', web, '-p', `${port}:80`, '--hostname', 'front', 'nginx');
  for (const node of ['a1', 'a2']) {
    const answer = await swarm.node(node).curl(`http://127.0.0.1:${port}/`);
    t.regex(answer, /^front /);
  }
  t.is(await docker.ok('port', web), `80/tcp -> 0.0.0.0:${port}`);
  t.regex(
    await docker.ok('ps', '--filter', `publish=${port}`),
    new RegExp(`0.0.0.0:${port}->80/tcp.*${web}`),
  );
  t.regex(
    await docker.fails('run', '-d', '-p', `${port}:80`, 'nginx'),
    new RegExp(`port is already allocated to container ${web}`),
  );
  const local = `local-${tag}`;
  const [node, other] = [swarm.node('a1'), swarm.node('a2')];
  const at = ['127.0.0.1', other.address].map((address) => `${address}:${port + 2}`);
  await docker.ok(
    'run',
    '-d',
    '--name',
    local,
    ...at.flatMap((to) => ['-p', `${to}:80`]),
    '-h',
    'x1',
    'nginx',
  );
  const shown = (await docker.ok('port', local)).split('\n').toSorted();
  t.deepEqual(shown, at.map((to) => `80/tcp -> ${to}`).toSorted(), 'several addresses');
  const answers = (to: string, name: string): Promise<unknown> =>
    swarm.eventually(async () => (await other.curl(`http://${to}/`).catch(() => '')).startsWith(name));
  for (const to of at) await answers(to, 'x1 ');
  await t.throwsAsync(node.curl(`http://${node.address}:${port + 2}/`), undefined, 'nowhere else');
  t.regex(await docker.fails('run', '-d', '-p', `${port + 2}:80`, 'nginx'), /Bind for .* container local-/);
  const [beside, third] = [`beside-${tag}`, `${node.address}:${port + 2}`];
  await docker.ok('run', '-d', '--name', beside, '-p', `${third}:80`, '-h', 'x2', 'nginx');
  await answers(third, 'x2 ');
  for (const to of at) await answers(to, 'x1 ');
  await docker.ok('run', '-d', '--name', all, '-P', 'nginx');
  t.regex(await docker.ok('port', all, '80'), /^0\.0\.0\.0:3\d{4}$/);
  t.is(await docker.ok('inspect', '--format', '{{.Id}}', web), id);
  await docker.ok('rm', '-f', web, all, local, beside);
  t.is(await docker.ok('ps', '-aq'), '');
});

test('run with volumes: named, bound, anonymous, tmpfs; -v of rm', async (t, scene) => {
  const { docker, tag } = scene;
  const [one, two, volume] = [`v1-${tag}`, `v2-${tag}`, `data-${tag}`];
  const host = await mkdtemp(path.join(os.tmpdir(), 'shoal-client-'));
  t.teardown(() => rm(host, { recursive: true, force: true }));
  const write =
    'echo kept >/data/f; echo host >/host/g; touch /anon/h /scratch/i; grep " /scratch " /proc/mounts';
  const mounts = [
    '-v',
    `${volume}:/data`,
    '-v',
    `${host}/made:/host`,
    '-v',
    '/anon',
    '--tmpfs',
    '/scratch:size=64k',
  ];
  const first = await exits(scene, 0, '--name', one, ...mounts, 'busybox', 'sh', '-c', write);
  t.is(await readFile(path.join(host, 'made', 'g'), 'utf8'), 'host\n');
  t.regex(first.stdout, /tmpfs.*size=64k/);
  type Point = { Type: string; Name?: string; Destination: string; RW: boolean };
  const points = await inspect<Point[]>(scene, one, '.Mounts');
  t.deepEqual(points.map((point) => `${point.Type} ${point.Destination}`).sort(), [
    'bind /host',
    'tmpfs /scratch',
    'volume /anon',
    'volume /data',
  ]);
  const anonymous = points.find((point) => point.Destination === '/anon')?.Name ?? '';
  t.true((await docker.lines('volume', 'ls', '--quiet')).includes(anonymous));
  // It goes where the volume is, whatever else is free.
  for (let i = 0; i < 3; i += 1) {
    const again = await exits(scene, 0, '--rm', '-v', `${volume}:/data:ro`, 'busybox', 'cat', '/data/f');
    t.is(again.stdout, 'kept\n');
  }
  const refused = await exits(
    scene,
    1,
    '--name',
    two,
    '-v',
    `${volume}:/data:ro`,
    'busybox',
    'touch',
    '/data/x',
  );
  t.regex(refused.stderr, /Read-only file system/);
  t.deepEqual(await docker.lines('ps', '-a', '--filter', `volume=${volume}`, '--format', '{{.Names}}'), [
    two,
    one,
  ]);
  await docker.ok('rm', '-v', one);
  const left = await docker.lines('volume', 'ls', '--quiet');
  t.deepEqual([left.includes(anonymous), left.includes(volume)], [false, true]);
  await docker.ok('rm', two);
  await docker.ok('volume', 'rm', volume);
});

test('a path in a volume, a bind of one mount alone, a tmpfs with options', async (t, scene) => {
  const { docker, tag } = scene;
  const [volume, name] = [`parts-${tag}`, `part-${tag}`];
  const fill = 'mkdir -p /v/a/b && echo inner >/v/a/b/f && ln -s /etc /v/out';
  await exits(scene, 0, '--rm', '-v', `${volume}:/v`, 'busybox', 'sh', '-c', fill);
  const tmpfs = ['--tmpfs', '/t:exec,uid=7,gid=8,mode=0700,size=4m'];
  const script =
    'cp /bin/busybox /t/ && /t/busybox echo ran; stat -c "%u %g %a" /t; grep " /t " /proc/mounts';
  const ran = await exits(scene, 0, '--rm', ...tmpfs, 'busybox', 'sh', '-c', script);
  t.regex(ran.stdout, /^ran\n7 8 700\ntmpfs \/t tmpfs rw,nosuid,nodev,relatime,size=4096k/);
  t.regex(
    await docker.fails('create', '--tmpfs', '/t:huge=always', 'busybox'),
    /option 'huge=always' of \/t/,
  );
  // The older client has no word for it.
  if (tag !== 'v28') return;
  const part = (subpath: string) => [
    '--mount',
    `type=volume,source=${volume},target=/d,volume-subpath=${subpath}`,
  ];
  const cat = ['busybox', 'cat', '/d/f'];
  t.is((await exits(scene, 0, '--name', name, ...part('a/b'), ...cat)).stdout, 'inner\n');
  t.is(await docker.ok('cp', `${name}:/d/f`, '-').then((tar) => tar.includes('inner')), true);
  for (const path of ['out', 'none']) await exits(scene, 125, '--rm', ...part(path), ...cat);
  t.regex(await docker.fails('create', ...part('../x'), ...cat), /must be a relative path in the volume/);
  const bind = [
    '--mount',
    'type=bind,source=/proc,target=/p,bind-recursive=disabled',
    'busybox',
    'ls',
    '/p/sys',
  ];
  t.not((await exits(scene, 0, '--rm', ...bind)).stdout, '');
  await docker.ok('rm', name);
});

test('a container finds its node as host-gateway', async (t, scene) => {
  await exits(scene, 0, '--rm', '--add-host', 'node:host-gateway', 'busybox', 'ping', '-c', '1', 'node');
  t.pass();
});

test('options reach the container', async (t, scene) => {
  const { docker, tag } = scene;
  const options = [
    ...['-e', 'A={{b}}', '-u', '1234:99', '-w', '/tmp', '--hostname', 'box', '--add-host', 'db:10.9.8.7'],
    ...['--dns', '9.9.9.9', '--dns-search', 'corp.test', '--label', 'x=y', '--ulimit', 'nofile=77:88'],
    ...['--memory', '64m', '--cpus', '0.5', '--cpu-shares', '512', '--pids-limit', '50', '--shm-size', '1m'],
    ...['--sysctl', 'net.ipv4.ip_forward=1', '--read-only', '--cap-drop', 'ALL', '--group-add', '555'],
    ...['--security-opt', 'no-new-privileges', '--stop-signal', 'SIGUSR1', '--stop-timeout', '3'],
    ...['--oom-score-adj', '100', '--log-driver', 'json-file', '--init', '--cgroupns', 'private'],
  ];
  const script = [
    'echo $A; id -u; id -G; pwd; hostname; grep db /etc/hosts; grep search /etc/resolv.conf; ulimit -n',
    'df -k /dev/shm | tail -1; cat /proc/sys/net/ipv4/ip_forward; touch /x; grep CapBnd /proc/self/status',
    'cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status; cat /proc/1/comm',
  ].join('; ');
  const name = `opts-${tag}`;
  const { stdout, stderr } = await exits(scene, 0, '--name', name, ...options, 'busybox', 'sh', '-c', script);
  const lines = stdout.split('\n').map((line) => line.replaceAll(/\s+/g, ' '));
  t.deepEqual(lines.slice(0, 5), ['{{b}}', '1234', '99 555', '/tmp', 'box']);
  t.regex(
    stdout,
    /10\.9\.8\.7\tdb\n[^]*search corp\.test\n77\n[^]* 1024 [^]*\n1\nCapBnd:\t0+\n100\nNoNewPrivs:\t1\n/,
  );
  t.regex(stderr, /Read-only file system/);
  const host = await inspect<Record<string, unknown>>(scene, name, '.HostConfig');
  t.like(host, {
    Memory: 67_108_864,
    NanoCpus: 500_000_000,
    CpuShares: 512,
    PidsLimit: 50,
    ReadonlyRootfs: true,
  });
  const config = await inspect<Record<string, unknown>>(scene, name, '.Config');
  t.like(config, {
    Hostname: 'box',
    User: '1234:99',
    WorkingDir: '/tmp',
    StopSignal: 'SIGUSR1',
    StopTimeout: 3,
  });
  await docker.ok('rm', name);
});

test('what can not be had is refused by name', async (t, scene) => {
  const { docker } = scene;
  const refused = async (pattern: RegExp, ...args: string[]) =>
    t.regex(await docker.fails('create', ...args, 'busybox'), pattern);
  await refused(/not supported by Shoal: HostConfig.CgroupParent/, '--cgroup-parent', '/x');
  await refused(/: No such container: x$/m, '--volumes-from', 'x');
  await refused(/container\[:ro\|:rw\] is expected/, '--volumes-from', 'x:rx');
  await refused(/: No such container: x$/m, '--network', 'container:x');
  await refused(/\(no AppArmor \(profile web is asked for\) on 2 nodes\)/, '--security-opt', 'apparmor=web');
  await refused(
    /no SELinux \(label=type:web_t is asked for\) on 2 nodes/,
    '--security-opt',
    'label=type:web_t',
  );
  await refused(/SecurityOpt: 'label=x': 'label=disable', or/, '--security-opt', 'label=x');
  await refused(/'awslogs' \(json-file, local, none, syslog, journald are\)/, '--log-driver', 'awslogs');
  await refused(/on user defined networks only/, '--network', 'bridge', '--ip', '10.0.0.9');
  await refused(/StorageOpt: unknown option 'inodes'/, '--storage-opt', 'inodes=5');
  await refused(/storageOpt: size: at least 1048576 bytes/, '--storage-opt', 'size=1k');
  await refused(
    /its file system can not limit the disks of containers on 2 nodes/,
    '--storage-opt',
    'size=1g',
  );
  await refused(/network nosuch not found/, '--network', 'nosuch');
  await refused(
    /no suitable node \(insufficient memory on 2 nodes\)/,
    '--memory-reservation',
    '900g',
    '--memory',
    '901g',
  );
  const constraint = 'com.docker.swarm.constraints=["node.hostname==nowhere"]';
  await refused(
    /no suitable node \(constraint node.hostname==nowhere not met on 2 nodes\)/,
    '--label',
    constraint,
  );
  t.regex(await docker.fails('create', '--pull', 'never', 'nosuch:1'), /No such image: nosuch:1/);
  t.deepEqual(await docker.lines('ps', '-aq'), []);
});

test('placed by label; on an attachable network by name; host and none', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const [net, closed, db] = [`net-${tag}`, `closed-${tag}`, `db-${tag}`];
  await docker.ok('network', 'create', '--driver', 'overlay', '--attachable', net);
  await docker.ok('network', 'create', '--driver', 'overlay', closed);
  t.regex(await docker.fails('create', '--network', closed, 'busybox'), /not manually attachable/);
  const on = (node: string) => ['--label', `com.docker.swarm.constraints=["node.hostname==${node}"]`];
  const id = await docker.ok(
    'run',
    '-d',
    '--name',
    db,
    ...on('a1'),
    '--network',
    net,
    '--network-alias',
    'store',
    'nginx',
  );
  const fetched = (name: string) =>
    docker.run(['run', '--rm', ...on('a2'), '--network', net, 'busybox', 'wget', '-qO-', name]);
  for (const name of [db, 'store', id.slice(0, 12)]) {
    // It runs, but may not listen yet, and the other node may not have heard of it.
    await swarm.eventually(async () => (await fetched(name)).code === 0);
    const { stdout } = await fetched(name);
    t.regex(stdout, /^[0-9a-f]{12} /);
  }
  type Endpoint = { IPAddress: string; Gateway: string; IPPrefixLen: number };
  const networks = await inspect<Record<string, Endpoint>>(scene, db, '.NetworkSettings.Networks');
  t.regex(networks[net]?.IPAddress ?? '', /^10\.\d+\.\d+\.\d+$/);
  t.deepEqual(await docker.lines('ps', '--filter', `network=${net}`, '--format', '{{.Names}}'), [db]);
  const users = await docker.json<Record<string, { Name: string }>>(
    ...['network', 'inspect', '--format', '{{json .Containers}}', net],
  );
  t.is(users[id]?.Name, db);
  t.regex(await docker.fails('network', 'rm', net), /is in use/);
  const none = await exits(scene, 0, '--rm', '--network', 'none', 'busybox', 'ls', '/sys/class/net');
  t.is(none.stdout.trim(), 'lo');
  const host = await exits(scene, 0, '--rm', '--network', 'host', ...on('a2'), 'busybox', 'hostname');
  t.is(host.stdout.trim(), 'a2');
  await docker.ok('rm', '-f', db);
  await docker.ok('network', 'rm', net, closed);
});

test('restart policies: started again, and counted; a stop is a stop', async (t, scene) => {
  const { docker, tag } = scene;
  const [always, some] = [`always-${tag}`, `some-${tag}`];
  await docker.ok('run', '-d', '--name', always, '--restart', 'always', 'busybox', 'sh', '-c', 'sleep 0.2');
  await docker.ok('run', '-d', '--name', some, '--restart', 'on-failure:2', 'busybox', 'sh', '-c', 'exit 5');
  const restarts = (name: string) => inspect<number>(scene, name, '.RestartCount');
  await until(async () => (await restarts(always)) >= 2);
  t.is(await docker.ok('wait', some), '5');
  t.is(await restarts(some), 2);
  t.like(await inspect(scene, some, '.State'), { Status: 'exited', ExitCode: 5, Restarting: false });
  t.like(await inspect(scene, some, '.HostConfig.RestartPolicy'), {
    Name: 'on-failure',
    MaximumRetryCount: 2,
  });
  await docker.ok('stop', '-t', '0', always);
  t.is(await inspect(scene, always, '.State.Running'), false);
  await docker.ok('update', '--restart', 'no', always);
  t.like(await inspect(scene, always, '.HostConfig.RestartPolicy'), { Name: 'no' });
  await docker.ok('rm', always, some);
});

test('update changes the limits of a container that runs, and those of its next start', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const name = `limits-${tag}`;
  const id = await docker.ok('run', '-d', '--name', name, '--memory', '64m', 'busybox', 'sleep', '1000');
  const limit = async (file: string): Promise<number> =>
    Number(await docker.ok('exec', name, 'cat', `/sys/fs/cgroup/${file}`));
  const memory = () => limit('memory/memory.limit_in_bytes');
  const pid = await inspect<number>(scene, name, '.State.Pid');
  const MiB = 1024 * 1024;
  const more = ['--memory', '96m', '--memory-swap', '96m', '--cpu-shares', '300', '--pids-limit', '50'];
  await docker.ok('update', ...more, '--cpus', '0.5', name);
  t.is(await memory(), 96 * MiB);
  t.deepEqual([await limit('cpu/cpu.shares'), await limit('cpu/cpu.cfs_quota_us')], [300, 50_000]);
  t.is(await limit('pids/pids.max'), 50);
  await docker.ok('update', '--memory', '32m', '--memory-swap', '32m', name);
  t.is(await memory(), 32 * MiB);
  t.is(await limit('pids/pids.max'), 50, 'what is not named stays');
  t.like(await inspect(scene, name, '.HostConfig'), { Memory: 32 * MiB, CpuShares: 300, PidsLimit: 50 });
  t.is(await inspect(scene, name, '.State.Pid'), pid, 'it was not started again');

  t.regex(await docker.fails('update', '--memory', '48m', name), /memorySwap: .*not less than/);
  t.regex(await docker.fails('update', '--memory', '1m', '--memory-swap', '1m', name), /at least 4 MiB/);
  t.regex(
    await docker.fails('update', '--cpuset-cpus', '0', name),
    /cpuset: on cgroup v1 a container made without one/,
  );
  t.is(await memory(), 32 * MiB, 'what was refused has not been');
  await docker.ok('restart', '-t', '0', name);
  await swarm.eventually(async () => (await inspect(scene, name, '.State.Running')) === true);
  t.is(await memory(), 32 * MiB);
  await docker.ok('rm', '-f', id);
});

test('names: conflicts, rename, prune, filters of ps', async (t, scene) => {
  const { docker, tag } = scene;
  const [one, two, new1] = [`n1-${tag}`, `n2-${tag}`, `new-${tag}`];
  const id = await docker.ok('create', '--name', one, '--label', 'keep=1', 'busybox', 'true');
  t.regex(
    await docker.fails('create', '--name', one, 'busybox'),
    new RegExp(`Conflict. The container name "/${one}" is already in use by container "${id}"`),
  );
  t.regex(await docker.fails('create', '--name', 'a b', 'busybox'), /Invalid container name \(a b\)/);
  await exits(scene, 7, '--name', two, 'busybox', 'sh', '-c', 'exit 7');
  await docker.ok('rename', one, new1);
  t.regex(await docker.fails('rename', new1, two), /Conflict. The container name/);
  const names = (...filters: string[]) =>
    docker.lines('ps', '-a', '--format', '{{.Names}}', ...filters.flatMap((filter) => ['--filter', filter]));
  t.deepEqual(await names(), [two, new1]);
  t.deepEqual(await names('status=created'), [new1]);
  t.deepEqual(await names('exited=7', 'status=exited'), [two]);
  t.deepEqual(await names(`before=${two}`), [new1]);
  t.deepEqual(await names(`since=${new1}`), [two]);
  t.deepEqual(await names(`name=^/n2-v\\d+$`), [two]);
  t.deepEqual(await names('label=keep=1'), [new1]);
  t.deepEqual(await names('ancestor=busybox', 'is-task=false'), [two, new1]);
  t.deepEqual(await names('is-task=true'), []);
  t.regex(await docker.fails('ps', '--filter', 'status=nosuch'), /invalid filter 'status=nosuch'/);
  t.regex((await docker.lines('ps', '-a', '--size', '--filter', `name=${two}`)).at(-1) ?? '', /virtual/);
  const pruned = await docker.ok('container', 'prune', '--force', '--filter', 'label!=keep');
  t.regex(pruned, /Deleted Containers:\n[0-9a-f]{64}\n\nTotal reclaimed space/);
  t.deepEqual(await names(), [new1]);
  await docker.ok('container', 'prune', '--force');
  t.deepEqual(await names(), []);
});

test('start -a, wait, logs, diff of a service’s container and a single one', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `again-${tag}`;
  await docker.ok('create', '--name', name, 'busybox', 'sh', '-c', 'echo run; exit 2');
  for (let i = 0; i < 2; i += 1) {
    const output = await docker.run(['start', '-a', name]);
    t.deepEqual([output.code, output.stdout], [2, 'run\n']);
  }
  t.is(await docker.ok('wait', name), '2');
  t.is(await docker.ok('logs', name), 'run\nrun');
  t.regex(await docker.fails('kill', name), /is not running/);
  await docker.ok('rm', name);

  const service = `svc-${tag}`;
  await docker.ok(
    'service',
    'create',
    '--quiet',
    '--detach',
    '--no-resolve-image',
    '--name',
    service,
    'busybox',
    'sleep',
    '1000',
  );
  await scene.swarm.eventually((s) => s.running(service).count === 1);
  const [task = ''] = await docker.lines('ps', '--quiet', '--filter', 'is-task=true');
  for (const words of [['start'], ['restart'], ['rm'], ['rm', '-f']]) {
    t.regex(await docker.fails(...words, task), new RegExp(`belongs to service ${service}`));
  }
  t.regex(await docker.fails('rename', task, 'other'), new RegExp(`belongs to service ${service}`));
  await docker.ok('service', 'rm', service);
});

test('health, exec, pause, top and copies of a single container by its name', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `health-${tag}`;
  const check = ['--health-cmd', 'test -e /well', '--health-interval', '100ms', '--health-retries', '1'];
  await docker.ok('run', '-d', '--name', name, ...check, 'busybox', 'sleep', '1000');
  const health = (): Promise<string> => inspect<string>(scene, name, '.State.Health.Status');
  await until(async () => (await health()) === 'unhealthy');
  const found = await inspect<{ FailingStreak: number; Log: { ExitCode: number }[] }>(
    scene,
    name,
    '.State.Health',
  );
  t.true(found.FailingStreak >= 1 && found.Log.length > 0 && found.Log.length <= 5, JSON.stringify(found));
  t.is(found.Log.at(-1)?.ExitCode, 1);
  t.is(await inspect(scene, name, '.State.Status'), 'running', 'it goes on');
  await docker.ok('exec', name, 'touch', '/well');
  await until(async () => (await health()) === 'healthy');
  t.deepEqual(await docker.lines('ps', '--filter', 'health=healthy', '--format', '{{.Names}}'), [name]);
  t.regex(await docker.ok('top', name), /sleep 1000/);
  await docker.ok('pause', name);
  t.regex(await docker.fails('start', name), /cannot start a paused container/);
  t.is(await inspect(scene, name, '.State.Status'), 'paused');
  await docker.ok('unpause', name);
  t.regex(await docker.ok('diff', name), /A \/well/);
  const followed = docker.ok('logs', '--follow', name);
  await docker.ok('stop', '-t', '0', name);
  t.is(await followed, '', 'the followed log ends with the run');
  await docker.ok('rm', name);
});

test('a container that takes more memory than it may is seen to have been killed for it', async (t, scene) => {
  const { docker, tag } = scene;
  const name = `oom-${tag}`;
  const script = 'x=$(dd if=/dev/zero bs=1M count=64 2>/dev/null | tr "\\0" a)';
  await exits(scene, 137, '--name', name, '--memory', '16m', 'busybox', 'sh', '-c', script);
  t.like(await inspect(scene, name, '.State'), { OOMKilled: true, ExitCode: 137, Status: 'exited' });
  const filters = ['--filter', 'type=container', '--filter', `container=${name}`];
  // Clients make whole seconds of durations.
  const until = String(Math.ceil(Date.now() / 1000) + 1);
  const span = ['--format', '{{.Action}}', '--since', '10m', '--until', until];
  const actions = await docker.lines('events', ...filters, ...span);
  t.deepEqual(
    actions.filter((action) => action !== 'attach'),
    ['create', 'start', 'oom', 'die'],
  );
  await docker.ok('rm', name);
});

test('privileged, devices, namespaces of the node, a service of the same name', async (t, scene) => {
  const { docker, tag } = scene;
  const bounding = async (...args: string[]) =>
    (await exits(scene, 0, '--rm', ...args, 'busybox', 'grep', 'CapBnd', '/proc/self/status')).stdout.trim();
  const usual = await bounding();
  t.not(await bounding('--privileged'), usual);
  t.not(await bounding('--cap-add', 'SYS_TIME'), usual);
  const device = ['--device', '/dev/null:/dev/nothing:rw'];
  t.regex((await exits(scene, 0, '--rm', ...device, 'busybox', 'ls', '-l', '/dev/nothing')).stdout, /^c/);
  const pid = await exits(scene, 0, '--rm', '--pid', 'host', 'busybox', 'sh', '-c', 'echo $$');
  t.true(Number(pid.stdout) > 1);
  const name = `same-${tag}`;
  await docker.ok(
    ...[
      'service',
      'create',
      '--quiet',
      '--detach',
      '--no-resolve-image',
      '--name',
      name,
      'busybox',
      'sleep',
      '9',
    ],
  );
  await docker.ok('create', '--name', name, 'busybox', 'true');
  await docker.ok('service', 'rm', name);
  t.is(await inspect(scene, name, '.Name'), `/${name}`);
  await docker.ok('rm', name);
});
