/** docker create, run -d, start, stop, restart, kill, rename, rm, prune, wait, inspect and ps of single containers. */
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { hostname } from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { reachableAddress } from '../harness/outside.ts';
import { checkoutDir } from '../harness/peers.ts';
import { busyboxImage, nginxImage } from '../images/images.ts';
import { IMAGE, LOCAL, suite } from './suite.ts';

const images = [await busyboxImage(), await nginxImage()];
const ON_A1 = 'com.docker.swarm.constraints=["node.hostname==a1"]';
const { test } = await suite((cluster) => cluster.agents(2).images(...images));

test('create, start, inspect, ps, stop, start again, rm', async (t, { docker, tag }) => {
  const name = `life-${tag}`;
  const script = 'echo run >>/count; echo hello $(wc -l </count); exec sleep 1000';
  const id = await docker.ok(
    'create',
    '--name',
    name,
    '--entrypoint',
    'sh',
    '-e',
    'A=b',
    IMAGE,
    '-c',
    script,
  );
  t.regex(id, /^[0-9a-f]{64}$/);
  const state = (format: string) => docker.ok('inspect', '--format', format, name);
  t.is(await state('{{.State.Status}} {{.Name}} {{.RestartCount}}'), `created /${name} 0`);
  t.is(await docker.ok('start', name), name);
  t.is(await state('{{.State.Status}} {{.State.Running}}'), 'running true');
  t.regex(await docker.ok('ps', '--filter', `name=${name}`), new RegExp(`${id.slice(0, 12)}.*Up .*${name}`));
  t.is(await docker.ok('stop', '-t', '0', name), name);
  t.is(await state('{{.State.Status}} {{.State.ExitCode}}'), 'exited 137');
  await docker.ok('start', id.slice(0, 12));
  await docker.ok('restart', '-t', '0', name);
  await docker.ok('kill', name);
  t.is(await docker.ok('logs', name), 'hello 1\nhello 2\nhello 3');
  t.deepEqual(await docker.lines('service', 'ls', '--quiet'), []);
  await docker.ok('rm', name);
  t.regex(await docker.fails('inspect', name), /No such object/);
});

test('namespaces of another container: on its node, with its name, and only while it runs', async (t, {
  docker,
  swarm,
  tag,
}) => {
  const [donor, child] = [`donor-${tag}`, `child-${tag}`];
  const a2 = ['--label', 'com.docker.swarm.constraints=["node.hostname==a2"]'];
  const script = 'echo kept > /dev/shm/note; exec sleep 1000';
  const lends = ['--ipc', 'shareable', '--shm-size', '1m', '--hostname', 'lender'];
  const run = (...args: string[]) => docker.ok('run', ...args);
  const id = await docker.ok('run', '-d', '--name', donor, ...a2, ...lends, 'busybox', 'sh', '-c', script);
  const own = async (type: string) =>
    (await docker.ok('exec', donor, 'readlink', `/proc/1/ns/${type}`)).trim();
  const joined = (...options: string[]) => run('--rm', ...options, 'busybox', 'sh', '-c', look);
  const look = 'for n in net pid ipc; do readlink /proc/self/ns/$n; done; hostname; cat /etc/hosts';
  const mode = `container:${donor}`;
  const seen = await joined('--network', mode, '--pid', `container:${id}`, '--ipc', mode);
  const hosts = await docker.ok('exec', donor, 'cat', '/etc/hosts');
  t.deepEqual(seen.trim().split('\n'), [
    ...[await own('net'), await own('pid'), await own('ipc'), 'lender'],
    ...hosts.trim().split('\n'),
  ]);
  t.is(await run('--rm', '--ipc', mode, 'busybox', 'cat', '/dev/shm/note'), 'kept');
  const size = await run('--rm', '--ipc', mode, 'busybox', 'df', '-k', '/dev/shm');
  t.regex(size, /\b1024\b/);
  // What one leaves behind in the namespace of another ends with it, and nothing of the other does.
  await run('--rm', '--pid', mode, 'busybox', 'sh', '-c', 'sleep 987 & exit 0');
  t.notRegex(await docker.ok('top', donor), /987/);
  t.regex(await docker.ok('exec', donor, 'ps'), /sleep 1000/);
  t.notRegex(await docker.ok('exec', donor, 'ps'), /987/);

  await docker.ok('run', '-d', '--name', child, '--network', mode, 'nginx');
  t.is(
    await docker.json('inspect', '--format', '{{json .HostConfig.NetworkMode}}', child),
    `container:${id}`,
  );
  await swarm.eventually(
    async () => (await docker.run(['exec', donor, 'wget', '-qO-', '127.0.0.1'])).code === 0,
  );
  const plain = await docker.fails('create', '--ipc', `container:${child}`, 'busybox');
  t.regex(plain, /non-shareable IPC/);
  t.regex(
    await docker.fails('network', 'connect', 'bridge', child),
    /cannot be disconnected from container:/,
  );
  const named = ['create', '--network', mode, '--hostname', 'x', 'busybox'];
  t.regex(await docker.fails(...named), /hostname and the (container type )?network mode/);
  t.regex(await docker.fails('create', '--pid', 'container:nobody', 'busybox'), /No such container: nobody/);
  const far = ['--label', 'com.docker.swarm.constraints=["node.hostname==a1"]', '--pid', mode];
  t.regex(await docker.fails('create', ...far, 'busybox'), /no suitable node/);

  await docker.ok('stop', '-t', '0', child, donor);
  t.regex(
    await docker.fails('start', child),
    /cannot join network namespace of a non running container: donor/,
  );
  await docker.ok('start', donor);
  await docker.ok('start', child);
  t.is((await docker.ok('exec', child, 'hostname')).trim(), 'lender');
  await docker.ok('rm', '-f', donor, child);
});

