import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { DEFAULT_SECCOMP } from '../../../agent/container/seccomp-default.ts';
import {
  createContainer,
  deleteContainer,
  killContainer,
  NativeError,
  type OciConfig,
  type OciHooks,
  readState,
  startContainer,
  waitContainer,
} from '../../../agent/native/container.ts';
import { DEADLINE_MS, Fixture } from './fixture.ts';

const fixture = new Fixture('container');
test.after.always(() => fixture.close());

const deadline = () => AbortSignal.timeout(DEADLINE_MS);

test('the exit code is recorded, and the states follow one another', async (t) => {
  const request = fixture.request(['sh', '-c', 'exit 42']);
  const { pid } = await createContainer(request);
  const created = await readState(request.runDir);
  t.is(created.status, 'created');
  t.is(created.pid, pid);
  const waiting = waitContainer(request.runDir, deadline());
  await startContainer(request.runDir);
  const state = await waiting;
  t.is(state.status, 'stopped');
  t.is(state.exitCode, 42);
  t.is(state.signal, undefined);
  t.false(state.oomKilled);
  t.true((state.finishedAtMs ?? 0) >= (state.startedAtMs ?? Number.POSITIVE_INFINITY));
  t.deepEqual(await readState(request.runDir), state);
});

test('a signal ends the init, and is recorded as such', async (t) => {
  const request = fixture.request(['sleep', '1000']);
  await createContainer(request);
  await startContainer(request.runDir);
  t.is((await readState(request.runDir)).status, 'running');
  await killContainer(request.runDir, 9);
  const state = await waitContainer(request.runDir, deadline());
  t.is(state.signal, 9);
  t.is(state.exitCode, 137);
  const error = await t.throwsAsync(killContainer(request.runDir, 15), { instanceOf: NativeError });
  t.is(error?.code, 'ESRCH');
});

test('stdout and stderr are told apart, long lines are cut, the last line needs no newline', async (t) => {
  const script = 'echo one; echo two >&2; dd if=/dev/zero bs=20000 count=1 2>/dev/null; echo; echo -n end';
  const { lines } = await fixture.run(['sh', '-c', script]);
  t.deepEqual(
    lines.filter((line) => line.stream === 'stderr').map((line) => line.text),
    ['two'],
  );
  const out = lines.filter((line) => line.stream === 'stdout');
  t.is(out[0]?.text, 'one');
  t.is(out.at(-1)?.text, 'end');
  t.true(out.some((line) => line.tag === 'P'));
  t.is(
    out.slice(1, -1).reduce((sum, line) => sum + line.text.length, 0),
    20000,
  );
});

test('a missing command is 127 and says so; one that may not be run is 126', async (t) => {
  const missing = fixture.request(['no-such-command']);
  await createContainer(missing);
  const error = await t.throwsAsync(startContainer(missing.runDir), { instanceOf: NativeError });
  t.is(error?.code, 'ENOENT');
  t.is(error?.step, 'exec');
  t.regex(error?.detail ?? '', /no-such-command/);
  const { state } = await fixture.finish(missing);
  t.is(state.exitCode, 127);
  t.regex(state.startError ?? '', /no-such-command/);

  const directory = fixture.request(['/bin']);
  await createContainer(directory);
  const refused = await t.throwsAsync(startContainer(directory.runDir), { instanceOf: NativeError });
  t.is(refused?.code, 'EACCES');
  t.is((await fixture.finish(directory)).state.exitCode, 126);
});

