import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import test, { type ExecutionContext } from 'ava';
import { pack, type Header } from 'tar-stream';
import { readImageFile } from '../../../agent/container/image-files.ts';
import { unpackLayer } from '../../../agent/native/layer.ts';

type Entry = Partial<Header> & { readonly name: string } & { readonly text?: string };

/** Unpacks layers, topmost first, as those of an image are; `outside` is a directory of the node beside them. */
async function image(t: ExecutionContext, ...layers: (readonly Entry[])[]) {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-test-image-files-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const outside = join(directory, 'outside');
  await mkdir(outside);
  await writeFile(join(outside, 'passwd'), 'node\n');
  const paths: string[] = [];
  for (const [index, entries] of layers.entries()) {
    const path = join(directory, String(index));
    const archive = `${path}.tar`;
    const tar = pack();
    for (const { text = '', ...header } of entries) tar.entry(header, text);
    tar.finalize();
    await Promise.all([mkdir(path), pipeline(tar, createWriteStream(archive))]);
    await unpackLayer(archive, path);
    paths.push(path);
  }
  return { paths, outside, read: (path = 'etc/passwd') => readImageFile(paths, path) };
}

const file = (name: string, text: string): Entry => ({ name, text });
const link = (name: string, linkname: string): Entry => ({ name, linkname, type: 'symlink' });

test('a file of an image is that of the topmost layer, unless a layer above took it or its directory away', async (t) => {
  const below = [file('etc/passwd', 'below'), file('etc/group', 'groups')];
  const merged = await image(t, [file('etc/passwd', 'above')], below);
  t.deepEqual([await merged.read(), await merged.read('etc/group')], ['above', 'groups']);
  for (const hiding of [file('etc/.wh.passwd', ''), file('.wh.etc', ''), file('etc', 'a file')])
    t.is(await (await image(t, [hiding], below)).read(), '', hiding.name);
  const anew = await image(t, [file('etc/.wh..wh..opq', ''), file('etc/group', 'own')], below);
  t.deepEqual([await anew.read(), await anew.read('etc/group')], ['', 'own']);
});

test("an image's links are followed in the image, never on the node", async (t) => {
  const real = [file('nix/store/passwd', 'of the image')];
  const cases: [string, Entry[]][] = [
    ['of the image', [link('etc/passwd', '/nix/store/passwd')]],
    ['of the image', [link('etc/passwd', '../nix/store/passwd')]],
    ['of the image', [link('etc', 'nix/store')]],
    ['of the image', [link('etc', '/../../nix/./store//')]],
    ['', [link('etc', '/etc')]],
    ['', [link('etc/passwd', '/etc/passwd')]],
    ['', [link('etc/passwd', '../../../../../../../../etc/passwd')]],
    ['', [link('etc', '/proc/self/root/etc')]],
    ['', [link('etc/passwd', 'group'), link('etc/group', 'passwd')]],
  ];
  for (const [text, entries] of cases) {
    const { read } = await image(t, entries, real);
    t.is(await read(), text, JSON.stringify(entries));
  }
  const { paths, outside, read } = await image(t, [], real);
  await symlink(outside, join(paths[0] ?? '', 'etc'));
  t.is(await read(), '');
});

test('what is no regular file is empty, and a file of gigabytes is read in part, by whole lines', async (t) => {
  const fifo = await image(t, [{ name: 'etc/passwd', type: 'fifo' }], [file('etc/passwd', 'below')]);
  t.is(await fifo.read(), '');
  const directory = await image(t, [{ name: 'etc/passwd', type: 'directory' }]);
  t.is(await directory.read(), '');
  t.is(await (await image(t, [file('etc', 'a file')])).read(), '');

  const huge = await image(t, [file('etc/passwd', 'root:x:0:0::/root:\nweb:x:3')]);
  await truncate(join(huge.paths[0] ?? '', 'etc/passwd'), 8 * 2 ** 30);
  t.is(await huge.read(), 'root:x:0:0::/root:\n');
});