test('a syslog daemon gets all that containers say, and docker logs has it too', async (t, {
  docker,
  swarm,
  tag,
}) => {
  let got = '';
  const server = createServer((socket) => {
    socket.on('data', (data) => (got += data.toString()));
    socket.on('error', () => undefined);
  });
  t.teardown(() => server.close());
  server.listen(0, reachableAddress());
  await once(server, 'listening');
  const { address, port } = server.address() as AddressInfo;
  const options = ['--log-driver', 'syslog', '--log-opt', `syslog-address=tcp://${address}:${port}`];
  const run = (...args: string[]) => docker.ok('run', ...options, '--log-opt', 'tag={{.Name}}', ...args);
  const said = () => got.split('\n').map((line) => line.replace(/^<(\d+)>.* ([\w-]+)\[\d+\]: /, '$1 $2 '));
  // One that removes itself has sent all before it is gone.
  const short = `short-${tag}`;
  await run('--rm', '--name', short, 'busybox', 'sh', '-c', 'echo one; sleep 0.2; echo two >&2');
  await swarm.eventually(async () => said().length > 2);
  t.deepEqual(said().slice(0, 2), [`30 ${short} one`, `27 ${short} two`]);

  const long = `long-${tag}`;
  const count = 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done';
  await run('-d', '--name', long, '--label', ON_A1, 'busybox', 'sh', '-c', count);
  await swarm.eventually(async () => said().includes(`30 ${long} 5`));
  await swarm.node('a1').restart();
  const after = (await docker.lines('logs', long)).at(-1) ?? '';
  await swarm.eventually(async () => said().includes(`30 ${long} ${after}`));
  // None is missing; some may have come twice, for the agent was killed.
  const numbers = said().flatMap((line) =>
    line.startsWith(`30 ${long} `) ? [Number(line.split(' ')[2])] : [],
  );
  t.deepEqual(
    [...new Set(numbers)].slice(0, Number(after)),
    Array.from({ length: Number(after) }, (_, i) => i + 1),
  );
  t.true(numbers.length < 2 * Number(after));
  await docker.ok('rm', '-f', long);
});

