/** Containers that try to get out, with the configuration that the agent gives to any container. Needs root. */
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { runtimeSpec } from '../../../agent/container/runtime-spec.ts';
import {
  type CreateRequest,
  createContainer,
  deleteContainer,
  execInContainer,
  NativeError,
  startContainer,
  waitContainer,
} from '../../../agent/native/container.ts';
import { nativeDir } from '../../../agent/native/library.ts';
import type { ContainerSpec } from '../../../shared/model/index.ts';
import { DEADLINE_MS, Fixture, logOf } from './fixture.ts';

const run = promisify(execFile);
const fixture = new Fixture('hostile');
test.after.always(() => fixture.close());

/** A container of an image with one more layer, as the agent makes it. */
function hostile(
  script: string,
  more: Partial<ContainerSpec> = {},
  uid = 0,
): CreateRequest & { own: string } {
  const request = fixture.request(['sh', '-c', script]);
  const own = join(fixture.directory, request.id, 'image');
  mkdirSync(own, { recursive: true });
  const spec: ContainerSpec = {
    image: 'a',
    labels: {},
    command: ['sh', '-c', script],
    args: [],
    env: [],
    mounts: [],
    ...more,
  };
  const config = runtimeSpec({
    spec,
    user: { uid, gid: uid, additionalGids: [], home: '/' },
    hostname: 'boat',
    binds: [],
    image: { env: ['PATH=/bin'], entrypoint: [], cmd: [], user: '', workingDir: '' },
    limits: {},
    reservations: {},
    cgroupsPath: request.config.linux.cgroupsPath,
  });
  const rootfs = { ...request.rootfs, lower: [own, ...request.rootfs.lower] };
  return { ...request, config, rootfs, own };
}

async function outputOf(request: CreateRequest): Promise<string> {
  await createContainer(request);
  await startContainer(request.runDir);
  await waitContainer(request.runDir, AbortSignal.timeout(DEADLINE_MS));
  await deleteContainer(request.runDir);
  return logOf(request)
    .map(({ text }) => `${text}\n`)
    .join('');
}

/** Whether a directory of the node, seen from the working directory by climbing, is there. */
const CLIMB = `d=.; for i in 1 2 3 4 5 6 7 8 9; do d=$d/..; [ -e $d${fixture.directory} ] && echo ESCAPED; done; echo done`;

test('CVE-2024-21626: a working directory that is a descriptor of the runtime leads nowhere', async (t) => {
  t.is(await outputOf(hostile(CLIMB, { workingDir: '/made' })), 'done\n');
  for (let fd = 3; fd < 16; fd += 1) {
    const request = hostile(CLIMB, { workingDir: `/proc/self/fd/${fd}` });
    const linked = hostile(CLIMB, { workingDir: '/way/out' });
    symlinkSync(`/proc/self/fd/${fd}`, join(linked.own, 'way'));
    for (const one of [request, linked]) {
      const said = await outputOf(one).catch((error: unknown) => error);
      t.true(said instanceof NativeError || said === 'done\n', `${one.config.process.cwd}: ${String(said)}`);
    }
  }
});

test('CVE-2024-21626: nor does that of a further command, and commands have no descriptors but their own', async (t) => {
  const request = hostile('exec sleep 1000');
  await createContainer(request);
  await startContainer(request.runDir);
  const exec = async (script: string, cwd: string): Promise<string> => {
    const process = { ...request.config.process, args: ['sh', '-c', script], cwd };
    return (await execInContainer(request.runDir, process, { timeoutMs: 20_000, maxOutputBytes: 4096 }))
      .output;
  };
  for (let fd = 3; fd < 16; fd += 1) {
    const said = await exec(CLIMB, `/proc/self/fd/${fd}`).catch((error: unknown) => error);
    if (!(said instanceof NativeError)) t.is(said, 'done\n', String(fd));
  }
  // The last one is that of the listing.
  t.is(await exec('echo $(ls /proc/self/fd)', '/'), '0 1 2 3\n');
  t.is(await exec('readlink /proc/self/fd/3 || echo none', '/'), 'none\n');
});

