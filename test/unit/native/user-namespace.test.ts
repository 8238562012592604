/** Containers whose ids are others on the node, and whose clocks are. Needs root and idmapped mounts. */
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import test from 'ava';
import {
  createContainer,
  deleteContainer,
  execInContainer,
  NativeError,
  type OciConfig,
  startContainer,
} from '../../../agent/native/container.ts';
import { FilesHelper } from '../../../agent/native/files-helper.ts';
import { Fixture } from './fixture.ts';

const fixture = new Fixture('userns');
test.after.always(() => fixture.close());

const FIRST = 1_500_000_000;
const EVERYTHING = [
  'CAP_SYS_ADMIN',
  'CAP_SYS_RAWIO',
  'CAP_MKNOD',
  'CAP_DAC_OVERRIDE',
  'CAP_CHOWN',
  'CAP_SETUID',
];

function remap(config: OciConfig, first = FIRST): void {
  config.linux.namespaces.push({ type: 'user' });
  config.linux.uidMappings = [{ containerID: 0, hostID: first, size: 65_536 }];
  config.linux.gidMappings = [{ containerID: 0, hostID: first + 100_000, size: 65_536 }];
}

/** A directory of the node with a secret of root's and a file of user 1000's. */
function nodeDirectory(name: string): string {
  const directory = join(fixture.directory, name);
  mkdirSync(directory);
  writeFileSync(join(directory, 'secret'), 'secret of root', { mode: 0o600 });
  writeFileSync(join(directory, 'own'), 'of 1000', { mode: 0o600 });
  chownSync(join(directory, 'own'), 1000, 1000);
  chmodSync(directory, 0o777);
  return directory;
}

const bind = (source: string, target: string, ...options: string[]) => ({
  destination: target,
  type: 'bind',
  source,
  options: ['bind', ...options],
});

test('its root is nobody on the node; limits, devices, names and the terminal are its own', async (t) => {
  const script = [
    'cat /proc/self/uid_map /proc/self/gid_map',
    'ls -ln /bin/busybox /dev/null',
    'echo x > /dev/null && echo "null works"',
    'cat /proc/sys/kernel/hostname /proc/self/oom_score_adj',
    'grep "locked memory" /proc/self/limits',
    'cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax',
    'touch /made; ls -ln /made; stty size; ls -ln /dev/pts/0',
  ];
  const request = fixture.request(['busybox', 'sh', '-c', script.join(';')], (config) => {
    remap(config);
    config.process.terminal = true;
    config.process.consoleSize = { height: 33, width: 99 };
    config.process.oomScoreAdj = 77;
    config.linux.sysctl = { 'net.ipv4.ip_default_ttl': '71', 'kernel.msgmax': '9071' };
    config.process.rlimits = [{ type: 'RLIMIT_MEMLOCK', soft: 4096, hard: 8192 }];
  });
  const { pid } = await createContainer(request);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  t.regex(status, new RegExp(`^Uid:\t${FIRST}\t${FIRST}\t${FIRST}`, 'm'));
  t.regex(status, new RegExp(`^Gid:\t${FIRST + 100_000}\t${FIRST + 100_000}`, 'm'));
  t.regex(status, /^Groups:\t\s*$/m);
  await startContainer(request.runDir);
  const { stdout, state } = await fixture.finish(request);
  t.is(state.exitCode, 0, stdout);
  t.regex(stdout, / 0 +1500000000 +65536\s/);
  t.regex(stdout, / 0 +0 .*\/bin\/busybox/);
  t.regex(stdout, /^crw-rw-rw- +1 0 +0 +1, +3 .*\/dev\/null/m);
  for (const line of ['null works', 'boat', '77', '33 99', '71\r\n9071'])
    t.true(stdout.includes(line), `${line}: ${stdout}`);
  t.regex(stdout, /4096 +8192/);
  t.regex(stdout, / 0 +0 .*\/made/);
  t.regex(stdout, /^crw.* 0 .*\/dev\/pts\/0/m);
  // On disk ids are the container's, so that a new container of other ids finds its own files.
  t.is(statSync(join(request.rootfs.upper, 'made')).uid, 0);
});