test('an agent that is killed while it stops, removes or has paused containers leaves none behind', async (t, {
  docker,
  swarm,
  tag,
}) => {
  const [paused, stubborn, gone] = [`paused-${tag}`, `stubborn-${tag}`, `gone-${tag}`];
  const run = (name: string, script: string) =>
    docker.ok('run', '-d', '--name', name, '--label', ON_A1, 'busybox', 'sh', '-c', script);
  // It hears the signal, and goes on.
  const deaf = 'trap "echo heard" TERM; echo up; while :; do sleep 0.1; done';
  await run(paused, 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done');
  await docker.ok(
    ...['run', '-d', '--name', stubborn, '--label', ON_A1, '--stop-timeout', '2'],
    ...['busybox', 'sh', '-c', deaf],
  );
  await run(gone, deaf);
  const service = `deaf-${tag}`;
  const placed = ['--constraint', 'node.hostname==a1', '--stop-grace-period', '3s'];
  const shell = ['--entrypoint', '/bin/sh', IMAGE, '-c', deaf];
  await docker.ok('service', 'create', ...LOCAL, '-d', '--name', service, ...placed, ...shell);
  const says = async (text: string, ...command: string[]) => (await docker.lines(...command)).includes(text);
  await swarm.eventually(() => says('up', 'service', 'logs', '--raw', service));
  for (const name of [stubborn, gone]) await swarm.eventually(() => says('up', 'logs', name));
  await docker.ok('pause', paused);

  // The grace of both has begun when the agent is killed, and the removal may have got anywhere.
  const interrupted = docker.run(['stop', '-t', '60', stubborn]);
  await docker.ok('service', 'scale', '-d', `${service}=0`);
  await swarm.eventually(() => says('heard', 'logs', stubborn));
  await swarm.eventually(() => says('heard', 'service', 'logs', '--raw', service));
  const removal = docker.run(['rm', '-f', gone]);
  await swarm.node('a1').restart();
  await Promise.all([interrupted, removal]);

  const state = (name: string) => docker.ok('inspect', '--format', '{{.State.Status}}', name);
  t.is(await state(paused), 'paused');
  const before = await docker.lines('logs', paused);
  await docker.ok('unpause', paused);
  await swarm.eventually(async () => (await docker.lines('logs', paused)).length > before.length);
  // A stop that was cut off is begun anew, with the container's own grace.
  t.is(await state(stubborn), 'exited');
  t.is(await docker.ok('inspect', '--format', '{{.State.ExitCode}}', stubborn), '137');
  await swarm.eventually((s) => s.running(service).count === 0);
  await docker.run(['rm', '-f', gone]);
  await swarm.eventually(
    async () => (await docker.lines('ps', '-aq', '--filter', `name=${gone}`)).length === 0,
  );
  await docker.ok('rm', '-f', paused, stubborn);
  await docker.ok('service', 'rm', service);
  // No process of any of them is left in any cgroup of the node.
  await swarm.eventually(
    async () => !(await swarm.node('a1').run('ps', '-eo', 'args')).includes('trap "echo heard"'),
  );
});

test('memory nodes, paths of the kernel, annotations', async (t, { docker, swarm, tag }) => {
  const name = `system-${tag}`;
  // The older client has no word for annotations.
  const annotation = tag === 'v28' ? ['--annotation', 'org.example.a=b'] : [];
  const options = ['--cpuset-mems', '0', '--security-opt', 'systempaths=unconfined', ...annotation];
  const script =
    'grep -c " /proc/[a-z]" /proc/mounts; cat /sys/fs/cgroup/cpuset/cpuset.mems; exec sleep 1000';
  await docker.ok('run', '-d', '--name', name, ...options, 'busybox', 'sh', '-c', script);
  await swarm.eventually(async () => (await docker.lines('logs', name)).length === 2);
  t.deepEqual(await docker.lines('logs', name), ['0', '0'], 'nothing is mounted over a path of /proc');
  const host = await docker.json<Record<string, unknown>>('inspect', '-f', '{{json .HostConfig}}', name);
  t.like(host, { CpusetMems: '0', MaskedPaths: [], ReadonlyPaths: [] });
  if (tag === 'v28') t.deepEqual(host['Annotations'], { 'org.example.a': 'b' });
  await docker.ok('update', '--cpuset-mems', '0', name);
  t.regex(
    await docker.fails('update', '--cpuset-mems', '99', name),
    /cpusetMems: memory nodes 99 are not on this node, which has 0/,
  );
  t.regex(await docker.fails('update', '--cpuset-mems', 'x', name), /such as '0-2,4' is expected/);
  await docker.ok('rm', '-f', name);
});

/** Of cgroup v1, where it is mounted; else that of v2. */
const group = (v1: string, v2: string): string =>
  existsSync('/sys/fs/cgroup/memory') ? `cat /sys/fs/cgroup/${v1}` : `cat /sys/fs/cgroup/${v2}`;

test('options that few ask for reach the container, or are refused by name', async (t, { docker, tag }) => {
  const name = `rare-${tag}`;
  const [disk = ''] = readdirSync('/sys/block').filter((one) => existsSync(`/dev/${one}`));
  const isV1 = existsSync('/sys/fs/cgroup/memory');
  const options = [
    ...['--domainname', 'sea.test', '--dns-option', 'ndots:3', '--expose', '81', '--publish-all'],
    ...['--device-cgroup-rule', 'c 1:11 w', '--device-read-bps', `/dev/${disk}:1mb`, '--userns', 'host'],
    ...['--device-write-iops', `/dev/${disk}:50`, '--cpu-period', '50000', '--cpu-quota', '20000'],
    ...['--volume-driver', 'local', '--isolation', 'default', '--runtime', 'runc', '--memory', '64m'],
    ...(isV1 ? ['--oom-kill-disable', '--memory-swappiness', '7'] : []),
  ];
  const script = [
    'cat /proc/sys/kernel/domainname; grep ndots /etc/resolv.conf',
    group('cpu/cpu.cfs_quota_us', 'cpu.max'),
    group('blkio/blkio.throttle.read_bps_device', 'io.max'),
    group('blkio/blkio.throttle.write_iops_device', 'io.max'),
    'mknod /k c 1 11; (exec 3>>/k) && echo may write; (exec 3</k) 2>/dev/null || echo may not read',
    ...(isV1 ? ['cd /sys/fs/cgroup/memory; cat memory.swappiness; head -n 1 memory.oom_control'] : []),
  ].join('; ');
  const lines = (await docker.ok('run', '--name', name, ...options, 'busybox', 'sh', '-c', script)).split(
    '\n',
  );
  t.deepEqual(lines.slice(0, 2), ['sea.test', 'options ndots:3']);
  // A number of processors: what the kernel gets may count another period.
  t.regex(lines[2] ?? '', /^(20000|20000 50000)$/);
  t.regex(lines[3] ?? '', / (1048576|rbps=1048576 .*)/);
  t.regex(lines[4] ?? '', / (50$|.*wiops=50)/);
  t.deepEqual(lines.slice(5, 7), ['may write', 'may not read']);
  if (isV1) t.deepEqual(lines.slice(7), ['7', 'oom_kill_disable 1']);
  t.regex(await docker.ok('inspect', '-f', '{{json .Config.ExposedPorts}}', name), /"81\/tcp"/);
  await docker.ok('rm', name);
  const node = await docker.ok('run', '--rm', '--uts', 'host', '--label', ON_A1, 'busybox', 'hostname');
  t.is(node, hostname());
  for (const [option, value] of [
    ['--runtime', 'crun'],
    ['--volume-driver', 'nfs'],
    ['--isolation', 'hyperv'],
    ['--cpu-rt-runtime', '1000'],
  ] as const)
    t.regex(
      await docker.fails('create', option, value, 'busybox'),
      /is expected|not supported by Shoal/,
      option,
    );
});

test('an image at a path of a container: in use, read-only, and what it was at first', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  // The older client has no word for it.
  if (tag !== 'v28') return void t.pass();
  const name = `shows-${tag}`;
  await docker.ok('tag', 'nginx', 'shown:1');
  const mounts = ['--mount', 'type=image,source=shown:1,target=/image'];
  const part = ['--mount', 'type=image,source=shown:1,target=/part,image-subpath=etc/nginx'];
  const script = 'ls /part; touch /image/x; exec sleep 1000';
  await docker.ok('create', '--name', name, ...mounts, ...part, 'busybox', 'sh', '-c', script);
  await docker.ok('start', name);
  await swarm.eventually(async () => (await docker.run(['logs', name])).stderr.includes('Read-only'));
  t.is((await docker.run(['logs', name])).stdout, 'nginx.conf\n');
  t.regex(
    await docker.ok('inspect', '-f', '{{json .Mounts}}', name),
    /"Type":"image".*"Destination":"\/image"/,
  );
  await docker.ok('tag', 'busybox', 'shown:1');
  await docker.ok('restart', '-t', '0', name);
  await docker.ok('rmi', 'shown:1');
  t.is(await docker.ok('exec', name, 'ls', '/image/etc/nginx'), 'nginx.conf');
  t.regex(await docker.fails('rmi', 'nginx'), /is using its referenced image/);
  t.regex(await docker.fails('create', ...mounts, 'busybox'), /No such image: shown:1/);
  await docker.ok('rm', '-f', name);

  const service = `image-${tag}`;
  const create = ['service', 'create', ...LOCAL, '--name', service];
  const at = ['--mount', 'type=image,source=nginx,target=/image'];
  const made = await docker.run([...create, ...at, 'busybox', 'sleep', '1000']);
  t.is(made.code, 0, made.stderr);
  await swarm.eventually((s) => s.running(service).count === 1);
  await docker.ok('service', 'rm', service);
});