test('CVE-2019-5736: a container can not write to the runtime, through whatever /proc shows of it', async (t) => {
  const digest = (): string =>
    createHash('sha256')
      .update(readFileSync(join(nativeDir, 'shoal-monitor')))
      .digest('hex');
  const before = digest();
  const script =
    'while [ ! -e /stop ]; do for p in /proc/[0-9]*; do if [ $p != /proc/$$ ] && ' +
    '(echo evil > $p/exe) 2>/dev/null; then echo WROTE; fi; done; done; echo done';
  const request = hostile(script, { capAdd: ['SYS_PTRACE', 'DAC_READ_SEARCH'] });
  // What is run as an interpreter is the runtime itself.
  writeFileSync(join(request.own, 'again'), '#!/proc/self/exe\n', { mode: 0o755 });
  await createContainer(request);
  await startContainer(request.runDir);
  const options = { timeoutMs: 20_000, maxOutputBytes: 4096 };
  for (let i = 0; i < 20; i += 1) {
    const args = i % 2 === 0 ? ['/again', 'exec'] : ['sh', '-c', 'echo evil > /proc/self/exe'];
    const ended = await execInContainer(request.runDir, { ...request.config.process, args }, options).catch(
      (error: unknown) => error,
    );
    if (!(ended instanceof NativeError)) t.not((ended as { exitCode: number }).exitCode, 0, args.join(' '));
  }
  await execInContainer(request.runDir, { ...request.config.process, args: ['touch', '/stop'] }, options);
  await waitContainer(request.runDir, AbortSignal.timeout(DEADLINE_MS));
  const texts = logOf(request).map(({ text }) => text);
  t.deepEqual(texts, ['done']);
  t.is(digest(), before);
  t.is(await outputOf(hostile('echo fine')), 'fine\n');
});

test('the kernel’s own switches are out of reach of root in a container', async (t) => {
  const targets = [
    '/proc/sys/kernel/core_pattern',
    '/proc/sys/vm/drop_caches',
    '/proc/sysrq-trigger',
    '/proc/irq/default_smp_affinity',
    '/sys/kernel/uevent_helper',
    '/sys/fs/cgroup/memory/memory.limit_in_bytes',
    '/sys/fs/cgroup/cgroup.procs',
  ];
  const tries = targets.map((path) => `(echo 1 > ${path}) 2>/dev/null && echo WROTE ${path}`).join('; ');
  const reads = '[ -s /proc/kcore ] && echo READ kcore; head -c 1 /proc/keys 2>/dev/null; ls /sys/firmware';
  const mounts =
    'mount -t proc x /mnt 2>/dev/null && echo MOUNTED; mount -o remount,rw /proc/sys 2>/dev/null && echo REMOUNTED; ' +
    'umount /proc/sys 2>/dev/null && echo UMOUNTED; unshare -m true 2>/dev/null && echo UNSHARED';
  t.is(await outputOf(hostile(`mkdir /mnt; ${tries}; ${reads}; ${mounts}; echo done`)), 'done\n');
});

test('a device that an image brings, or root in the container makes, is none', async (t) => {
  const request = hostile(
    'mknod /own b 7 0; for d in /brought /own; do head -c 1 $d >/dev/null 2>&1 && echo READ $d; done; echo done',
  );
  await run('mknod', [join(request.own, 'brought'), 'b', '7', '0']);
  t.is(await outputOf(request), 'done\n');
});

test('set-user-ID: an image’s own works, with no_new_privs it gives nothing, and none is on what the runtime mounts', async (t) => {
  // Its own program is looked at: a shell would put such rights down by itself.
  const script = "/become -- sh -c 'grep ^Uid /proc/$PPID/status'";
  const suid = (more: Partial<ContainerSpec>): CreateRequest => {
    const request = hostile(script, more, 1000);
    copyFileSync(join(nativeDir, 'shoal-init'), join(request.own, 'become'));
    chmodSync(join(request.own, 'become'), 0o4755);
    return request;
  };
  t.is(await outputOf(suid({})), 'Uid:\t1000\t0\t0\t0\n');
  t.is(await outputOf(suid({ noNewPrivileges: true })), 'Uid:\t1000\t1000\t1000\t1000\n');
  t.is(
    await outputOf(hostile('grep -v -e " / " -e ^devtmpfs /proc/mounts | grep -v nosuid; echo done')),
    'done\n',
  );
});

test('links of an image at the places where things are mounted stay in the image', async (t) => {
  const outside = join(fixture.directory, 'outside');
  mkdirSync(outside);
  const request = hostile('ls -A /pretended; echo done');
  symlinkSync(outside, join(request.own, 'dev'));
  const said = await outputOf(request).catch((error: unknown) => error);
  if (!(said instanceof NativeError)) t.regex(String(said), /^done$/m);
  const { stdout } = await run('ls', ['-A', outside]);
  t.is(stdout, '');
});
