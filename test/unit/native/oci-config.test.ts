/**
 * Every row of the table of config.json in docs/oci.md: what is honoured is read back from inside a container, what is
 * refused is refused by its name. The rows and their fields are compared with the document. Needs root.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { OciConfig } from '../../../agent/native/container.ts';
import { checkoutDir } from '../../harness/peers.ts';
import { OciLab } from './oci-lab.ts';

const lab = new OciLab('ociconfig');
test.after.always(() => lab.close());

/** A device of the host, which the first container that it is handed to takes with it. */
const DEVICE = `shd${process.pid}`;
const ip = (line: string): Buffer => execFileSync('ip', line.split(' '), { stdio: 'pipe' });
test.before(() => {
  ip(`link add ${DEVICE} type veth peer name ${DEVICE}p`);
  ip(`addr add 192.0.2.7/24 broadcast 192.0.2.255 dev ${DEVICE}`);
  ip(`-6 addr add 2001:db8::7/64 dev ${DEVICE} nodad`);
});
test.after.always(() => {
  if (existsSync(`/sys/class/net/${DEVICE}`)) ip(`link del ${DEVICE}`);
});

const NOTE = join(lab.fixture.directory, 'note');
const IS_V2 = !existsSync('/sys/fs/cgroup/memory');
const isMounted = (controller: string): boolean =>
  IS_V2
    ? readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').split(/\s/).includes(controller)
    : existsSync(`/sys/fs/cgroup/${controller}`);

interface Case {
  /** The first cell of the document's row. */
  readonly row: string;
  /** Members of config.json, put into the config of each container; objects are merged. */
  readonly set: (base: OciConfig) => object;
  /** Run by the container's shell, and with `exec` as a further command of it; what it prints, and then NOTE. */
  readonly script?: string;
  readonly exec?: true;
  readonly shows?: RegExp;
  readonly refuses?: RegExp;
}

const file = (v1: string, v2: string): string => `cat /sys/fs/cgroup/${IS_V2 ? v2 : v1}`;
const DISK =
  readdirSync('/sys/block').map((name) => readFileSync(`/sys/block/${name}/dev`, 'utf8').trim())[0] ?? '';
const [DISK_MAJOR, DISK_MINOR] = DISK.split(':').map(Number);
const resources = (value: object) => (): object => ({ linux: { resources: value } });
const seccomp = (value: object) => (): object => ({ linux: { seccomp: value } });
const hook = (text: string): object => ({
  path: '/bin/busybox',
  args: ['sh', '-c', `echo ${text} >> ${NOTE}`],
});
const without = (base: OciConfig, ...types: string[]): object[] =>
  base.linux.namespaces.filter(({ type }) => !types.includes(type));
const namespaceOf = (type: string): string => `readlink /proc/self/ns/${type}`;

