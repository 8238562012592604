/** What compose files ask of the runtime, seen from inside the containers. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import os from 'node:os';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import type { Docker } from './docker.ts';
import { IMAGE, LOCAL, type Scene, suite } from './suite.ts';

const { test } = await suite((cluster) => cluster.agents(1));

/** Runs a script in a service that has the given keys; what it prints up to "done". */
async function inside(
  t: ExecutionContext,
  scene: Scene,
  name: string,
  keys: string,
  script: string,
): Promise<string> {
  const { swarm, docker, tag } = scene;
  const stack = `${name}-${tag}`;
  // a dollar sign is the file's own
  const lines = script
    .replaceAll('$', '$$$$')
    .split('\n')
    .map((line) => `        ${line}`);
  const file = `services:
  web:
    image: ${IMAGE}
    stop_grace_period: 1s
    entrypoint: [/bin/sh, -c]
    command:
      - |
${lines.join('\n')}
        echo done; exec sleep 1000
${keys}
`;
  t.teardown(() => docker.run(['stack', 'rm', stack]));
  await swarm.deploy(stack, file);
  return printed(scene, docker, `${stack}_web`);
}

async function printed({ swarm }: Scene, docker: Docker, service: string): Promise<string> {
  let log = '';
  await swarm.eventually(async () => {
    log = await docker.ok('service', 'logs', '--raw', service);
    return /^done$/m.test(log);
  });
  return log;
}

