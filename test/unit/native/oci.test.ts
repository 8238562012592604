/** shoal-oci as an engine calls it, with bundles of busybox alone. Needs root. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  cpSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { OciConfig } from '../../../agent/native/container.ts';
import { DEADLINE_MS } from './fixture.ts';
import { type Adjust, OciLab, PROGRAM } from './oci-lab.ts';

const lab = new OciLab('oci');
const { fixture, root, oci, bundle, run, started } = lab;
test.after.always(() => lab.close());

async function status(id: string): Promise<string> {
  return (JSON.parse((await oci('state', id)).stdout) as { status: string }).status;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + DEADLINE_MS; !(await condition()); ) {
    if (Date.now() > end) throw new Error(`not in time: ${String(condition)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The first of a container's cgroup directories that has the file (v1's name or v2's). */
function limit(group: string, ...names: string[]): string {
  for (const directory of fixture.cgroupDirectories(group)) {
    for (const name of names) {
      if (existsSync(join(directory, name))) return readFileSync(join(directory, name), 'utf8').trim();
    }
  }
  throw new Error(`${group} has none of ${names.join(', ')}`);
}

test('run: output, exit codes, and nothing left', async (t) => {
  const { id, directory, group } = bundle(['sh', '-c', 'echo out; echo err >&2; exit 7']);
  const result = await oci('run', '--bundle', directory, id);
  t.deepEqual(result, { code: 7, stdout: 'out\n', stderr: 'err\n' });
  t.deepEqual(fixture.cgroupDirectories(group), []);
  t.false(existsSync(join(root, id)));
  t.is((await run(['true'])).code, 0);
});

test('run: signals are passed on', async (t) => {
  const { id, directory } = bundle([
    'sh',
    '-c',
    'trap "exit 42" TERM; echo up; while :; do sleep 0.05; done',
  ]);
  const child = spawn(PROGRAM, ['--root', root, 'run', '--bundle', directory, id]);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  child.kill('SIGTERM');
  t.is(await new Promise((resolve) => child.once('exit', resolve)), 42);
});

test('run: a killed container', async (t) => {
  const { id, directory } = bundle(['sleep', '1000']);
  const ended = oci('run', '--bundle', directory, id);
  await until(async () => (await oci('kill', id, 'KILL')).code === 0);
  t.is((await ended).code, 128 + 9);
});

test('the life of a container', async (t) => {
  const { id, directory } = bundle(['sleep', '1000'], (config) => (config['annotations'] = { a: 'b' }));
  const pidFile = join(directory, 'pid');
  t.is((await oci('create', '--bundle', directory, '--pid-file', pidFile, id)).code, 0);
  const pid = Number(readFileSync(pidFile, 'utf8'));
  const state = JSON.parse((await oci('state', id)).stdout) as Record<string, unknown>;
  t.like(state, {
    ociVersion: '1.2.0',
    id,
    status: 'created',
    pid,
    bundle: directory,
    annotations: { a: 'b' },
  });
  t.regex((await oci('create', '--bundle', directory, id)).stderr, /already exists/);
  t.is((await oci('start', id)).code, 0);
  t.is(await status(id), 'running');
  t.regex((await oci('start', id)).stderr, /cannot start an already running container/);
  t.regex((await oci('delete', id)).stderr, /not stopped: running/);
  const listed = JSON.parse((await oci('list', '--format', 'json')).stdout) as { id: string }[];
  t.true(listed.some((one) => one.id === id));
  t.deepEqual(JSON.parse((await oci('ps', '--format', 'json', id)).stdout), [pid]);
  t.regex((await oci('ps', id)).stdout, /sleep 1000/);
  t.is((await oci('kill', id, 'KILL')).code, 0);
  await until(async () => (await status(id)) === 'stopped');
  t.regex((await oci('kill', id, '15')).stderr, /container not running/);
  t.is((await oci('delete', id)).code, 0);
  t.regex((await oci('state', id)).stderr, /does not exist/);
  t.is((await oci('delete', '--force', id)).code, 0);
});

test('a container that was never started is deleted', async (t) => {
  const { id, directory, group } = bundle(['true']);
  t.is((await oci('create', '--bundle', directory, id)).code, 0);
  t.not(fixture.cgroupDirectories(group).length, 0);
  t.is((await oci('delete', id)).code, 0);
  t.deepEqual(fixture.cgroupDirectories(group), []);
});

