import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { writeBatch } from '../../../agent/native/file-batch.ts';

test('directories and files are made in order, with their modes, whatever is in the texts', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'shoal-test-batch-'));
  t.teardown(() => rm(root, { recursive: true }));
  const directory = join(root, 'a', 'b');
  const text = `${JSON.stringify({ env: ['A=\u0000\ud800', 'B="ü\n"'] })}\n`;
  const files = [
    { path: join(directory, 'plain'), mode: 0o644, text: '' },
    { path: join(directory, 'record'), mode: 0o600, text, replace: true } as const,
  ];
  await writeBatch({ directories: [{ path: directory, mode: 0o700 }], files });
  // What a crash left behind is no reason to keep its mode or its text.
  await writeFile(join(directory, 'record.new'), 'longer than all that comes after it'.repeat(99), {
    mode: 0o666,
  });
  await writeBatch({ directories: [{ path: directory, mode: 0o755 }], files });
  t.deepEqual((await readdir(directory)).toSorted(), ['plain', 'record']);
  t.is(await readFile(join(directory, 'record'), 'utf8'), text);
  const modes = ['', 'plain', 'record'].map(async (name) => (await stat(join(directory, name))).mode & 0o777);
  t.deepEqual(await Promise.all(modes), [0o700, 0o644, 0o600]);
});

test('the first failure is named, and nothing after it is done; a link leads nowhere', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'shoal-test-batch-'));
  t.teardown(() => rm(root, { recursive: true }));
  await symlink(join(root, 'elsewhere'), join(root, 'link'));
  const files = ['link', 'after'].map((name) => ({ path: join(root, name), mode: 0o644, text: 'text' }));
  await t.throwsAsync(writeBatch({ directories: [], files }), {
    name: 'NativeError',
    code: 'ELOOP',
    message: /^files: open: .*link/,
  });
  await t.throwsAsync(writeBatch({ directories: [{ path: 'relative', mode: 0o700 }], files: [] }), {
    code: 'EINVAL',
    message: /relative/,
  });
  t.deepEqual(await readdir(root), ['link']);
});