const CASES: readonly Case[] = [
  {
    row: '`root.path`, `root.readonly`',
    set: () => ({ root: { path: lab.fixture.layer, readonly: true } }),
    script: 'touch /x 2>&1; ls /bin/busybox',
    shows: /Read-only file system\n\/bin\/busybox/,
  },
  {
    row: '`mounts`',
    set: (base) => ({
      mounts: [
        ...(base.mounts ?? []),
        { destination: '/t', type: 'tmpfs', source: 't', options: ['nosuid', 'noexec', 'size=64k'] },
        { destination: '/b', type: 'bind', source: '/etc', options: ['rbind', 'ro'] },
      ],
    }),
    script: 'cat /proc/self/mountinfo',
    shows: /^(?=.* \/t rw,nosuid,noexec,.* - tmpfs t rw,size=64k)(?=.* \/b ro,)/s,
  },
  {
    row: '`mounts`',
    set: (base) => ({
      mounts: [...(base.mounts ?? []), { destination: '/t', type: 'tmpfs', options: ['remount'] }],
    }),
    refuses: /remount/,
  },
  {
    row: 'a mount of type `cgroup`',
    set: (base) => ({
      mounts: base.mounts?.map((one) => ({ ...one, ...(one.type === 'cgroup' ? { type: 'cgroup' } : {}) })),
    }),
    script: 'cat /proc/self/mountinfo',
    shows: IS_V2 ? / \/sys\/fs\/cgroup .* - cgroup2 / : / \/sys\/fs\/cgroup\/memory .* - cgroup /,
  },
  {
    row: '`process.args`, `env`, `cwd`, `user` (`uid`, `gid`, `umask`, `additionalGids`)',
    set: () => ({
      process: {
        args: ['sh', '-c', 'busybox pwd; echo $A; id; umask'],
        env: ['PATH=/bin', 'A=b'],
        cwd: '/made/here',
        user: { uid: 7, gid: 8, umask: 0o27, additionalGids: [9] },
      },
    }),
    shows: /^\/made\/here\nb\nuid=7 gid=8 groups=(8,)?9\n0027\n$/,
  },
  {
    row: '`process.terminal`, `consoleSize`',
    set: () => ({ process: { terminal: true, consoleSize: { height: 5, width: 7 } } }),
    refuses: /--console-socket is needed/,
  },
  {
    row: '`process.capabilities` (five sets), `rlimits`, `noNewPrivileges`, `oomScoreAdj`',
    set: () => ({
      process: {
        capabilities: Object.fromEntries(
          ['bounding', 'effective', 'permitted', 'inheritable', 'ambient'].map((name) => [
            name,
            ['CAP_KILL'],
          ]),
        ),
        rlimits: [{ type: 'RLIMIT_NOFILE', soft: 33, hard: 44 }],
        noNewPrivileges: true,
        oomScoreAdj: 77,
      },
    }),
    script: 'cat /proc/self/status /proc/self/limits /proc/self/oom_score_adj',
    shows:
      /^(?=.*CapInh:\t0{14}20\nCapPrm:\t0{14}20\nCapEff:\t0{14}20\nCapBnd:\t0{14}20\nCapAmb:\t0{14}20\nNoNewPrivs:\t1)(?=.*Max open files +33 +44).*\n77\n$/s,
  },
  {
    row: '`process.apparmorProfile`, `selinuxLabel`',
    set: () => ({ process: { apparmorProfile: 'no-such-profile', selinuxLabel: '' } }),
    refuses: /apparmorProfile: this host does not have it|apparmor: profile/,
  },
  {
    row: '`linux.mountLabel`',
    set: () => ({ linux: { mountLabel: 'a:b:c' } }),
    refuses: /linux\.mountLabel: this host does not have it/,
  },
  {
    row: '`process.scheduler`, `ioPriority`',
    set: () => ({
      process: {
        scheduler: { policy: 'SCHED_BATCH', nice: 5 },
        ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 3 },
      },
    }),
    script: "busybox ionice; busybox awk '{print $19, $41}' /proc/self/stat",
    shows: /^best-effort: prio 3\n5 3\n$/,
  },
  {
    row: '`process.execCPUAffinity`',
    set: () => ({ process: { execCPUAffinity: { initial: '0', final: '0' } } }),
    script: 'busybox grep Cpus_allowed_list /proc/self/status',
    exec: true,
    shows: /^Cpus_allowed_list:\t0\n$/,
  },
  {
    row: '`hostname`, `domainname`',
    set: () => ({ hostname: 'boat', domainname: 'sea' }),
    script: 'busybox hostname; cat /proc/sys/kernel/domainname',
    shows: /^boat\nsea\n$/,
  },
  {
    row: '`hostname`, `domainname`',
    set: (base) => ({ linux: { namespaces: without(base, 'uts') } }),
    refuses: /needs a uts namespace/,
  },
  {
    row: '`annotations`',
    set: () => ({
      annotations: { a: 'of me' },
      hooks: { poststop: [{ path: '/bin/busybox', args: ['sh', '-c', `cat >> ${NOTE}`] }] },
    }),
    shows: /"annotations":\{"a":"of me"\}/,
  },
  {
    row: '`hooks.prestart`, `createRuntime`, `poststart`, `poststop`',
    set: () => ({
      hooks: Object.fromEntries(
        ['prestart', 'createRuntime', 'poststart', 'poststop'].map((name) => [name, [hook(name)]]),
      ),
    }),
    shows: /^prestart\ncreateRuntime\npoststart\npoststop\n$/,
  },
  {
    row: '`hooks.createContainer`',
    set: () => ({
      hooks: {
        createContainer: [{ path: '/bin/busybox', args: ['sh', '-c', `/bin/busybox hostname >> ${NOTE}`] }],
      },
    }),
    shows: /^boat\n$/,
  },
  {
    row: '`hooks.startContainer`',
    set: () => ({
      hooks: { startContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'echo hook > /hooked'] }] },
    }),
    script: 'cat /hooked; busybox rm /hooked',
    shows: /^hook\n$/,
  },
  {
    row: '`linux.namespaces` pid, network, ipc, uts, cgroup',
    set: (base) => ({ linux: { namespaces: base.linux.namespaces } }),
    script: ['pid', 'net', 'ipc', 'uts', 'cgroup'].map(namespaceOf).join('; '),
    shows: new RegExp(`^(?!${['pid', 'net', 'ipc', 'uts', 'cgroup'].map(hostNamespace).join('|')})`, 'm'),
  },
  {
    row: '`linux.namespaces` pid, network, ipc, uts, cgroup',
    set: (base) => ({
      linux: {
        namespaces: [...without(base, 'ipc', 'network'), { type: 'network', path: '/proc/self/ns/net' }],
      },
    }),
    script: 'readlink /proc/self/ns/ipc; readlink /proc/self/ns/net',
    shows: new RegExp(`^${hostNamespace('ipc')}\n${hostNamespace('net')}\n$`),
  },
  {
    row: '`linux.namespaces` mount',
    set: (base) => ({ linux: { namespaces: without(base, 'mount') } }),
    refuses: /without 'mount' is not supported/,
  },
  {
    row: '`linux.namespaces` user; `uidMappings`, `gidMappings`',
    set: (base) => ({
      linux: {
        namespaces: [...base.linux.namespaces, { type: 'user' }],
        uidMappings: [{ containerID: 1, hostID: 100_000, size: 10 }],
        gidMappings: [{ containerID: 1, hostID: 100_000, size: 10 }],
      },
    }),
    refuses: /id 0|uidMappings/,
  },
  {
    row: '`linux.namespaces` user; `uidMappings`, `gidMappings`',
    set: (base) => ({
      linux: {
        namespaces: [...base.linux.namespaces, { type: 'user' }],
        uidMappings: [{ containerID: 0, hostID: 0, size: 10 }],
        gidMappings: [{ containerID: 0, hostID: 0, size: 12 }],
      },
    }),
    script: 'cat /proc/self/uid_map /proc/self/gid_map',
    shows: /^ +0 +0 +10\n +0 +0 +12\n$/,
  },
  {
    row: '`linux.namespaces` time; `timeOffsets`',
    set: (base) => ({
      linux: {
        namespaces: [...base.linux.namespaces, { type: 'time' }],
        timeOffsets: { boottime: { secs: 7_000_000 }, monotonic: { secs: 5, nanosecs: 6 } },
      },
    }),
    script: 'cat /proc/self/timens_offsets',
    shows: /^monotonic +5 +6\nboottime +7000000 +0\n$/,
  },
  {
    row: '`linux.cgroupsPath`',
    set: (base) => ({
      linux: { cgroupsPath: `${base.linux.cgroupsPath}-own`, namespaces: without(base, 'cgroup') },
    }),
    script: 'cat /proc/self/cgroup',
    shows: /-own\n/,
  },
  {
    row: '`linux.cgroupsPath`',
    set: () => ({ linux: { cgroupsPath: 'a.slice:b:c' } }),
    refuses: /systemd's form/,
  },
  {
    row: '`linux.devices`, `maskedPaths`, `readonlyPaths`',
    set: () => ({
      linux: {
        devices: [{ path: '/dev/mine', type: 'c', major: 1, minor: 5, fileMode: 0o640, uid: 3, gid: 4 }],
        maskedPaths: ['/proc/meminfo', '/proc/irq'],
        readonlyPaths: ['/proc/sys'],
      },
    }),
    script:
      'busybox ls -ln /dev/mine; cat /proc/meminfo; ls /proc/irq; echo x 2>&1 > /proc/sys/kernel/core_pattern',
    shows: /^crw-r----- +1 3 +4 +1, +5 .*\/dev\/mine\n.*Read-only file system/s,
  },
  {
    row: '`linux.sysctl`',
    set: () => ({ linux: { sysctl: { 'net.ipv4.ip_default_ttl': '77', 'kernel.msgmax': '9000' } } }),
    script: 'cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax',
    shows: /^77\n9000\n$/,
  },
  {
    row: '`linux.sysctl`',
    set: () => ({ linux: { sysctl: { 'vm.swappiness': '1' } } }),
    refuses: /'vm\.swappiness' is not the container's own/,
  },
  {
    row: '`linux.rootfsPropagation`',
    set: () => ({ linux: { rootfsPropagation: 'shared' } }),
    script: 'cat /proc/self/mountinfo',
    shows: /^\S+ \S+ \S+ \S+ \/ .* shared:\d+ /m,
  },
  {
    row: '`linux.seccomp`',
    set: seccomp({
      defaultAction: 'SCMP_ACT_ALLOW',
      architectures: ['SCMP_ARCH_X86_64'],
      flags: ['SECCOMP_FILTER_FLAG_LOG'],
      syscalls: [
        { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 },
        { names: ['sync'], action: 'SCMP_ACT_TRACE', errnoRet: 1 },
      ],
    }),
    script: 'busybox mkdir /x 2>&1; busybox grep Seccomp: /proc/self/status',
    shows: /not supported\nSeccomp:\t2\n$/,
  },
  {
    row: '`linux.seccomp`',
    set: seccomp({
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 1,
      syscalls: [{ names: ['x'], action: 'NO' }],
    }),
    refuses: /action 'NO' is not supported/,
  },
  {
    row: '`linux.seccomp.listenerPath`, `listenerMetadata`',
    set: seccomp({
      defaultAction: 'SCMP_ACT_ALLOW',
      listenerPath: '/nowhere/listener',
      listenerMetadata: 'x',
      syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' }],
    }),
    refuses: /listenerPath: \/nowhere\/listener: No such file/,
  },
  {
    row: '`linux.resources.devices`',
    set: () => ({
      linux: { resources: { devices: [{ allow: true, type: 'c', major: 1, minor: 11, access: 'rwm' }] } },
    }),
    script:
      'busybox mknod /dev/k c 1 11 && exec 3>>/dev/k && echo opened; exec 3>&-; busybox mknod /dev/m c 1 1; cat /dev/m 2>&1',
    shows: /^opened\n.*not permitted/s,
  },
  {
    row: '`linux.resources.memory.limit`, `swap`, `reservation`',
    set: resources({ memory: { limit: 64 << 20, swap: 96 << 20, reservation: 32 << 20 } }),
    script: IS_V2
      ? 'cd /sys/fs/cgroup; cat memory.max memory.swap.max memory.low'
      : 'cd /sys/fs/cgroup/memory; cat memory.limit_in_bytes memory.memsw.limit_in_bytes memory.soft_limit_in_bytes',
    shows: IS_V2 ? /^67108864\n33554432\n33554432\n$/ : /^67108864\n100663296\n33554432\n$/,
  },
  {
    row: '`linux.resources.memory.useHierarchy`, `checkBeforeUpdate`',
    set: resources({ memory: { useHierarchy: true, checkBeforeUpdate: true } }),
    script: 'echo runs',
    shows: /^runs\n$/,
  },
  {
    row: '`linux.resources.memory.swappiness`',
    set: resources({ memory: { swappiness: 33 } }),
    ...(IS_V2
      ? { refuses: /swappiness/ }
      : { script: 'cat /sys/fs/cgroup/memory/memory.swappiness', shows: /^33\n$/ }),
  },
  {
    row: '`linux.resources.memory.disableOOMKiller`',
    set: resources({ memory: { limit: 64 << 20, disableOOMKiller: true } }),
    ...(IS_V2
      ? { refuses: /disableOOMKiller: cgroup v2 always has one/ }
      : { script: 'cat /sys/fs/cgroup/memory/memory.oom_control', shows: /^oom_kill_disable 1$/m }),
  },
  ...['kernel', 'kernelTCP'].map((name) => ({
    row: '`linux.resources.memory.kernel`, `kernelTCP`',
    set: resources({ memory: { [name]: 1 } }),
    refuses: new RegExp(`linux\\.resources\\.memory\\.${name} is not supported`),
  })),
  {
    row: '`linux.resources.cpu.shares`, `quota`, `period`, `cpus`, `mems`',
    set: resources({ cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: '0', mems: '0' } }),
    script: IS_V2
      ? 'cd /sys/fs/cgroup; cat cpu.weight cpu.max cpuset.cpus cpuset.mems'
      : 'cd /sys/fs/cgroup; cat cpu/cpu.shares cpu/cpu.cfs_quota_us cpuset/cpuset.cpus cpuset/cpuset.mems',
    shows: IS_V2 ? /^\d+\n50000 100000\n0\n0\n$/ : /^512\n50000\n0\n0\n$/,
  },
  {
    row: '`linux.resources.cpu.burst`, `idle`',
    set: resources({ cpu: { quota: 50_000, period: 100_000, burst: 20_000, idle: 1 } }),
    script: IS_V2
      ? 'cd /sys/fs/cgroup; cat cpu.max.burst cpu.idle'
      : 'cd /sys/fs/cgroup/cpu; cat cpu.cfs_burst_us cpu.idle',
    shows: /^20000\n1\n$/,
  },
  ...['realtimePeriod', 'realtimeRuntime'].map((name) => ({
    row: '`linux.resources.cpu.realtimePeriod`, `realtimeRuntime`',
    set: resources({ cpu: { [name]: 1000 } }),
    refuses: new RegExp(`linux\\.resources\\.cpu\\.${name} is not supported`),
  })),
  {
    row: '`linux.resources.pids.limit`',
    set: resources({ pids: { limit: 21 } }),
    script: file('pids/pids.max', 'pids.max'),
    shows: /^21\n$/,
  },
  {
    row: '`linux.resources.blockIO`',
    set: resources({
      blockIO: { throttleReadBpsDevice: [{ major: DISK_MAJOR, minor: DISK_MINOR, rate: 1 << 20 }] },
    }),
    script: file('blkio/blkio.throttle.read_bps_device', 'io.max'),
    shows: new RegExp(`^${DISK} .*1048576`),
  },
  {
    row: '`linux.resources.blockIO`',
    set: resources({ blockIO: { leafWeight: 100 } }),
    refuses: /linux\.resources\.blockIO\.leafWeight is not supported/,
  },
  {
    row: '`linux.resources.hugepageLimits`, `rdma`',
    set: resources({ hugepageLimits: [{ pageSize: '2MB', limit: 4 << 20 }], rdma: {} }),
    ...(isMounted('hugetlb')
      ? { script: file('hugetlb/hugetlb.2MB.limit_in_bytes', 'hugetlb.2MB.max'), shows: /^4194304\n$/ }
      : { refuses: /controller 'hugetlb' is not mounted|hugetlb/ }),
  },
  {
    row: '`linux.resources.unified`',
    set: resources({ unified: { 'pids.max': '22' } }),
    ...(IS_V2
      ? { script: 'cat /sys/fs/cgroup/pids.max', shows: /^22\n$/ }
      : { refuses: /linux\.resources\.unified/ }),
  },
  {
    row: '`linux.resources.network`',
    set: resources({ network: { classID: 5 } }),
    refuses: /linux\.resources\.network/,
  },
  {
    row: '`linux.intelRdt`',
    set: () => ({ linux: { intelRdt: { closID: 'x' } } }),
    refuses: /linux\.intelRdt is not supported/,
  },
  {
    row: '`linux.netDevices`',
    set: () => ({ linux: { netDevices: { [DEVICE]: { name: 'wan0' } } } }),
    script: 'busybox ip addr show dev wan0',
    shows:
      /wan0@.*UP.*inet 192\.0\.2\.7\/24 brd 192\.0\.2\.255 .*inet6 2001:db8::7\/64 scope global (?!tentative)/s,
  },
  {
    row: '`linux.netDevices`',
    set: () => ({ linux: { netDevices: { [DEVICE]: {} } } }),
    refuses: new RegExp(`the host has no device ${DEVICE}`),
  },
  {
    row: '`linux.netDevices`',
    set: () => ({ linux: { netDevices: { lo: {} } } }),
    refuses: /lo is there already/,
  },
  {
    row: '`linux.netDevices`',
    set: (base) => ({ linux: { namespaces: without(base, 'network'), netDevices: { [DEVICE]: {} } } }),
    refuses: /needs a network namespace of its own/,
  },
  {
    row: '`linux.memoryPolicy`',
    set: () => ({
      linux: { memoryPolicy: { mode: 'MPOL_BIND', nodes: '0', flags: ['MPOL_F_STATIC_NODES'] } },
    }),
    script: 'busybox head -n 1 /proc/self/numa_maps',
    shows: / bind=static:0 /,
  },
  {
    row: '`linux.memoryPolicy`',
    set: () => ({ linux: { memoryPolicy: { mode: 'MPOL_BIND', nodes: '0' } } }),
    script: 'busybox head -n 1 /proc/self/numa_maps',
    exec: true,
    shows: / bind:0 /,
  },
  {
    row: '`linux.memoryPolicy`',
    set: () => ({ linux: { memoryPolicy: { mode: 'MPOL_NONE' } } }),
    refuses: /memoryPolicy\.mode: 'MPOL_NONE' is not a mode/,
  },
  {
    row: '`linux.personality`',
    set: () => ({ linux: { personality: { domain: 'LINUX32' } } }),
    script: 'busybox uname -m; cat /proc/self/personality',
    shows: /^i686\n00000008\n$/,
  },
  ...['solaris', 'windows', 'vm', 'zos'].map((name) => ({
    row: '`solaris`, `windows`, `vm`, `zos`',
    set: () => ({ [name]: { a: 1 } }),
    refuses: new RegExp(`${name} is not supported`),
  })),
];