test('the cgroup of another container is left alone', async (t) => {
  const { id, group } = await started(['sleep', '1000']);
  const other = await run(['true'], (config) => (config.linux.cgroupsPath = `${fixture.cgroup}${group}`));
  t.is(other.code, 1);
  t.regex(other.stderr, /cgroup: .*File exists/);
  t.is(await status(id), 'running');
});

test('exec: exit codes, user, environment, detached', async (t) => {
  const { id, directory } = await started(['sleep', '1000']);
  t.like(await oci('exec', '--env', 'A=b', id, 'sh', '-c', 'echo $A; exit 3'), { code: 3, stdout: 'b\n' });
  t.like(await oci('exec', '--user', '7:8', '--cwd', '/bin', id, 'sh', '-c', 'id -u; id -g; pwd'), {
    stdout: '7\n8\n/bin\n',
  });
  const missing = await oci('exec', id, 'nosuch');
  t.is(missing.code, 127);
  t.regex(missing.stderr, /nosuch.*executable file not found in \$PATH/);
  t.is((await oci('exec', id, '/bin')).code, 126);
  const process = { args: ['sleep', '2000'], cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 } };
  writeFileSync(join(directory, 'process.json'), JSON.stringify(process));
  const pidFile = join(directory, 'exec.pid');
  const options = ['--detach', '--process', join(directory, 'process.json'), '--pid-file', pidFile];
  t.is((await oci('exec', ...options, id)).code, 0);
  const pids = JSON.parse((await oci('ps', '--format', 'json', id)).stdout) as number[];
  t.true(pids.includes(Number(readFileSync(pidFile, 'utf8'))));
  await oci('kill', '--all', id, 'KILL');
  await until(async () => (await status(id)) === 'stopped');
  t.is((await oci('exec', id, 'true')).code, 255);
});

test('pause and resume', async (t) => {
  const { id } = await started(['sleep', '1000']);
  t.is((await oci('pause', id)).code, 0);
  t.is(await status(id), 'paused');
  t.regex((await oci('pause', id)).stderr, /not running/);
  t.is((await oci('resume', id)).code, 0);
  t.is(await status(id), 'running');
  t.regex((await oci('resume', id)).stderr, /not paused/);
  t.is((await oci('pause', id)).code, 0);
  t.is((await oci('delete', '--force', id)).code, 0);
});

test('limits: set, changed, read back', async (t) => {
  const { id, group, directory } = await started(['sleep', '1000'], (config) => {
    const cpu = { quota: 50_000, period: 100_000, burst: 20_000, idle: 1 };
    Object.assign(config.linux, { resources: { memory: { limit: 64 << 20 }, pids: { limit: 20 }, cpu } });
  });
  t.is(limit(group, 'cpu.cfs_burst_us', 'cpu.max.burst'), '20000');
  t.is(limit(group, 'cpu.idle'), '1');
  t.is(limit(group, 'memory.limit_in_bytes', 'memory.max'), String(64 << 20));
  t.is(limit(group, 'pids.max'), '20');
  t.is((await oci('update', '--memory', '32m', '--pids-limit', '9', id)).code, 0);
  t.is(limit(group, 'memory.limit_in_bytes', 'memory.max'), String(32 << 20));
  t.is(limit(group, 'pids.max'), '9');
  const file = join(directory, 'resources.json');
  writeFileSync(file, JSON.stringify({ memory: { limit: 48 << 20 }, cpu: { quota: 0 }, pids: { limit: 0 } }));
  t.is((await oci('update', '--resources', file, id)).code, 0);
  t.is(limit(group, 'pids.max'), '9');
  const event = JSON.parse((await oci('events', '--stats', id)).stdout) as { data: object };
  t.like(event, { type: 'stats', id, data: { pids: { current: 1, limit: 9 } } });
  t.like(event.data, { memory: { usage: { limit: 48 << 20 } } });
  const { cpu } = event.data as { cpu: { psi?: { some: { avg10: number; total: number } } } };
  t.is(typeof cpu.psi?.some.avg10, existsSync('/proc/pressure/cpu') ? 'number' : 'undefined');
});

