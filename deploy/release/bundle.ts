/**
 * Makes one program of the compiled modules and of the packages that they use: a manager reads a few large files at its start and
 * not 2,000 small ones, which takes it half the time. What is loaded on demand stays in files of its own.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { build } from 'esbuild';

/** Below the project's root. Holds the program under the same path as dist/, and dist/ holds it in a release. */
export const BUNDLE = 'dist/bundle';

/** The `shoal` command, below dist/ and below the bundle. */
export const PROGRAM = 'deploy/cli/main.js';

/** Native code, what reads files beside itself, and packages of ws that are not there. */
export const NOT_BUNDLED = ['koffi', 'etcd3', '@grpc/*', 'bufferutil', 'utf-8-validate'];

/** Packages of the older kind ask for others by `require`. */
export const BANNER =
  "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);";

/** `root` is the project's, compiled. The same sources give the same bytes. Rejects with what could not be resolved. */
export async function bundle(root: string): Promise<void> {
  const outdir = path.join(root, BUNDLE);
  await rm(outdir, { recursive: true, force: true });
  await build({
    absWorkingDir: root,
    entryPoints: { [PROGRAM.replace(/\.js$/, '')]: path.join('dist', PROGRAM) },
    outdir,
    bundle: true,
    splitting: true,
    chunkNames: 'chunks/[name]-[hash]',
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    external: NOT_BUNDLED,
    keepNames: true,
    legalComments: 'inline',
    banner: { js: BANNER },
    logLevel: 'warning',
  });
}