function hostNamespace(type: string): string {
  return readlinkSync(`/proc/self/ns/${type}`).replace(/[[\]]/g, '\\$&');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function merge(into: Record<string, unknown>, from: Readonly<Record<string, unknown>>): void {
  for (const [key, value] of Object.entries(from)) {
    const old = into[key];
    if (isObject(old) && isObject(value)) merge(old, value);
    else into[key] = value;
  }
}

/** What a case asks for, run; NOTE is what its hooks have written. */
async function outcome({
  set,
  script,
  exec,
}: Case): Promise<{ code: number; shown: string; stderr: string }> {
  rmSync(NOTE, { force: true });
  const adjust = (config: OciConfig & Record<string, unknown>): void => merge(config, { ...set(config) });
  const args = exec === true ? ['sleep', '1000'] : ['sh', '-c', script ?? 'true'];
  if (exec !== true) {
    const { code, stdout, stderr } = await lab.run(args, adjust);
    return { code, shown: stdout + (existsSync(NOTE) ? readFileSync(NOTE, 'utf8') : ''), stderr };
  }
  const { id } = await lab.started(args, adjust);
  const { code, stdout, stderr } = await lab.oci('exec', id, 'sh', '-c', script ?? 'true');
  return { code, shown: stdout, stderr };
}

for (const [number, one] of CASES.entries()) {
  test.serial(`${one.row} (${number})`, async (t) => {
    const { code, shown, stderr } = await outcome(one);
    if (one.refuses === undefined) {
      t.regex(shown, one.shows ?? /^never$/, stderr);
      return;
    }
    t.is(code, 1, shown);
    t.regex(stderr, one.refuses);
  });
}

/** Every key and word of a value. */
function wordsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value.flatMap(wordsOf);
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([key, inner]) => [key, ...wordsOf(inner)]);
}

test('the document has these rows, and all fields of each are set by its cases', (t) => {
  const text = readFileSync(join(checkoutDir(), 'docs', 'oci.md'), 'utf8');
  const table = text
    .slice(text.indexOf('## config.json'))
    .split('\n')
    .filter((line) => line.startsWith('| '));
  const rows = table.slice(1).map((line) => line.split(' | ')[0]?.slice(2).trim() ?? '');
  const base = lab.fixture.request(['true']).config;
  t.deepEqual(rows.toSorted(), [...new Set(CASES.map(({ row }) => row))].toSorted());
  for (const row of rows) {
    const cases = CASES.filter((one) => one.row === row);
    const words = new Set(cases.flatMap(({ set }) => wordsOf(set(base))));
    const fields = [...row.matchAll(/`([^`]+)`/g)].map(([, name]) => name?.split('.').at(-1) ?? '');
    t.deepEqual(
      fields.filter((name) => !words.has(name)),
      [],
      row,
    );
  }
});