test('hooks beside the container get its state; a failing one undoes the creation', async (t) => {
  const { id, directory, group } = bundle(['true'], (config) => {
    const hook = (name: string) => [
      {
        path: '/bin/sh',
        args: ['sh', '-c', `cat > ${fixture.directory}/hook-${name}-${config.linux.cgroupsPath?.slice(-8)}`],
      },
    ];
    config['hooks'] = Object.fromEntries(
      ['prestart', 'createRuntime', 'poststart', 'poststop'].map((name) => [name, hook(name)]),
    );
  });
  t.is((await oci('run', '--bundle', directory, id)).code, 0);
  const read = (name: string) =>
    JSON.parse(readFileSync(join(fixture.directory, `hook-${name}-${id.slice(-8)}`), 'utf8')) as {
      status: string;
    };
  t.deepEqual(
    ['prestart', 'createRuntime', 'poststart', 'poststop'].map((name) => read(name).status),
    ['creating', 'creating', 'running', 'stopped'],
  );
  t.deepEqual(fixture.cgroupDirectories(group), []);
  const failing = await run(['true'], (config) => (config['hooks'] = { prestart: [{ path: '/bin/false' }] }));
  t.is(failing.code, 1);
  t.regex(failing.stderr, /\/bin\/false: exit status 1/);
});

test('hooks in the container: of the host in its namespaces, and of its own with its rights', async (t) => {
  const name = `inside-${randomBytes(4).toString('hex')}`;
  const { id, directory } = bundle(
    ['sh', '-c', 'hostname; cat /said; grep CapEff /proc/self/status'],
    (config) => {
      config.hostname = name;
      const script = 'cat >$OUT; hostname >>$OUT';
      config['hooks'] = {
        createContainer: [
          {
            path: '/bin/sh',
            args: ['sh', '-c', script],
            env: ['PATH=/bin:/usr/bin', `OUT=${fixture.directory}/${name}`],
          },
        ],
        startContainer: [
          {
            path: '/bin/busybox',
            args: [
              'sh',
              '-c',
              'exec >/said; cat; echo; id -u; echo "$A $HOME"; pwd; grep CapEff /proc/self/status',
            ],
            env: ['PATH=/bin', 'A=b'],
          },
        ],
      };
    },
  );
  const result = await oci('run', '--bundle', directory, id);
  t.is(result.stderr, '');
  const [host, said, ...rest] = result.stdout.trimEnd().split('\n');
  t.is(host, name);
  t.like(JSON.parse(said ?? ''), { id, status: 'created', bundle: directory });
  t.deepEqual(rest.slice(0, 3), ['0', 'b ', '/']);
  t.regex(rest[3] ?? '', /^CapEff:\t0/);
  t.is(rest[3], rest[4]);
  const [, state, inside] =
    /^(\{.*\})(\S+)\n/.exec(readFileSync(join(fixture.directory, name), 'utf8')) ?? [];
  t.like(JSON.parse(state ?? ''), { id, status: 'creating' });
  t.is(inside, name);
});

for (const [kind, path, reason] of [
  ['createContainer', '/bin/busybox', /\/bin\/busybox: exit status 1/],
  ['startContainer', '/bin/busybox', /\/bin\/busybox: exit status 1/],
  ['createContainer', '/no/such', /\/no\/such/],
  ['startContainer', '/no/such', /\/no\/such.*no such file/i],
] as const) {
  test(`a hook that fails ends the container: ${kind} ${path}`, async (t) => {
    const { id, directory, group } = bundle(['sh', '-c', 'echo it ran'], (config) => {
      config['hooks'] = { [kind]: [{ path, args: ['false'] }] };
    });
    const result = await oci('run', '--bundle', directory, id);
    t.is(result.code, 1);
    t.is(result.stdout, '');
    t.regex(result.stderr, reason);
    t.deepEqual(fixture.cgroupDirectories(group), []);
  });
}

test('a hook in the container that takes too long is killed', async (t) => {
  const result = await run(
    ['true'],
    (config) =>
      (config['hooks'] = {
        startContainer: [{ path: '/bin/busybox', args: ['sleep', '1000'], timeout: 1 }],
      }),
  );
  t.is(result.code, 1);
  t.regex(result.stderr, /\/bin\/busybox/);
});