test('every capability in it is none on the node', async (t) => {
  const directory = nodeDirectory('hostile');
  const attempts = {
    mknod: 'mknod /x b 8 0',
    'a device by chmod': 'chmod 777 /dev/shm && mknod /dev/shm/x c 1 1',
    'core pattern': 'mount -o remount,rw /proc/sys; echo x > /proc/sys/kernel/core_pattern',
    sysrq: 'mount -o remount,rw /proc; echo h > /proc/sysrq-trigger',
    'a secret of root': 'cat /node/secret',
    'its owner': 'chown 0:0 /node/secret',
    'an id that is none': 'chown 70000 /bin/busybox',
    'a file of 1000 that is not its 1000': 'cat /node/own',
    'a block device of the node': 'mount -t ext4 /dev/vda /mnt',
    'the root of the node': 'ls /../etc || ls /../../lost+found',
    'the layers': 'mount -o remount,lowerdir=/ /',
    'the binary of the monitor': 'cat /proc/1/exe > /dev/null && echo x > /proc/1/exe',
    'a keyring, a module': 'echo x > /sys/kernel/uevent_helper',
  };
  const script = Object.entries(attempts).map(
    ([name, command]) => `(${command}) >/dev/null 2>&1 && echo "got ${name}"`,
  );
  const request = fixture.request(
    ['busybox', 'sh', '-c', `${script.join(';')}; touch /node/made; cat /proc/mounts`],
    (config) => {
      remap(config);
      config.process.capabilities = { bounding: EVERYTHING, effective: EVERYTHING, permitted: EVERYTHING };
      config.mounts = [...(config.mounts ?? []), bind(directory, '/node')];
    },
  );
  await createContainer(request);
  await startContainer(request.runDir);
  const { stdout } = await fixture.finish(request);
  t.notRegex(stdout, /^got/m);
  // Nothing of the node's own mounts is left, on top of the root or below it.
  t.regex(stdout, /^overlay \/ overlay/);
  t.is(stdout.match(/^\S+ \/ /gm)?.length, 1, stdout);
  t.false(stdout.includes('/run/netns'), stdout);
  t.is(statSync(join(directory, 'made')).uid, FIRST);
  t.is(readFileSync(join(directory, 'secret'), 'utf8'), 'secret of root');
});

test('with idmap a bind has owners in the ids of the container; layers are shared between ranges', async (t) => {
  const directory = nodeDirectory('idmapped');
  const script = 'cat /node/own; ls -ln /node/secret /bin/busybox; touch /node/made; cat /node/secret';
  for (const first of [FIRST, FIRST + 65_536]) {
    const { stdout, state } = await fixture.run(['busybox', 'sh', '-c', script], (config) => {
      remap(config, first);
      config.process.user = { uid: 1000, gid: 1000 };
      config.process.capabilities = {};
      config.mounts = [...(config.mounts ?? []), bind(directory, '/node', 'idmap')];
    });
    t.is(state.exitCode, 1);
    t.regex(stdout, /^of 1000/);
    t.is(stdout.match(/ 0 +0 /g)?.length, 2, stdout);
  }
  t.is(statSync(join(directory, 'made')).uid, 1000);
});

test('a further command is in its user and time namespace, as the user that it names', async (t) => {
  const request = fixture.request(['sleep', '1000'], (config) => {
    remap(config);
    config.linux.namespaces.push({ type: 'time' });
    config.linux.timeOffsets = { monotonic: { secs: 7_000_000 }, boottime: { secs: 9_000_000, nanosecs: 5 } };
  });
  await createContainer(request);
  await startContainer(request.runDir);
  const script =
    'id -u; cat /proc/self/uid_map /proc/uptime; echo reopened > /dev/stdout; ls -ln /proc/self/fd/1 >/dev/null';
  const options = { timeoutMs: 0, maxOutputBytes: 10_000 };
  const process = { user: { uid: 1000, gid: 1000 }, args: ['busybox', 'sh', '-c', script], cwd: '/' };
  const { output, exitCode } = await execInContainer(request.runDir, process, options);
  t.is(exitCode, 0, output);
  t.regex(output, new RegExp(`^1000\n +0 +${FIRST} +65536\n`));
  t.regex(output, /^reopened$/m);
  const uptime = Number(/^(\d+)\.\d+ \d/m.exec(output)?.[1]);
  const own = Number(readFileSync('/proc/uptime', 'utf8').split('.')[0]);
  t.true(uptime - own > 8_999_000 && uptime - own < 9_001_000, output);
  await deleteContainer(request.runDir);
});