test('a link is a name that its container alone has; MAC addresses are as asked', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const [net, db, web] = [`net-${tag}`, `db-${tag}`, `web-${tag}`];
  await docker.ok('network', 'create', '--driver', 'overlay', '--attachable', net);
  const id = await docker.ok('run', '-d', '--name', db, '--label', ON_A1, '--network', net, 'nginx');
  const elsewhere = ON_A1.replace('a1', 'a2');
  const run = ['run', '-d', '--label', elsewhere, '--network', net, '--name'];
  const options = ['--link', `${db}:warehouse`, '--mac-address', '02:42:0a:00:00:63'];
  await docker.ok(...run, web, ...options, 'busybox', 'sleep', '1000');
  const asks = (name: string) => docker.run(['exec', name, 'wget', '-qO-', 'warehouse']);
  await swarm.eventually(async () => (await asks(web)).stdout.startsWith(`${id.slice(0, 12)} `));
  const address = '/sys/class/net/eth0/address';
  t.is(await docker.ok('exec', web, 'cat', address), '02:42:0a:00:00:63');
  const endpoint = `(index .NetworkSettings.Networks "${net}")`;
  t.is(
    await docker.ok('inspect', '-f', `{{${endpoint}.MacAddress}} {{${endpoint}.Links}}`, web),
    `02:42:0a:00:00:63 [${db}:warehouse]`,
  );
  await docker.ok(...run, `other-${tag}`, 'busybox', 'sleep', '1000');
  t.not((await asks(`other-${tag}`)).code, 0, 'nobody else has the name');
  const alone = ['run', '--rm', '--mac-address', '02:42:0a:00:00:64', 'busybox', 'cat', address];
  t.is(await docker.ok(...alone), '02:42:0a:00:00:64');
  t.regex(await docker.fails('create', '--link', `${db}:x`, 'busybox'), /Links: .* on network bridge/);
  await docker.ok('rm', '-f', db, web, `other-${tag}`);
  await docker.ok('network', 'rm', net);
});