test('a user namespace: the root has the owners that its engine gave it, exec joins it', async (t) => {
  const own = join(fixture.directory, 'chowned');
  cpSync(fixture.layer, own, { recursive: true, verbatimSymlinks: true });
  for (const path of ['', ...(readdirSync(own, { recursive: true }) as string[])])
    lchownSync(join(own, path), 700_000, 700_000);
  const ranges = [{ containerID: 0, hostID: 700_000, size: 1000 }];
  const { id, directory } = bundle(['sleep', '1000'], (config) => {
    config.root = { path: own };
    config.linux.namespaces.push({ type: 'user' });
    Object.assign(config.linux, { uidMappings: ranges, gidMappings: ranges });
    Object.assign(config, { hooks: { prestart: [{ path: '/bin/true' }] } });
  });
  const created = await oci('create', '--bundle', directory, id);
  t.is(created.code, 0, created.stderr);
  t.is((await oci('start', id)).code, 0);
  const script =
    'cat /proc/self/uid_map; touch /made; ls -ln /made /bin/busybox; echo x > /dev/null && echo null';
  const { stdout } = await oci('exec', id, 'busybox', 'sh', '-c', script);
  t.regex(stdout, /^ +0 +700000 +1000\n/);
  t.is(stdout.match(/ 0 +0 /g)?.length, 2, stdout);
  t.regex(stdout, /^null$/m);
  t.is(lstatSync(join(own, 'made')).uid, 700_000);
});

test('without a cgroup namespace a container sees its own v1 cgroups', async (t) => {
  const shown = await run(
    ['sh', '-c', 'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max'],
    (config) => {
      config.linux.namespaces = config.linux.namespaces.filter((one) => one.type !== 'cgroup');
      config.linux.resources = { pids: { limit: 31 } };
    },
  );
  if (existsSync('/sys/fs/cgroup/pids')) t.is(shown.stdout, '31\n');
  else t.pass('cgroup v2: nothing is bound');
});

const refused: [string, RegExp, Adjust, number?][] = [
  [
    'a missing command',
    /nosuch\\": executable file not found/,
    (config) => (config.process.args = ['nosuch']),
    127,
  ],
  [
    'a command that is a directory',
    /\/bin\\": permission denied/,
    (config) => (config.process.args = ['/bin']),
    126,
  ],
  ['a missing root', /root\.path: \/nowhere/, (config) => (config.root = { path: '/nowhere' })],
  ['another version', /ociVersion '2\.0\.0'/, (config) => (config.ociVersion = '2.0.0')],
  [
    'annotations of another shape',
    /annotations\.a: not a string/,
    (config) => Object.assign(config, { annotations: { a: 1 } }),
  ],
  ['hooks of another shape', /hooks: not an object/, (config) => Object.assign(config, { hooks: [1] })],
  ['no linux object', /linux is missing/, (config) => Object.assign(config, { linux: undefined })],
  ['a terminal without a socket', /--console-socket/, (config) => (config.process.terminal = true)],
  ['systemd cgroups', /systemd's form/, (config) => (config.linux.cgroupsPath = 'system.slice:shoal:x')],
  [
    'block I/O',
    /linux\.resources\.blockIO\.leafWeight is not supported/,
    (config) => Object.assign(config.linux, { resources: { blockIO: { leafWeight: 100 } } }),
  ],
  [
    'a policy that there is not',
    /process\.scheduler\.policy: 'SCHED_ISO' is not supported/,
    (config) => Object.assign(config.process, { scheduler: { policy: 'SCHED_ISO' } }),
  ],
  [
    'a list of CPUs of another shape',
    /process\.execCPUAffinity\.final: '3-1' is not a list of numbers below 1024/,
    (config) => Object.assign(config.process, { execCPUAffinity: { final: '3-1' } }),
  ],
  [
    'an unknown personality',
    /linux\.personality\.domain: 'BSD'/,
    (config) => Object.assign(config.linux, { personality: { domain: 'BSD' } }),
  ],
  [
    'Intel RDT',
    /linux\.intelRdt is not supported/,
    (config) => Object.assign(config.linux, { intelRdt: { closID: 'x' } }),
  ],
  [
    'an AppArmor profile',
    /process\.apparmorProfile: this host does not have it|apparmor: profile x/,
    (config) => Object.assign(config.process, { apparmorProfile: 'x' }),
  ],
  [
    'asking nobody about system calls',
    /SCMP_ACT_NOTIFY needs listenerPath/,
    (config) => {
      const asked = { names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' };
      config.linux.seccomp = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [asked] };
    },
  ],
];

for (const [what, reason, adjust, code] of refused) {
  test(`refused: ${what}`, async (t) => {
    const result = await run(['true'], adjust);
    t.is(result.code, code ?? 1);
    t.regex(result.stderr, reason);
  });
}

test('when and where a process runs: policy, priorities, CPUs, personality', async (t) => {
  const { id } = await started(['sleep', '1000'], (config) => {
    Object.assign(config.process, {
      scheduler: { policy: 'SCHED_BATCH', nice: 5, flags: [] },
      ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 3 },
      execCPUAffinity: { initial: '0-1', final: '1' },
    });
    Object.assign(config.linux, { personality: { domain: 'LINUX32' } });
  });
  const pid = (JSON.parse((await oci('state', id)).stdout) as { pid: number }).pid;
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /, '').split(' ');
  t.deepEqual([fields[16], fields[38]], ['5', '3'], 'nice, and SCHED_BATCH');
  t.notRegex(readFileSync(`/proc/${pid}/status`, 'utf8'), /Cpus_allowed_list:\t1\n/);
  const personality = readFileSync(`/proc/${pid}/personality`, 'utf8').trim();
  t.is(personality, '00000008');
  const shown = (
    await oci('exec', id, 'sh', '-c', 'grep Cpus_allowed_list /proc/self/status; ionice; uname -m')
  ).stdout;
  t.regex(shown, /^Cpus_allowed_list:\t1\nbest-effort: prio 3\ni686\n$/);
});

