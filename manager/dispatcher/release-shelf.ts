/**
 * The release that this manager runs from, for machines that shall become nodes: install.sh, and the whole tree as a
 * tarball, which is made when it is first asked for. A manager that runs from a source tree has none.
 */
import { execFile } from 'node:child_process';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { NotFoundError, UnavailableError } from '../../shared/errors/index.ts';
import { VERSION } from '../../shared/lib/version.ts';

/** It costs whoever asks nothing to ask: no more than this many tarballs are sent at a time. */
const SENT_AT_ONCE = 8;
const PACK_TIMEOUT_MS = 120_000;
/** For a client that reads slowly; a place is not kept for one that does not read. */
const SEND_TIMEOUT_MS = 300_000;

export class ReleaseShelf {
  readonly #tree: string | undefined;
  readonly #directory: string;
  #tarball: Promise<string> | undefined;
  #sending = 0;

  /** `directory` is where the tarball is kept; `tree` is for tests, by default the release around this program. */
  constructor(directory: string, tree = releaseAround(path.dirname(fileURLToPath(import.meta.url)))) {
    this.#directory = directory;
    this.#tree = tree;
  }

  /** Throws NotFoundError from a source tree, UnavailableError when too many are served. */
  async serve(name: 'install.sh' | 'release.tar.gz', response: ServerResponse): Promise<void> {
    const tree = this.#requireTree();
    if (name === 'install.sh') return send(path.join(tree, 'deploy/install.sh'), response);
    if (this.#sending >= SENT_AT_ONCE) {
      response.setHeader('retry-after', '2');
      throw new UnavailableError(`${SENT_AT_ONCE} machines are fetching the release already: try again`);
    }
    this.#sending += 1;
    try {
      this.#tarball ??= pack(tree, this.#directory);
      const file = await this.#tarball.catch((error: unknown) => {
        this.#tarball = undefined;
        throw error;
      });
      await send(file, response);
    } finally {
      this.#sending -= 1;
    }
  }

  #requireTree(): string {
    if (this.#tree !== undefined) return this.#tree;
    throw new NotFoundError(
      'this manager runs from a source tree and has no release to give: take one that `npm run release` made to the node',
    );
  }
}

function releaseAround(directory: string): string | undefined {
  const above = path.dirname(directory);
  if (existsSync(path.join(directory, 'package.json'))) {
    return existsSync(path.join(directory, 'MANIFEST')) ? directory : undefined;
  }
  return above === directory ? undefined : releaseAround(above);
}

/** Only what the manifest names: nothing that somebody put into the tree gets out. */
async function pack(tree: string, directory: string): Promise<string> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const names = (await readFile(path.join(tree, 'MANIFEST'), 'utf8'))
    .split('\n')
    .flatMap((line) => (line === '' ? [] : [line.slice(line.indexOf('  ') + 2)]));
  const file = path.join(directory, 'release.tar.gz');
  const top = `shoal-${VERSION}`;
  const fixed = ['--no-recursion', '--owner=0', '--group=0', '--numeric-owner', `--transform=s,^,${top}/,`];
  const packing = promisify(execFile)(
    'tar',
    [...fixed, '-C', tree, '-czf', `${file}.new`, '--verbatim-files-from', '-T', '-'],
    { timeout: PACK_TIMEOUT_MS },
  );
  packing.child.stdin?.on('error', () => undefined); // tar's own complaint says more
  packing.child.stdin?.end(['MANIFEST', ...names, ''].join('\n'));
  try {
    await packing;
    await rename(`${file}.new`, file);
    return file;
  } finally {
    await rm(`${file}.new`, { force: true });
  }
}

async function send(file: string, response: ServerResponse): Promise<void> {
  const { size } = await stat(file);
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': size });
  // a client that goes away has only itself to tell
  const signal = AbortSignal.timeout(SEND_TIMEOUT_MS);
  await pipeline(createReadStream(file), response, { signal }).catch(() => undefined);
}
