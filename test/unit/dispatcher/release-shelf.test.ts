/** What a manager gives to machines that shall become nodes. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { run } from '../../../deploy/local/command.ts';
import { ReleaseShelf } from '../../../manager/dispatcher/release-shelf.ts';
import { AppError, HTTP_STATUS } from '../../../shared/errors/index.ts';

const signal = new AbortController().signal;

async function temporary(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-shelf-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** A release of a few files, `bytes` of them large, and one that its manifest does not name. */
async function tree(t: ExecutionContext, bytes = 10): Promise<string> {
  const directory = await temporary(t);
  await mkdir(path.join(directory, 'deploy'));
  await writeFile(path.join(directory, 'deploy/install.sh'), '#!/bin/bash\n');
  await writeFile(
    path.join(directory, 'large'),
    Buffer.from(Array.from({ length: bytes }, () => Math.random() * 256)),
  );
  await writeFile(path.join(directory, 'private'), 'not part of the release');
  await writeFile(path.join(directory, 'MANIFEST'), 'aa  deploy/install.sh\nbb  large\n');
  return directory;
}

/** Answers as the manager's port does. */
async function serving(
  t: ExecutionContext,
  shelf: ReleaseShelf,
): Promise<(name: string) => Promise<IncomingMessage>> {
  const server = createServer((request, response) => {
    const name = request.url === '/install.sh' ? 'install.sh' : 'release.tar.gz';
    shelf.serve(name, response).catch((error: unknown) => {
      response.writeHead(error instanceof AppError ? HTTP_STATUS[error.code] : 500).end(String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return (name) =>
    new Promise((resolve, reject) => {
      get({ host: '127.0.0.1', port, path: `/${name}`, agent: false }, resolve).on('error', reject);
    });
}

test('the script, and a tarball of what the manifest names and nothing else', async (t) => {
  const fetch = await serving(t, new ReleaseShelf(path.join(await temporary(t), 'made'), await tree(t)));
  t.is((await buffer(await fetch('install.sh'))).toString(), '#!/bin/bash\n');
  const place = await temporary(t);
  const answer = await fetch('release.tar.gz');
  t.is(answer.statusCode, 200);
  await writeFile(path.join(place, 'it.tar.gz'), await buffer(answer));
  await run('tar', ['-xzf', path.join(place, 'it.tar.gz'), '-C', place], signal);
  const [top = ''] = (await readdir(place)).filter((name) => name.startsWith('shoal-'));
  t.deepEqual((await readdir(path.join(place, top), { recursive: true })).toSorted(), [
    'MANIFEST',
    'deploy',
    'deploy/install.sh',
    'large',
  ]);
});

test('those that do not read take no more than their places, and give them back when they go', async (t) => {
  const shelf = new ReleaseShelf(path.join(await temporary(t), 'made'), await tree(t, 20_000_000));
  const fetch = await serving(t, shelf);
  const stalled = await Promise.all(Array.from({ length: 8 }, () => fetch('release.tar.gz')));
  t.deepEqual([...new Set(stalled.map((answer) => answer.statusCode))], [200]);
  const ninth = await fetch('release.tar.gz');
  t.is(ninth.statusCode, 503);
  t.is(ninth.headers['retry-after'], '2');
  ninth.resume();
  for (const answer of stalled) answer.destroy();
  let status: number | undefined;
  while (status !== 200) {
    const answer = await fetch('release.tar.gz');
    status = answer.statusCode;
    answer.destroy();
  }
  t.is(status, 200);
});

test('a tarball that can not be made is an error, and is tried again', async (t) => {
  const place = await tree(t);
  const fetch = await serving(t, new ReleaseShelf(path.join(await temporary(t), 'made'), place));
  await rm(path.join(place, 'large'));
  const failed = await fetch('release.tar.gz');
  t.is(failed.statusCode, 500);
  t.regex((await buffer(failed)).toString(), /large/);
  await writeFile(path.join(place, 'large'), 'back');
  const answer = await fetch('release.tar.gz');
  t.is(answer.statusCode, 200);
  answer.resume();
});

test('a manager that runs from a source tree says that it has none', async (t) => {
  const fetch = await serving(t, new ReleaseShelf(await temporary(t)));
  for (const name of ['install.sh', 'release.tar.gz']) {
    const answer = await fetch(name);
    t.is(answer.statusCode, 404);
    t.regex((await buffer(answer)).toString(), /source tree.*npm run release/);
  }
});