test("namespaces, names, nodes and mounts are the container's own", async (t) => {
  const script =
    'hostname 2>/dev/null || cat /proc/sys/kernel/hostname; echo $$; ls /dev; ls /proc/self/fd | wc -l';
  const { stdout } = await fixture.run(['busybox', 'sh', '-c', `${script}; cat /proc/mounts`]);
  t.regex(stdout, /^boat\n1\n/);
  for (const node of ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx', 'fd', 'stdout', 'shm'])
    t.regex(stdout, new RegExp(`^${node}$`, 'm'));
  t.notRegex(stdout, /^vda|^kmsg/m);
  t.regex(stdout, /^overlay \/ overlay/m);
  t.regex(stdout, /^sysfs \/sys sysfs ro/m);
});

test('no descriptor of the agent or the monitor leaks into the container', async (t) => {
  const request = fixture.request(['sleep', '1000']);
  const { pid } = await createContainer(request);
  await startContainer(request.runDir);
  t.deepEqual(readdirSync(`/proc/${pid}/fd`), ['0', '1', '2']);
  t.is(readFileSync(`/proc/${pid}/comm`, 'utf8'), 'sleep\n');
});

test('capabilities are those of the config, for another user too', async (t) => {
  const status = ['cat', '/proc/self/status'];
  const root = await fixture.run(status);
  t.regex(root.stdout, /CapEff:\t00000000080000e1/);
  t.regex(root.stdout, /CapBnd:\t00000000080000e1/);
  t.regex(root.stdout, /NoNewPrivs:\t0/);
  const user = await fixture.run(status, ({ process }) => {
    process.user = { uid: 1000, gid: 1001, additionalGids: [7], umask: 0o77 };
    process.capabilities = {
      bounding: ['CAP_CHOWN', 'CAP_KILL'],
      effective: ['CAP_KILL'],
      permitted: ['CAP_KILL'],
      inheritable: ['CAP_KILL'],
      ambient: ['CAP_KILL'],
    };
    process.noNewPrivileges = true;
  });
  t.regex(user.stdout, /Uid:\t1000\t1000\t1000\t1000/);
  t.regex(user.stdout, /Gid:\t1001\t1001\t1001\t1001/);
  t.regex(user.stdout, /Groups:\t7/);
  t.regex(user.stdout, /Umask:\t0077/);
  t.regex(user.stdout, /CapEff:\t0000000000000020/);
  t.regex(user.stdout, /CapAmb:\t0000000000000020/);
  t.regex(user.stdout, /NoNewPrivs:\t1/);
});

test('a user can write to /dev/stdout', async (t) => {
  const { stdout, state } = await fixture.run(['sh', '-c', 'echo reopened > /dev/stdout'], ({ process }) => {
    process.user = { uid: 1000, gid: 1000 };
    process.capabilities = {};
  });
  t.is(state.exitCode, 0);
  t.is(stdout, 'reopened');
});

test('the default seccomp profile blocks what reaches out, whatever the capabilities', async (t) => {
  const all = (config: OciConfig) => {
    const sets = ['CAP_SYS_ADMIN', 'CAP_SETUID', 'CAP_SETGID'];
    config.process.capabilities = { bounding: sets, effective: sets, permitted: sets };
  };
  const script = 'unshare -n true && echo unshared; mount -t tmpfs x /dev/shm && echo mounted; exit 0';
  const open = await fixture.run(['sh', '-c', script], all);
  t.is(
    open.stdout,
    'unshared\nmounted',
    'without a filter the capability is enough, so the test means something',
  );
  const filtered = await fixture.run(['sh', '-c', script], (config) => {
    all(config);
    config.linux.seccomp = DEFAULT_SECCOMP;
  });
  t.is(filtered.stdout, '');
  const status = await fixture.run(['cat', '/proc/self/status'], ({ linux }) => {
    linux.seccomp = DEFAULT_SECCOMP;
  });
  t.regex(status.stdout, /Seccomp:\t2/);
});

test('masked paths are empty, read-only paths and a read-only root cannot be written', async (t) => {
  const script = [
    'cat /proc/timer_list | wc -c',
    'ls /sys/firmware | wc -l',
    'echo x 2>/dev/null > /proc/sys/kernel/domainname || echo sys-ro',
    'touch /file 2>/dev/null || echo root-ro',
    'touch /dev/shm/file && echo shm-rw',
  ].join('\n');
  const { stdout } = await fixture.run(['busybox', 'sh', '-c', script], ({ root }) => {
    if (root) root.readonly = true;
  });
  t.deepEqual(stdout.split('\n'), ['0', '0', 'sys-ro', 'root-ro', 'shm-rw']);
});

test('a memory limit kills, and is recorded', async (t) => {
  const { state } = await fixture.run(
    ['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=64M', 'count=1'],
    ({ linux }) => {
      linux.resources = { memory: { limit: 16 << 20, swap: 16 << 20 } };
    },
  );
  t.is(state.signal, 9);
  t.true(state.oomKilled);
});

test('a pids limit refuses the next process', async (t) => {
  const script = 'for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo all';
  const { stdout, lines } = await fixture.run(['sh', '-c', script], ({ linux }) => {
    linux.resources = { pids: { limit: 4 } };
  });
  t.is(stdout, '');
  t.true(lines.some((line) => /fork/.test(line.text)));
});

test('cpu limits and device rules reach the kernel', async (t) => {
  const request = fixture.request(['sleep', '1000'], ({ linux }) => {
    linux.resources = { cpu: { shares: 512, quota: 50_000, period: 100_000 } };
  });
  await createContainer(request);
  const [cpu] = fixture
    .cgroupDirectories(`/${request.id}`)
    .filter((path) => existsSync(join(path, 'cpu.shares')));
  if (cpu !== undefined) {
    t.is(readFileSync(join(cpu, 'cpu.cfs_quota_us'), 'utf8'), '50000\n');
    t.is(readFileSync(join(cpu, 'cpu.shares'), 'utf8'), '512\n');
  } else {
    const [unified] = fixture.cgroupDirectories(`/${request.id}`);
    t.is(readFileSync(join(unified ?? '', 'cpu.max'), 'utf8'), '50000 100000\n');
  }
  await deleteContainer(request.runDir);
  t.deepEqual(fixture.cgroupDirectories(`/${request.id}`), []);
  t.false(existsSync(request.runDir));
});

test('a device that is not allowed cannot be opened, even by one who may make its node', async (t) => {
  const script =
    'mknod /dev/vda b 254 0; cat /dev/vda > /dev/null; echo read=$?; cat /dev/null; echo null=$?';
  const { stdout } = await fixture.run(['sh', '-c', script]);
  t.is(stdout, 'read=1\nnull=0');
});

test('an image cannot lead a mount out of its root', async (t) => {
  const outside = join(fixture.directory, 'outside');
  mkdirSync(outside);
  const source = join(fixture.directory, 'source');
  writeFileSync(source, 'bound');
  const layer = join(fixture.directory, 'hostile');
  mkdirSync(layer);
  symlinkSync(outside, join(layer, 'absolute'));
  symlinkSync(`../../../../../../../..${outside}`, join(layer, 'relative'));
  const request = fixture.request(['sh', '-c', `cat /absolute/a /relative/b ${outside}/a`], ({ mounts }) => {
    for (const destination of ['/absolute/a', '/relative/b'])
      mounts?.push({ destination, type: 'bind', source, options: ['bind', 'ro'] });
  });
  request.rootfs.lower.unshift(layer);
  await createContainer(request);
  await startContainer(request.runDir);
  const { stdout } = await fixture.finish(request);
  t.false(existsSync(join(outside, 'a')));
  t.false(existsSync(join(outside, 'b')));
  t.is(stdout, 'boundboundbound', 'the links were followed, but inside the root');
});

test('an image with a link at /proc is refused', async (t) => {
  const layer = join(fixture.directory, 'fake-proc');
  mkdirSync(join(layer, 'elsewhere'), { recursive: true });
  symlinkSync('elsewhere', join(layer, 'proc'));
  const request = fixture.request(['true']);
  request.rootfs.lower.unshift(layer);
  const error = await t.throwsAsync(createContainer(request), { instanceOf: NativeError });
  t.is(error?.step, 'mount /proc');
  t.is(error?.code, 'ELOOP');
  t.false(existsSync(request.runDir), 'nothing is left of a failed creation');
  t.deepEqual(fixture.cgroupDirectories(`/${request.id}`), []);
});

test('limits that the kernel refuses are named; the monitor that came up meanwhile ends, and nothing is left', async (t) => {
  const request = fixture.request(['true'], ({ linux }) => {
    linux.resources = { cpu: { quota: 1, period: 100_000 } };
  });
  const error = await t.throwsAsync(createContainer(request), { instanceOf: NativeError });
  t.deepEqual([error?.step, error?.code], ['cgroup', 'EINVAL'], error?.detail);
  t.false(existsSync(request.runDir));
  t.deepEqual(fixture.cgroupDirectories(`/${request.id}`), []);
  // A monitor has its run directory open, and it is the only one to have it.
  const holders = () =>
    readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && directoryOf(pid).startsWith(request.runDir));
  for (const end = deadline(); holders().length > 0 && !end.aborted; ) await delay(5);
  t.deepEqual(holders(), []);
});