test('what can not be is refused by name, and leaves nothing', async (t) => {
  const range = { containerID: 0, hostID: FIRST, size: 10 };
  const cases: [RegExp, (config: OciConfig) => void][] = [
    [
      /uidMappings: a user namespace needs it|uidMappings: id 0/,
      ({ linux }) => linux.namespaces.push({ type: 'user' }),
    ],
    [/no user namespace of its own/, ({ linux }) => (linux.uidMappings = [range])],
    [/overlap/, (config) => (remap(config), config.linux.uidMappings?.push(range))],
    [
      /id 0 of the container/,
      (config) => (remap(config), (config.linux.gidMappings = [{ ...range, containerID: 1 }])),
    ],
    [/out of range/, (config) => (remap(config), (config.linux.uidMappings = [{ ...range, size: 2 ** 32 }]))],
    [
      /user 70000 is in no range/,
      (config) => (remap(config), (config.process.user = { uid: 70_000, gid: 0 })),
    ],
    [
      /'user' is not supported/,
      ({ linux }) => linux.namespaces.push({ type: 'user', path: '/proc/self/ns/user' }),
    ],
    [/'idmap' needs the ranges/, (config) => config.mounts?.push(bind(fixture.layer, '/x', 'idmap'))],
    [/no time namespace of its own/, ({ linux }) => (linux.timeOffsets = { monotonic: { secs: 1 } })],
    // The agent's own directories in memory, or a file system of the kernel's, can not be mapped.
    [
      /no idmapped mounts of its file system/,
      (config) => (remap(config), config.mounts?.push(bind('/proc', '/x', 'idmap'))),
    ],
    [/source \/missing/, (config) => (remap(config), config.mounts?.push(bind('/missing', '/x')))],
  ];
  for (const [pattern, adjust] of cases) {
    const request = fixture.request(['true'], (config) => adjust(config));
    const error = await t.throwsAsync(createContainer(request), { instanceOf: NativeError });
    t.regex(error?.detail ?? '', pattern);
    t.deepEqual(fixture.cgroupDirectories(`/${request.id}`), []);
  }
});

test('files go in and come out with the owners that they have in the container', async (t) => {
  const request = fixture.request(['sleep', '1000'], (config) => remap(config));
  const { pid } = await createContainer(request);
  await startContainer(request.runDir);
  const source = join(fixture.directory, 'copied');
  mkdirSync(source);
  writeFileSync(join(source, 'file'), 'content');
  chownSync(join(source, 'file'), 1234, 0);
  const never = new AbortController().signal;
  const namespace = await open(`/proc/${pid}/ns/mnt`);
  const put = { mode: 'put', path: '/', writable: true, keepKinds: false } as const;
  const writer = new FilesHelper(put, namespace, never);
  writer.input.end(execFileSync('tar', ['-C', source, '-cf', '-', '--numeric-owner', 'file']));
  await writer.done();
  t.is(statSync(join(request.rootfs.upper, 'file')).uid, 1234);
  const reader = new FilesHelper({ mode: 'get', path: '/file' }, namespace, never);
  reader.input.end();
  await reader.stat();
  const listed = execFileSync('tar', ['-tv', '--numeric-owner'], { input: await buffer(reader.output) });
  await reader.done();
  t.regex(listed.toString(), / 1234\/0 /);
  await namespace.close();
  await deleteContainer(request.runDir);
});