test('privileged: all of the agent’s capabilities, devices, no seccomp, nothing masked', async (t, scene) => {
  const log = await inside(
    t,
    scene,
    'priv',
    '    privileged: true',
    `grep -E 'CapEff|CapBnd|Seccomp:' /proc/self/status
mount | grep -E ' on /sys type'
mkdir /m && mount -t tmpfs none /m && echo mounted
ls -l /dev/fuse; head -c 1 /dev/kmsg >/dev/null && echo kmsg
mknod /tmp/loop b 7 0 && echo made
echo 1 > /proc/sys/net/ipv4/ip_forward && echo writable`,
  );
  const own = /CapBnd:\s*(\w+)/.exec(await readFile('/proc/self/status', 'utf8'))?.[1] ?? '';
  t.regex(log, new RegExp(`CapBnd:\\s+${own}`));
  t.regex(log, new RegExp(`CapEff:\\s+${own}`));
  t.regex(log, /Seccomp:\s+0/);
  t.regex(log, /on \/sys type sysfs \(rw/);
  for (const word of ['mounted', 'made', 'writable', 'kmsg']) t.regex(log, new RegExp(`^${word}$`, 'm'));
  t.regex(log, /^c.* 10, *229 .*\/dev\/fuse/m);
});

test('commands after the start and before the stop; one that fails ends the task', async (t, scene) => {
  const { docker, swarm, tag } = scene;
  const keys = `    init: true
    post_start:
      - command: [sh, -c, 'echo "$$(id -u) $$(pwd) $$WHO" > /after']
        user: root
        working_dir: /bin
        environment: {WHO: me}
    pre_stop:
      - command: [sh, -c, 'echo "$$(cat /after), before" > /proc/1/fd/1']`;
  const log = await inside(t, scene, 'hooks', keys, 'while ! test -s /after; do sleep 0.1; done; cat /after');
  t.regex(log, /^0 \/bin me$/m);
  const service = `hooks-${tag}_web`;
  await docker.ok('service', 'update', ...LOCAL, '--detach', '--force', service);
  await swarm.eventually(async () =>
    /^0 \/bin me, before$/m.test(await docker.ok('service', 'logs', '--raw', service)),
  );
  const failing = `services: {web: {image: ${IMAGE}, post_start: [{command: [sh, -c, "echo no; exit 3"]}], deploy: {restart_policy: {condition: none}}}}`;
  t.teardown(() => docker.run(['stack', 'rm', `fails-${tag}`]));
  await swarm.deploy(`fails-${tag}`, failing);
  const why = [
    'service',
    'ps',
    '--no-trunc',
    '--format',
    '{{.CurrentState}}: {{.Error}}',
    `fails-${tag}_web`,
  ];
  await swarm.eventually(async () =>
    /Failed.*post_start "sh -c echo no; exit 3": exit code 3: no/.test(await docker.ok(...why)),
  );
});

test('without: the usual bounds hold', async (t, scene) => {
  const log = await inside(
    t,
    scene,
    'plain',
    '',
    `grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status
mkdir /m; mount -t tmpfs none /m || echo no mount
ls /dev/fuse || echo no fuse
df -k /dev/shm | tail -n 1`,
  );
  t.regex(log, /Seccomp:\s+2/);
  t.regex(log, /NoNewPrivs:\s+0/);
  t.regex(log, /^no mount$/m);
  t.regex(log, /^no fuse$/m);
  t.regex(log, /shm\s+65536 /);
});

const SWAP_FILE = '/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes';
const SWAPPINESS_FILE = '/sys/fs/cgroup/memory/memory.swappiness';

test('devices, shm_size, security_opt, oom_score_adj, weights and limits', async (t, scene) => {
  const log = await inside(
    t,
    scene,
    'keys',
    `    devices: ["/dev/fuse:/dev/mine:r", "/dev/zero:/dev/nothing:rw"]
    shm_size: 128m
    security_opt: ["no-new-privileges:true", seccomp=unconfined]
    oom_score_adj: 321
    mem_limit: 96m
    mem_reservation: 48m
${existsSync(SWAP_FILE) ? '    memswap_limit: 128m' : ''}
${existsSync(SWAPPINESS_FILE) ? '    mem_swappiness: 17' : ''}
    cpu_quota: 10000
    cpu_period: 20000
    cpu_shares: 300
    cpuset: "0"
    pids_limit: 77
    domainname: example.org
    group_add: ["1234"]
    sysctls: {net.core.somaxconn: 99}
    ulimits: {nofile: 333}
    tmpfs: ["/cache:size=1m,mode=0750"]`,
    `grep -E 'Seccomp:|NoNewPrivs|Cpus_allowed_list|Groups' /proc/self/status
ls -l /dev/mine
(: < /dev/mine) && echo readable
(: > /dev/mine) || echo not writable
head -c 4 /dev/nothing | wc -c
df -k /dev/shm | tail -n 1
echo score $(cat /proc/self/oom_score_adj)
echo domain $(cat /proc/sys/kernel/domainname)
echo somaxconn $(cat /proc/sys/net/core/somaxconn) nofile $(ulimit -n)
df -k /cache | tail -n 1; ls -ld /cache
cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null | sed 's/^/memory /'
cat /sys/fs/cgroup/memory/memory.soft_limit_in_bytes /sys/fs/cgroup/memory.low 2>/dev/null | sed 's/^/soft /'
cat ${SWAP_FILE} 2>/dev/null | sed 's/^/swap /'
cat ${SWAPPINESS_FILE} 2>/dev/null | sed 's/^/swappiness /'
cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null | sed 's/^/pids /'
cat /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null | sed 's/^/shares /'
cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null | sed 's/^/quota /'; cat /sys/fs/cgroup/cpu.max 2>/dev/null | sed 's/ .*//; s/^/quota /'`,
  );
  const expected = [
    /Seccomp:\s+0/,
    /NoNewPrivs:\s+1/,
    /Cpus_allowed_list:\s+0$/m,
    /Groups:.*\b1234\b/,
    /^c.* 10, *229 .*\/dev\/mine$/m,
    /^readable$/m,
    /^not writable$/m,
    /^4$/m,
    /shm\s+131072 /,
    /^score 321$/m,
    /^domain example\.org$/m,
    /^somaxconn 99 nofile 333$/m,
    /tmpfs\s+1024 .*\/cache/,
    /^drwxr-x--- .*\/cache$/m,
    /^memory 100663296$/m,
    /^soft 50331648$/m,
    /^pids 77$/m,
    /^quota 10000$/m,
  ];
  for (const pattern of expected) t.regex(log, pattern);
  if (existsSync(SWAP_FILE)) t.regex(log, /^swap 134217728$/m);
  if (existsSync(SWAPPINESS_FILE)) t.regex(log, /^swappiness 17$/m);
  if (/^shares /m.test(log)) t.regex(log, /^shares 300$/m);
});

test('the node’s pid, ipc, uts and cgroup namespaces; stopping leaves nothing behind', async (t, scene) => {
  const { swarm, docker, tag } = scene;
  const marker = `73${tag.length}${Date.now() % 100_000}`;
  const script = `for ns in pid ipc uts cgroup net mnt; do echo $ns $(readlink /proc/self/ns/$ns); done
sleep ${marker} & echo hostname $(hostname) $(cat /etc/hostname)`;
  const keys = '    pid: host\n    ipc: host\n    uts: host\n    cgroup: host';
  const log = await inside(t, scene, 'host', keys, script);
  const own = async (kind: string): Promise<string> =>
    promisify(execFile)('readlink', [`/proc/self/ns/${kind}`]).then(({ stdout }) => stdout.trim());
  for (const kind of ['pid', 'ipc', 'cgroup'])
    t.true(log.includes(`${kind} ${await own(kind)}`), `${kind} in ${log}`);
  t.false(log.includes(`mnt ${await own('mnt')}`));
  t.false(log.includes(`net ${await own('net')}`));
  const name = /^hostname (\S+) (\S+)$/m.exec(log);
  t.is(name?.[1], name?.[2]);
  t.true(log.includes(`uts ${await own('uts')}`) || name?.[1] !== os.hostname());
  const running = async (): Promise<boolean> => {
    const { stdout } = await promisify(execFile)('ps', ['-eo', 'args']);
    return stdout.split('\n').some((line) => line.trim() === `sleep ${marker}`);
  };
  t.true(await running());
  await docker.ok('stack', 'rm', `host-${tag}`);
  await swarm.eventually(async () => !(await running()));
});

test('a user namespace: root is nobody on the node, and its files, volumes and configs are its own', async (t, scene) => {
  const { docker, tag } = scene;
  const log = await inside(
    t,
    scene,
    'users',
    `    userns_mode: private
    init: true
    volumes: ["data:/data"]
    tmpfs: ["/cache:uid=7"]
    configs: [{source: c, target: /c, mode: 0400, uid: "7"}]
    healthcheck: {test: "test $$(id -u) = 0 && echo x > /data/healthy", interval: 1s}
volumes: {data: {}}
configs: {c: {content: "of the config"}}`,
    `cat /proc/self/uid_map; cat /c; echo; ls -ln /c /etc/hosts /bin/busybox
echo 1.2.3.4 mine >> /etc/hosts && touch /data/own /made && chown 1000 /data/own && ls -ln /data/own
ls -ldn /cache; cat /proc/1/comm; ping -c 1 127.0.0.1 >/dev/null && echo pings; wget -q -O- http://nosuchname/ || echo asked`,
  );
  const first = Number(/^ *0 +(\d+) +65536$/m.exec(log)?.[1]);
  t.true(first >= 0x4000_0000, log);
  t.regex(log, /^of the config$/m);
  for (const file of ['/c', '/data/own', '/cache', '/etc/hosts', '/bin/busybox'])
    t.regex(log, new RegExp(`^\\S+ +\\d+ (7|1000|0) .*${file}$`, 'm'), log);
  for (const word of ['pings', 'asked']) t.regex(log, new RegExp(`^${word}$`, 'm'), log);
  const stack = `users-${tag}`;
  const id = (await docker.ok('ps', '-q', '--no-trunc', '--filter', `name=${stack}_web`)).trim();
  const pid = (await docker.ok('inspect', '--format', '{{.State.Pid}}', id)).trim();
  t.regex(await readFile(`/proc/${pid}/status`, 'utf8'), new RegExp(`^Uid:\\t${first}\\t`, 'm'));
  t.is((await docker.ok('exec', '-u', '1000', id, 'stat', '-c', '%u', '/data/own')).trim(), '1000');
  await scene.swarm.eventually(
    async () => (await docker.run(['exec', id, 'cat', '/data/healthy'])).code === 0,
  );
  const body = { Image: IMAGE, HostConfig: { UsernsMode: 'private', PidMode: 'host' } };
  const create = { type: 'application/json', text: JSON.stringify(body) } as const;
  const refused = scene.swarm.client.call('POST', '/containers/create', create, AbortSignal.timeout(60_000));
  await t.throwsAsync(refused, { message: /can not be had with PidMode host/ });
});

test('the same from the Docker API: privileges, oom score, and HostConfig', async (t, scene) => {
  const { swarm, docker, tag } = scene;
  const name = `raw-${tag}`;
  t.teardown(() => docker.run(['service', 'rm', name]));
  const script = `grep -E 'Seccomp:|NoNewPrivs' /proc/self/status; echo score $(cat /proc/self/oom_score_adj)
df -k /dev/shm | tail -n 1; ls /dev/mine && echo done; exec sleep 1000`;
  const container = {
    Image: IMAGE,
    Command: ['/bin/sh', '-c', script],
    StopGracePeriod: 1e9,
    Privileges: { NoNewPrivileges: true, Seccomp: { Mode: 'unconfined' }, AppArmor: { Mode: 'disabled' } },
    OomScoreAdj: 222,
    HostConfig: { ShmSize: 2 ** 20, Devices: [{ PathOnHost: '/dev/fuse', PathInContainer: '/dev/mine' }] },
  };
  const text = JSON.stringify({ Name: name, TaskTemplate: { ContainerSpec: container } });
  const signal = AbortSignal.timeout(60_000);
  await swarm.client.call('POST', '/services/create', { type: 'application/json', text }, signal);
  const log = await printed(scene, docker, name);
  for (const pattern of [
    /Seccomp:\s+0/,
    /NoNewPrivs:\s+1/,
    /^score 222$/m,
    /shm\s+1024 /,
    /^\/dev\/mine$/m,
  ]) {
    t.regex(log, pattern);
  }
});

test('a device that the node does not have: the task is rejected with the reason', async (t, scene) => {
  const { swarm, docker, tag } = scene;
  const stack = `lost-${tag}`;
  t.teardown(() => docker.run(['stack', 'rm', stack]));
  const file = `services: {web: {image: "${IMAGE}", devices: [/dev/shoal-none]}}`;
  await swarm.deploy(stack, file);
  await swarm.eventually(async () => {
    const errors = await docker.ok('stack', 'ps', '--no-trunc', '--format', '{{.Error}}', stack);
    return errors.includes('device /dev/shoal-none is not on this node');
  });
  t.pass();
});

test('a profile or a label that no node has: the tasks wait and say so, and an update keeps what was asked for', async (t, scene) => {
  const { swarm, docker, tag } = scene;
  const stack = `confined-${tag}`;
  t.teardown(() => docker.run(['stack', 'rm', stack]));
  const service = (option: string): string => `{image: "${IMAGE}", security_opt: ["${option}"]}`;
  await swarm.deploy(
    stack,
    `services: {a: ${service('apparmor=web')}, b: ${service('label=type:web_t')}, c: ${service('label=disable')}}`,
  );
  await swarm.eventually(async () => {
    const errors = await docker.ok('stack', 'ps', '--no-trunc', '--format', '{{.Error}}', stack);
    return (
      /no AppArmor \(profile web is asked for\) on \d+ node/.test(errors) &&
      /no SELinux \(label=type:web_t is asked for\) on \d+ node/.test(errors)
    );
  });
  await swarm.eventually((view) => view.running(`${stack}_c`).count === 1);
  for (const name of ['a', 'b'])
    await docker.ok('service', 'update', '--detach', '--env-add', 'X=1', `${stack}_${name}`);
  const spec = async (name: string) =>
    JSON.parse(
      await docker.ok(
        'service',
        'inspect',
        '--format',
        '{{json .Spec.TaskTemplate.ContainerSpec}}',
        `${stack}_${name}`,
      ),
    ) as { Env?: string[]; Privileges?: { SELinuxContext?: { Type: string } } };
  const labelled = await spec('b');
  t.deepEqual([labelled.Env, labelled.Privileges?.SELinuxContext?.Type], [['X=1'], 'web_t']);
  // The client knows no HostConfig of services: it neither sends it nor shows it.
  const { body } = await swarm.api('GET', `/services/${stack}_a`);
  const { ContainerSpec } = (body as { Spec: { TaskTemplate: { ContainerSpec: object } } }).Spec.TaskTemplate;
  t.like(ContainerSpec, { Env: ['X=1'], HostConfig: { SecurityOpt: ['apparmor=web'] } });
});

test('a seccomp profile of the service, with conditions on its capabilities', async (t, scene) => {
  const { swarm, docker, tag } = scene;
  const name = `profile-${tag}`;
  t.teardown(() => docker.run(['service', 'rm', name]));
  const refuse = (...names: string[]) => ({ names, action: 'SCMP_ACT_ERRNO', errnoRet: 1 });
  const profile = {
    defaultAction: 'SCMP_ACT_ALLOW',
    archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }],
    syscalls: [
      refuse('mkdir', 'mkdirat'),
      { ...refuse('chmod', 'fchmodat'), excludes: { caps: ['CAP_CHOWN'] } },
      { ...refuse('symlink', 'symlinkat'), includes: { caps: ['CAP_CHOWN'] } },
    ],
  };
  const script = `mkdir /x || echo no mkdir; touch /y; chmod 700 /y && echo chmod; ln -s /y /z || echo no symlink
grep Seccomp: /proc/self/status; echo done; exec sleep 1000`;
  const container = {
    Image: IMAGE,
    Command: ['/bin/sh', '-c', script],
    StopGracePeriod: 1e9,
    Privileges: {
      Seccomp: { Mode: 'custom', Profile: Buffer.from(JSON.stringify(profile)).toString('base64') },
    },
  };
  const text = JSON.stringify({ Name: name, TaskTemplate: { ContainerSpec: container } });
  const signal = AbortSignal.timeout(60_000);
  await swarm.client.call('POST', '/services/create', { type: 'application/json', text }, signal);
  const log = await printed(scene, docker, name);
  for (const pattern of [/^no mkdir$/m, /^chmod$/m, /^no symlink$/m, /Seccomp:\s+2/]) t.regex(log, pattern);
});