/** Of a monitor; '' of every other process. */
function directoryOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/5`);
  } catch {
    return '';
  }
}

test('binds: read-only holds, a missing target is made, a missing source is named', async (t) => {
  const shared = join(fixture.directory, 'shared');
  mkdirSync(shared);
  const bind = (source: string, options: string[]) => (config: OciConfig) => {
    config.mounts?.push({ destination: '/made/here', type: 'bind', source, options });
  };
  const script = 'touch /made/here/file 2>/dev/null && echo rw || echo ro';
  t.is((await fixture.run(['sh', '-c', script], bind(shared, ['rbind', 'ro']))).stdout, 'ro');
  t.is((await fixture.run(['sh', '-c', script], bind(shared, ['rbind']))).stdout, 'rw');
  const missing = fixture.request(['true'], bind('/no/such/source', ['rbind']));
  const error = await t.throwsAsync(createContainer(missing), { instanceOf: NativeError });
  t.is(error?.code, 'ENOENT');
  t.regex(error?.detail ?? '', /\/no\/such\/source/);
});

test('what is not implemented is refused by name', async (t) => {
  const cases: [RegExp, (config: Record<string, never>) => void][] = [
    [/process\.selinuxLabel/, (config) => Object.assign(config['process'] ?? {}, { selinuxLabel: 'x' })],
    [/linux\.intelRdt/, (config) => Object.assign(config['linux'] ?? {}, { intelRdt: { closID: 'x' } })],
    [/'x'/, (config) => Object.assign(config['linux'] ?? {}, { namespaces: [{ type: 'x' }] })],
    [
      /cpu\.realtimeRuntime/,
      (config) => Object.assign(config['linux'] ?? {}, { resources: { cpu: { realtimeRuntime: 1 } } }),
    ],
    [
      /idmap/,
      (config) =>
        Object.assign(config, { mounts: [{ destination: '/x', type: 'tmpfs', options: ['idmap'] }] }),
    ],
    [
      /kernel\.hostname/,
      (config) => Object.assign(config['linux'] ?? {}, { sysctl: { 'kernel.hostname': 'x' } }),
    ],
  ];
  for (const [expected, adjust] of cases) {
    const request = fixture.request(['true'], (config) => adjust(config as unknown as Record<string, never>));
    const error = await t.throwsAsync(createContainer(request), { instanceOf: NativeError });
    t.is(error?.step, 'config');
    t.regex(error?.detail ?? '', expected);
  }
});

test('hooks run when all is mounted and nothing else does; a failing one is told with its words, and nothing is left', async (t) => {
  const note = 'grep -o \'"status":"[a-z]*"\' >"$(dirname $0)/root/$1"';
  const hooks = (request: { runDir: string }, script: string): OciHooks => ({
    createRuntime: [{ path: '/bin/true' }],
    createContainer: [
      { path: '/bin/sh', args: ['sh', '-c', script, `${request.runDir}/config.json`, 'hooked'] },
    ],
  });
  const request = fixture.request(['cat', '/hooked']);
  request.config.hooks = hooks(request, `test -s "$0" && ${note}`);
  await createContainer(request);
  await startContainer(request.runDir);
  t.is((await fixture.finish(request)).stdout, '"status":"creating"');

  const failing = fixture.request(['true']);
  failing.config.hooks = hooks(failing, 'echo first; echo no such card >&2; exit 3');
  const error = await t.throwsAsync(createContainer(failing), { instanceOf: NativeError });
  t.is(error?.step, 'hooks');
  t.is(error?.detail, '/bin/sh: exit status 3: no such card');
  t.deepEqual(fixture.cgroupDirectories(`/${failing.id}`), []);
  t.false(existsSync(failing.runDir));

  for (const [wrong, message] of [
    [{ startContainer: [{ path: '/bin/true' }] }, /hooks\.startContainer is not supported/],
    [{ prestart: [{ path: 'true' }] }, /'true' is not absolute/],
    [{ prestart: [{ path: '/no/such' }] }, /^\/no\/such/],
  ] as const) {
    const refused = fixture.request(['true']);
    refused.config.hooks = structuredClone<unknown>(wrong) as OciHooks;
    const { detail } = (await t.throwsAsync(createContainer(refused), { instanceOf: NativeError })) ?? {};
    t.regex(detail ?? '', message);
  }
});

test('sysctls of the container are set', async (t) => {
  const { stdout } = await fixture.run(
    ['cat', '/proc/sys/net/ipv4/ip_unprivileged_port_start'],
    ({ linux }) => {
      linux.sysctl = { 'net.ipv4.ip_unprivileged_port_start': '7' };
    },
  );
  t.is(stdout, '7');
});

test('more layers than fit into one page of mount options', async (t) => {
  const request = fixture.request(['cat', '/layer-59']);
  for (let i = 0; i < 60; i++) {
    const layer = join(fixture.directory, `deep-${'x'.repeat(100)}-${i}`);
    mkdirSync(layer);
    writeFileSync(join(layer, `layer-${i}`), `content ${i}`);
    request.rootfs.lower.push(layer);
  }
  await createContainer(request);
  await startContainer(request.runDir);
  t.is((await fixture.finish(request)).stdout, 'content 59');
});

test('twenty at once', async (t) => {
  const codes = await Promise.all(
    Array.from({ length: 20 }, async (_, i) => (await fixture.run(['sh', '-c', `exit ${i}`])).state.exitCode),
  );
  t.deepEqual(
    codes,
    Array.from({ length: 20 }, (_, i) => i),
  );
});
