/** The process that works on files, as the agent drives it: streams, slow readers, ends that come too early. */
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { execFileSync } from 'node:child_process';
import test from 'ava';
import { FilesHelper, type FilesRoot, sizesOf } from '../../../agent/native/files-helper.ts';
import { nativeDir } from '../../../agent/native/library.ts';

const never = new AbortController().signal;

interface Box extends AsyncDisposable {
  readonly directory: string;
  readonly root: FilesRoot;
}

async function box(): Promise<Box> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-test-files-'));
  const [image, upper, work, place] = ['image', 'upper', 'work', 'place'].map((n) => path.join(directory, n));
  for (const one of [image, upper, work, place]) await mkdir(one ?? '');
  const root = { lower: [image ?? ''], upper: upper ?? '', work: work ?? '', place: place ?? '' };
  return {
    directory,
    root: { ...root, readOnly: false, mounts: [] },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

function tar(directory: string, ...names: string[]): Buffer {
  return execFileSync('tar', ['-C', directory, '-cf', '-', ...names], { maxBuffer: 1 << 28 });
}

/** Helpers of this process that still run. */
async function helpers(): Promise<number> {
  const mine: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const program = await readlink(`/proc/${pid}/exe`).catch(() => '');
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    if (program === path.join(nativeDir, 'shoal-files') && status.includes(`PPid:\t${process.pid}\n`))
      mine.push(pid);
  }
  return mine.length;
}

test.serial(
  'an archive that is small is there even when the process has ended before it is read',
  async (t) => {
    await using b = await box();
    await writeFile(path.join(b.root.upper, 'x'), 'content');
    for (let i = 0; i < 5; i += 1) {
      const helper = new FilesHelper({ mode: 'get', path: '/x', root: b.root }, undefined, never);
      helper.input.end();
      t.is((await helper.stat()).sizeBytes, 7);
      await new Promise((resolve) => setTimeout(resolve, 100));
      const archive = await buffer(helper.output);
      await helper.done();
      t.true(archive.includes('content'));
    }
    t.is(await helpers(), 0);
  },
);

test.serial('a reader that does not read holds the process, not memory; closing ends it', async (t) => {
  await using b = await box();
  await writeFile(path.join(b.root.upper, 'large'), Buffer.alloc(64 << 20));
  const helper = new FilesHelper({ mode: 'get', path: '/large', root: b.root }, undefined, never);
  helper.input.end();
  await helper.stat();
  const [first] = await helper.output
    .take(1)
    .toArray()
    .catch(() => []);
  t.truthy(first);
  t.true(helper.output.readableLength < 1 << 20);
  await helper.close();
  t.is(await helpers(), 0);
});

test.serial(
  'an abort in the middle of an archive ends the process; what came whole before is there',
  async (t) => {
    await using b = await box();
    const source = path.join(b.directory, 'source');
    await mkdir(source);
    await writeFile(path.join(source, 'a'), 'first');
    await writeFile(path.join(source, 'b'), Buffer.alloc(1 << 20, 7));
    const whole = tar(source, 'a', 'b');
    const abort = new AbortController();
    const helper = new FilesHelper(
      { mode: 'put', path: '/', root: b.root, writable: true, keepKinds: false },
      undefined,
      abort.signal,
    );
    helper.input.write(whole.subarray(0, whole.length / 2));
    for (;;) {
      const there = await stat(path.join(b.root.upper, 'b')).catch(() => undefined);
      if (there !== undefined) break;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    abort.abort();
    await t.throwsAsync(helper.done(), { message: /ended without an answer/ });
    await helper.close();
    t.is(await readFile(path.join(b.root.upper, 'a'), 'utf8'), 'first');
    t.is(await helpers(), 0);
  },
);

test.serial('an archive that ends in the middle of a file is an error', async (t) => {
  await using b = await box();
  await writeFile(path.join(b.directory, 'f'), Buffer.alloc(100_000, 1));
  const helper = new FilesHelper(
    { mode: 'put', path: '/', root: b.root, writable: true, keepKinds: false },
    undefined,
    never,
  );
  helper.input.end(tar(b.directory, 'f').subarray(0, 50_000));
  await t.throwsAsync(helper.done(), { name: 'InvalidError', message: /can not be read/ });
  await helper.close();
});

test.serial('any number may read at once; nothing of it is seen outside, or left', async (t) => {
  await using b = await box();
  await writeFile(path.join(b.root.upper, 'x'), 'content');
  const read = async (): Promise<Buffer> => {
    const helper = new FilesHelper({ mode: 'export', root: b.root }, undefined, never);
    helper.input.end();
    const archive = await buffer(helper.output);
    await helper.done();
    return archive;
  };
  const archives = await Promise.all([read(), read(), read(), read()]);
  for (const archive of archives) t.true(archive.includes('content'));
  t.false((await readFile('/proc/self/mountinfo', 'utf8')).includes(b.directory));
  t.deepEqual(await readdir(b.root.place), []);
});

test.serial('sizes: all in order; none is invented when the time is over', async (t) => {
  await using b = await box();
  await writeFile(path.join(b.root.upper, 'x'), Buffer.alloc(1234));
  t.deepEqual(
    await sizesOf([b.root.upper, path.join(b.directory, 'nosuch'), b.root.place], never),
    [1234, -1, 0],
  );
  t.deepEqual(await sizesOf([], never), []);
  const late = AbortSignal.timeout(1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.deepEqual(await sizesOf([b.root.upper], late), [-1]);
});
