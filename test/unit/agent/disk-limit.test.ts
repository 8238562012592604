/** Limits of disks, where none can be had. What they do is in native/test/vm-disk-limit.c: it needs a file system for it. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { runtimeSpec } from '../../../agent/container/runtime-spec.ts';
import {
  checkDisk,
  diskAbility,
  forgetDiskLimit,
  makeWritableLayer,
} from '../../../agent/container/writable-layer.ts';
import { InvalidError } from '../../../shared/errors/index.ts';
import { diskBytesOf } from '../../../shared/lib/disk-limit.ts';
import type { ContainerSpec } from '../../../shared/model/index.ts';

const LIMITED = { diskBytes: 2 ** 30 };

function specOf(more: Partial<ContainerSpec>): ContainerSpec {
  return {
    image: 'a',
    labels: {},
    command: ['true'],
    args: [],
    env: [],
    mounts: [],
    ...more,
  };
}

function seccompOf(more: Partial<ContainerSpec>) {
  return runtimeSpec({
    spec: specOf(more),
    user: { uid: 0, gid: 0, additionalGids: [], home: '/' },
    image: { env: [], entrypoint: [], cmd: [], user: '', workingDir: '/' },
    hostname: 'h',
    limits: {},
    reservations: {},
    cgroupsPath: '/x/y',
    binds: [],
  }).linux.seccomp;
}

test('a node whose file system has no project quotas says so, and makes nothing', async (t) => {
  // In memory: Linux before 6.6 has no quotas there, and none since has those of projects.
  const directory = await mkdtemp('/dev/shm/shoal-disk-limit-');
  try {
    t.deepEqual(await diskAbility(directory), {});
    await t.notThrowsAsync(checkDisk(directory, specOf({})));
    await t.throwsAsync(checkDisk(directory, specOf({ runtime: LIMITED })), {
      instanceOf: InvalidError,
      message: `StorageOpt size: this node can not limit the disk of a container: ${directory}: the file system is tmpfs: ext4 or xfs, mounted with prjquota, can do it`,
    });
    await t.throwsAsync(makeWritableLayer(directory, LIMITED), { message: /the file system is tmpfs/ });
    t.deepEqual(await makeWritableLayer(directory, {}), {
      upper: join(directory, 'upper'),
      work: join(directory, 'work'),
    });
    t.deepEqual((await readdir(directory)).toSorted(), ['upper', 'work']);
    await forgetDiskLimit(directory, LIMITED);
    await forgetDiskLimit(join(directory, 'nothing'), undefined);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

test('whatever its profile, a container with a limit keeps its files in it', (t) => {
  const profile = JSON.stringify({ defaultAction: 'SCMP_ACT_ERRNO', syscalls: [] });
  for (const own of [{}, { seccompUnconfined: true }, { seccompProfile: profile }]) {
    const limited = seccompOf({ ...own, runtime: LIMITED });
    const { keepsProjects, ...rest } = limited ?? {};
    t.true(keepsProjects);
    const usual = seccompOf(own);
    t.is(usual?.keepsProjects, undefined);
    t.deepEqual(rest, usual ?? { defaultAction: 'SCMP_ACT_ALLOW' });
  }
  t.is(seccompOf({ runtime: { ...LIMITED, privileged: true } }), undefined);
});

test('sizes as Docker has them; nothing else is an option', (t) => {
  t.is(diskBytesOf({ size: '1.5g' }), 1.5 * 2 ** 30);
  t.is(diskBytesOf({ size: '1048576' }), 2 ** 20);
  t.is(diskBytesOf({ size: '0' }), undefined);
  t.is(diskBytesOf({}), undefined);
  for (const size of ['', '-1', '1 x', 'lots']) {
    t.throws(() => diskBytesOf({ size }), { instanceOf: InvalidError, message: /such as 10G or 512m/ });
  }
  t.throws(() => diskBytesOf({ inodes: '5' }), { message: /unknown option 'inodes'/ });
  t.throws(() => diskBytesOf({ size: '1g', inodes: '5' }), { message: /unknown option 'inodes'/ });
});
