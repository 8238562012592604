/** A node's volumes on its disk and in its mounts. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import type { HeldMount } from '../../../agent/container/held-mounts.ts';
import { UnsupportedError } from '../../../shared/errors/index.ts';
import { timesMounted } from '../../../agent/volume/mounted.ts';
import { Volumes } from '../../../agent/volume/volumes.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const never = new AbortController().signal;
const MEMORY = { type: 'tmpfs', device: 'tmpfs', o: 'size=1m' };

class Rig implements AsyncDisposable {
  readonly users: { id: string; mounts: HeldMount[] }[] = [];
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async up(): Promise<Rig> {
    return new Rig(await mkdtemp(path.join(os.tmpdir(), 'shoal-test-volumes-')));
  }

  /** As a later agent has them. */
  restarted(): Volumes {
    return new Volumes(this.directory, () => this.users, silentLogger);
  }

  use(id: string, ...names: string[]): void {
    const mounts = names.map((name): HeldMount => {
      return { kind: 'volume', name, source: '', target: '/x', readOnly: false };
    });
    this.users.push({ id, mounts });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.users.length = 0;
    await this.restarted().sweep([]);
    await rm(this.directory, { recursive: true, force: true });
  }
}

test('made once, with labels and options; found by a later agent; removed with what is in it', async (t) => {
  await using rig = await Rig.up();
  const volumes = rig.restarted();
  const { volume, created } = await volumes.create({ name: 'a', options: {}, labels: { k: 'v' } });
  t.true(created);
  t.like(await volumes.create({ name: 'a', options: MEMORY, labels: {} }), { created: false, volume });
  await writeFile(path.join(volume.mountpoint, 'file'), 'x');
  const later = rig.restarted();
  t.deepEqual(await later.inspect('a'), volume);
  t.deepEqual((await later.list()).volumes, [volume]);
  await later.remove('a', false);
  await t.throwsAsync(later.inspect('a'), { message: 'get a: no such volume' });
  await t.throwsAsync(later.remove('a', false), { message: 'get a: no such volume' });
  await later.remove('a', true);
  t.deepEqual(await readdir(path.join(rig.directory, 'volumes')), []);
});

test('a size is the file system’s limit, set before anything is in the volume and lifted with it', async (t) => {
  await using rig = await Rig.up();
  const said: unknown[] = [];
  let refuses = false;
  const volumes = new Volumes(rig.directory, () => [], silentLogger, {
    set: async (directory, bytes) => {
      said.push(['set', path.relative(rig.directory, directory), bytes, await readdir(directory)]);
      if (refuses) throw new UnsupportedError('no quota support');
    },
    clear: async (directory) => void said.push(['clear', path.basename(directory), await readdir(directory)]),
  });
  const options = { size: '2m' };
  const { volume } = await volumes.create({ name: 'a', options, labels: {} });
  await volumes.create({ name: 'free', options: {}, labels: {} });
  await writeFile(path.join(volume.mountpoint, 'file'), 'x');
  await volumes.create({ name: 'a', options, labels: {} });
  t.true(await volumes.limited(['free', 'a', 'missing', '../a']));
  t.false(await volumes.limited(['free']));
  await volumes.remove('a', false);
  t.deepEqual(said, [
    ['set', 'volumes/a/_data', 2 ** 21, []],
    ['clear', '_data', ['file']],
  ]);
  refuses = true;
  await t.throwsAsync(volumes.create({ name: 'b', options, labels: {} }), { message: 'no quota support' });
  await t.throwsAsync(volumes.inspect('b'), { name: 'NotFoundError' });
  // In earnest: there are none in memory.
  const memory = await mkdtemp('/dev/shm/shoal-test-volumes-');
  t.teardown(() => rm(memory, { recursive: true, force: true }));
  const real = new Volumes(memory, () => [], silentLogger);
  await t.throwsAsync(real.create({ name: 'b', options, labels: {} }), {
    instanceOf: UnsupportedError,
    message: /"size": quota size requested but no quota support: the file system is tmpfs: ext4 or xfs/,
  });
  t.deepEqual(await readdir(path.join(memory, 'volumes')), []);
});

test('names that are none do not leave the directory', async (t) => {
  await using rig = await Rig.up();
  const volumes = rig.restarted();
  await writeFile(path.join(rig.directory, 'precious'), 'x');
  for (const name of ['', '.', '..', '../precious', 'a/b', '-a', '.removed-x']) {
    await t.throwsAsync(volumes.create({ name, options: {}, labels: {} }), { name: 'InvalidError' }, name);
    await t.throwsAsync(volumes.remove(name, true), { name: 'NotFoundError' }, name);
    await t.throwsAsync(volumes.inspect(name), { name: 'NotFoundError' }, name);
  }
  t.is(await readFile(path.join(rig.directory, 'precious'), 'utf8'), 'x');
});