test('every option of docker run is in docs/containers.md', async (t, { docker }) => {
  const text = await readFile(path.join(checkoutDir(), 'docs', 'containers.md'), 'utf8');
  const known = new Set(text.match(/--[a-z0-9-]+/g));
  const options = new Set((await docker.ok('run', '--help')).match(/^ {1,6}(?:-\w, )? *--[a-z0-9-]+/gm));
  t.true(options.size > 90);
  t.deepEqual(
    [...options].map((option) => option.replace(/^.*--/, '--')).filter((option) => !known.has(option)),
    [],
  );
});

const BYTES = 2_000_000;

/** How long so many bytes of the first connection on a port took, or what `serve` sends until the other end has it. */
async function timed(
  t: ExecutionContext,
  serve?: (socket: Socket) => void,
): Promise<{ readonly port: number; readonly took: Promise<number> }> {
  const server = createServer();
  t.teardown(() => server.close());
  server.listen(0, reachableAddress());
  await once(server, 'listening');
  const took = once(server, 'connection').then(async ([socket]: Socket[]) => {
    if (socket === undefined) throw new Error('no socket');
    const start = performance.now();
    let got = 0;
    socket.on('data', (data) => {
      got += data.length;
      if (got === BYTES) socket.end();
    });
    serve?.(socket);
    await once(socket, 'close');
    t.is(got, serve === undefined ? BYTES : 0);
    return performance.now() - start;
  });
  return { port: (server.address() as AddressInfo).port, took };
}

test('what a container sends and gets is limited by its labels', async (t, { docker, tag }) => {
  const name = `limited-${tag}`;
  const timeOf = async (input: string, serve?: (socket: Socket) => void, ...labels: string[]) => {
    const { port, took } = await timed(t, serve);
    // Its nc goes when the other end does, or when it has nothing more to send: that it always has.
    const script = `(${input}; exec sleep 1000) | nc ${reachableAddress()} ${port}`;
    await docker.ok('run', '-d', '--name', name, ...labels, 'busybox', 'sh', '-c', script);
    const ms = await took;
    await docker.ok('rm', '-f', name);
    return ms;
  };
  // 2 MB at 500,000 bytes a second are 4 s, less what may go at once.
  const limits = ['--label', 'shoal.bandwidth-in=4mbit', '--label', 'shoal.bandwidth-out=4mbit'];
  const sends = [`head -c ${BYTES} /dev/zero`, undefined] as const;
  const gets = ['true', (socket: Socket) => socket.end(Buffer.alloc(BYTES))] as const;
  for (const [input, serve] of [sends, gets]) {
    const [free, limited] = [await timeOf(input, serve), await timeOf(input, serve, ...limits)];
    t.true(limited > 3000, `${limited} ms`);
    t.true(free < limited, `${free} ms, not ${limited}`);
  }
  const wrong = await docker.fails('create', '--label', 'shoal.bandwidth-in=fast', 'busybox');
  t.regex(wrong, /shoal\.bandwidth-in: 'fast': such as 500kbit/);
  const shared = ['create', '--network', 'host', '--label', 'shoal.bandwidth-in=1mbit', 'busybox'];
  t.regex(await docker.fails(...shared), /has no network of its own/);
});