for (const [propagation, expected] of [
  ['shared', / shared:\d+ /],
  ['rshared', / shared:\d+ /],
  ['unbindable', / unbindable /],
  ['private', / - /],
] as const) {
  test(`propagation of the root: ${propagation}`, async (t) => {
    const result = await run(['cat', '/proc/self/mountinfo'], (config) => {
      config.linux['rootfsPropagation'] = propagation;
    });
    const lines = result.stdout.split('\n').map((line) => line.split(' '));
    const of = (target: string): string =>
      lines
        .find((words) => words[4] === target)
        ?.slice(5)
        .join(' ') ?? '';
    t.regex(` ${of('/')}`, expected, result.stderr);
    const inner = propagation.startsWith('r') ? expected : /^(?!.*(shared|unbindable))/;
    t.regex(` ${of('/proc')}`, inner);
    t.is(/shared|unbindable/.test(of('/')), propagation !== 'private');
  });
}

test('a compiled seccomp profile is kept, and is the same for the next container and for exec', async (t) => {
  const adjust: Adjust = (config) => {
    const rule = { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 };
    config.linux.seccomp = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] };
  };
  const forbidden = ['sh', '-c', '/bin/busybox mkdir /tmp-x 2>&1'];
  const first = await run(forbidden, adjust);
  t.regex(first.stdout, /not supported/);
  const kept = readdirSync(root).filter((name) => name.startsWith('.seccomp-'));
  t.true(kept.length > 0 && kept.length <= 16);
  t.deepEqual(await run(forbidden, adjust), first);
  const { id } = await started(['sleep', '1000'], adjust);
  t.is((await oci('exec', id, ...forbidden)).stdout, first.stdout);
  for (const name of kept) writeFileSync(join(root, name), 'torn');
  t.deepEqual(await run(forbidden, adjust), first);
  const wrong = await run(['true'], (config) => Object.assign(config.linux, { seccomp: 'x' }));
  t.regex(wrong.stderr, /linux\.seccomp/);
});

test('a rule that names no device allows all, however many nodes there are', async (t) => {
  const nodes = Array.from({ length: 100 }, (_, i) => ({
    path: `/dev/k${i}`,
    type: 'c',
    major: 1,
    minor: 11,
  }));
  const open = ['sh', '-c', 'exec 3>>/dev/k99 && echo opened'];
  const all = await run(open, (config) => {
    Object.assign(config.linux, { devices: nodes, resources: { devices: [{ allow: true, access: 'rwm' }] } });
  });
  t.deepEqual(all, { code: 0, stdout: 'opened\n', stderr: '' });
  const denied = await run(['sh', '-c', '/bin/busybox mknod /dev/k c 1 11 && exec 3>>/dev/k']);
  t.regex(denied.stderr, /Operation not permitted/);
});