test('in use by a container, whether it runs, has ended or is being made', async (t) => {
  await using rig = await Rig.up();
  const volumes = rig.restarted();
  await volumes.create({ name: 'a', options: {}, labels: {} });
  rig.use('c1', 'a');
  await t.throwsAsync(volumes.remove('a', true), { message: 'remove a: volume is in use - [c1]' });
  await volumes.discard('a');
  t.deepEqual((await volumes.inspect('a')).usedBy, ['c1']);
  rig.users.length = 0;
  await volumes.ensure({ source: 'a', target: '/x' }, [], 'c2', never);
  await t.throwsAsync(volumes.remove('a', false), { message: /in use - \[c2\]/ });
  await volumes.release('c2');
  await volumes.discard('a');
  t.deepEqual((await volumes.list()).volumes, []);
});

test('an empty one takes over what the image has; one without a name is labelled so', async (t) => {
  await using rig = await Rig.up();
  const volumes = rig.restarted();
  const layer = path.join(rig.directory, 'layer');
  await mkdir(path.join(layer, 'srv'), { recursive: true });
  await writeFile(path.join(layer, 'srv', 'page'), 'hello');
  const data = await volumes.ensure({ source: 'web', target: '/srv', anonymous: true }, [layer], 'c1', never);
  t.is(await readFile(path.join(data, 'page'), 'utf8'), 'hello');
  t.deepEqual((await volumes.inspect('web')).labels, { 'com.docker.volume.anonymous': '' });
  const plain = await volumes.ensure({ source: 'plain', target: '/srv', noCopy: true }, [layer], 'c1', never);
  t.deepEqual(await readdir(plain), []);
  await t.throwsAsync(volumes.ensure({ source: 'x', driver: 'nfs', target: '/' }, [], 'c1', never), {
    message: /volume driver "nfs"/,
  });
});

test('what options name is mounted for the first user and unmounted after the last', async (t) => {
  await using rig = await Rig.up();
  const volumes = rig.restarted();
  const { volume } = await volumes.create({ name: 'mem', options: MEMORY, labels: {} });
  const mounted = (): Promise<number> => timesMounted(volume.mountpoint);
  t.is(await mounted(), 0);
  await Promise.all(['c1', 'c2'].map((id) => volumes.ensure({ source: 'mem', target: '/x' }, [], id, never)));
  t.is(await mounted(), 1);
  await volumes.hold(['mem', 'nosuch'], 'copy', never);
  await volumes.release('c1');
  await volumes.release('copy');
  t.is(await mounted(), 1);
  await volumes.release('c2');
  await volumes.release('c2');
  t.is(await mounted(), 0);
  const failing = volumes.ensure(
    { source: 'bad', options: { type: 'nosuchfs', device: 'x' }, target: '/x' },
    [],
    'c3',
    never,
  );
  await t.throwsAsync(failing, { message: 'failed to mount local volume bad' });
  await volumes.remove('bad', false);
});

test('a later agent keeps what a living container has mounted, and unmounts the rest', async (t) => {
  await using rig = await Rig.up();
  const first = rig.restarted();
  const points: string[] = [];
  for (const name of ['kept', 'left']) {
    points.push((await first.create({ name, options: MEMORY, labels: {} })).volume.mountpoint);
    await first.ensure({ source: name, target: '/x' }, [], `c-${name}`, never);
    rig.use(`c-${name}`, name);
  }
  await mkdir(path.join(rig.directory, 'volumes', '.removed-1', '_data'), { recursive: true });
  const later = rig.restarted();
  await later.sweep(['c-kept']);
  t.deepEqual(await Promise.all(points.map(timesMounted)), [1, 0]);
  t.deepEqual((await readdir(path.join(rig.directory, 'volumes'))).sort(), ['kept', 'left']);
  await later.release('c-kept');
  t.is(await timesMounted(points[0] ?? ''), 0);
});

test('a removal never reaches into what is mounted', async (t) => {
  await using rig = await Rig.up();
  const volumes = rig.restarted();
  const outside = path.join(rig.directory, 'outside');
  await mkdir(outside);
  await writeFile(path.join(outside, 'precious'), 'x');
  const options = { type: 'none', device: outside, o: 'bind' };
  await volumes.create({ name: 'b', options, labels: {} });
  await volumes.ensure({ source: 'b', target: '/x' }, [], 'c1', never);
  // an agent that forgot who has it
  await rig.restarted().remove('b', false);
  t.is(await readFile(path.join(outside, 'precious'), 'utf8'), 'x');
});