test('what asks for nothing is accepted', async (t) => {
  const result = await run(['true'], (config) => {
    Object.assign(config.process, { apparmorProfile: 'unconfined', selinuxLabel: '' });
    Object.assign(config.linux, {
      uidMappings: [],
      mountLabel: '',
      intelRdt: null,
      seccomp: { defaultAction: 'SCMP_ACT_ALLOW', flags: ['SECCOMP_FILTER_FLAG_LOG'], syscalls: [] },
      resources: {
        blockIO: { weight: 0 },
        hugepageLimits: [],
        memory: { useHierarchy: true, disableOOMKiller: false, kernel: 0 },
        cpu: { shares: 0, realtimePeriod: 0 },
      },
    });
  });
  t.deepEqual(result, { code: 0, stdout: '', stderr: '' });
});

test('descriptors of the caller, and those of socket activation', async (t) => {
  const names = ['one', 'two', 'three', 'not'].map((name) => join(fixture.directory, name));
  for (const name of names) writeFileSync(name, `${name.slice(name.lastIndexOf('/') + 1)}\n`);
  const open = (): number[] => names.map((name) => openSync(name, 'r'));
  const script = 'cat <&3; cat <&4; cat <&5; echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd | busybox wc -l';
  const { id, directory } = bundle(['sh', '-c', script]);
  const call = ['--root', root, 'run', '--preserve-fds', '2', '--bundle', directory, id].join(' ');
  const fds = open();
  const result = await lab.spawn(['sh', '-c', `LISTEN_PID=$$ LISTEN_FDS=1 exec ${PROGRAM} ${call}`], fds);
  // Of ls: the standard streams, those three, and its own of the directory.
  t.deepEqual(result, { code: 0, stdout: 'one\ntwo\nthree\n1 1\n7\n', stderr: '' });
  const other = await started(['sleep', '1000']);
  const exec = [PROGRAM, '--root', root, 'exec', '--preserve-fds', '1', other.id, 'sh', '-c'];
  const again = open();
  t.is((await lab.spawn([...exec, 'cat <&3; ls /proc/self/fd | busybox wc -l'], again)).stdout, 'one\n5\n');
  t.is((await lab.spawn([...exec.slice(0, -2), 'nosuch'], again)).code, 127);
  for (const fd of [...fds, ...again]) closeSync(fd);
});

test('errors are in the log as engines read them', async (t) => {
  const log = join(fixture.directory, 'log.json');
  t.is((await oci('--log', log, '--log-format', 'json', 'state', 'nosuch')).code, 1);
  const entry = JSON.parse(readFileSync(log, 'utf8')) as Record<string, string>;
  t.like(entry, { level: 'error', msg: 'container "nosuch" does not exist' });
  t.regex(entry['time'] ?? '', /^\d{4}-\d\d-\d\dT/);
});

test('command lines that are refused', async (t) => {
  const { directory } = bundle(['true']);
  const create = ['create', '--bundle', directory];

  t.regex((await oci(...create, '--no-pivot', 'a')).stderr, /--no-pivot is not supported/);
  t.regex(
    (await oci(...create, '--preserve-fds', '2', 'a')).stderr,
    /--preserve-fds: descriptor 3 is not open/,
  );
  t.regex((await oci(...create, '--preserve-fds', '65', 'a')).stderr, /'65' is not a number up to 64/);
  t.regex((await oci(...create, '../up')).stderr, /invalid container ID/);
  t.regex((await oci('create', '--bundle', '/nowhere', 'a')).stderr, /\/nowhere: No such file/);
  t.regex((await oci('checkpoint', 'a')).stderr, /no such command: checkpoint/);
  t.deepEqual(existsSync(root) ? readdirSync(root).filter((name) => name === 'a') : [], []);
});

test('features, and a config to begin with', async (t) => {
  const features = JSON.parse((await oci('features')).stdout) as { linux: { namespaces: string[] } };
  t.true(features.linux.namespaces.includes('pid'));
  const directory = join(fixture.directory, 'spec');
  mkdirSync(directory);
  t.is((await oci('spec', '--bundle', directory)).code, 0);
  const config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as OciConfig;
  config.process.terminal = false;
  config.process.args = ['true'];
  config.root = { path: fixture.layer, readonly: true };
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config));
  const id = `spec-${randomBytes(4).toString('hex')}`;
  t.deepEqual(await oci('run', '--bundle', directory, id), { code: 0, stdout: '', stderr: '' });
});
