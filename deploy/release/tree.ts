/** The tree of a release: the files that a host needs and no others, with owners, modes and times that do not vary. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, copyFile, lutimes, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { InvalidError, NotFoundError } from '../../shared/errors/index.ts';
import { BUNDLE, PROGRAM } from './bundle.ts';
import { installedPackages } from './production-packages.ts';

/** In sha256sum's format, of all other files: install.sh checks it, and compares it to know a release again. */
export const MANIFEST = 'MANIFEST';

const NATIVE = ['libshoal.so', 'shoal-files', 'shoal-init', 'shoal-monitor'].map(
  (name) => `native/build/${name}`,
);
const PLAIN = [
  'CHANGELOG.md',
  'LICENSE',
  'README.md',
  'deploy/install.sh',
  'deploy/prerequisites.sh',
  'package.json',
];
const FOLDERS = ['deploy/stacks', 'deploy/systemd', 'docs'];
/** Of npm packages: what only compilers and debuggers read. Licences and texts stay. */
const UNUSED_OF_PACKAGES = /\.(map|[cm]?ts|tsbuildinfo)$/;

export interface TreeFile {
  /** From the project's root. */
  readonly source: string;
  /** From the release's root. */
  readonly path: string;
  readonly executable: boolean;
}

/** What belongs into a release made of the built project at `root`, sorted. Throws NotFoundError for what is not built. */
export async function releaseFiles(root: string): Promise<TreeFile[]> {
  const lists = await Promise.all([
    program(root),
    ...FOLDERS.map((folder) => filesBelow(root, folder)),
    ...(await installedPackages(root)).map(({ directory }) => packageFiles(root, directory)),
  ]);
  const sources = [...NATIVE, ...PLAIN, ...lists.flat()];
  const files = await Promise.all(sources.map((file) => describe(root, file)));
  return files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

async function describe(root: string, source: string): Promise<TreeFile> {
  const status = await stat(path.join(root, source)).catch((cause: unknown) => {
    throw new NotFoundError(`${source} is not there: run npm run build`, { cause });
  });
  const inBundle = source.startsWith(`${BUNDLE}/`);
  const own = inBundle ? path.join('dist', path.relative(BUNDLE, source)) : source;
  return { source, path: own, executable: (status.mode & 0o100) !== 0 || own === `dist/${PROGRAM}` };
}

/** The bundle, whose main file must be there. */
async function program(root: string): Promise<string[]> {
  const main = path.join(BUNDLE, PROGRAM);
  return existsSync(path.join(root, main)) ? filesBelow(root, BUNDLE) : [main];
}

/** Packages within it are listed by themselves. */
async function packageFiles(root: string, directory: string): Promise<string[]> {
  const files = await filesBelow(root, directory, (own) => !/^node_modules(\/|$)/.test(own));
  return files.filter((file) => !UNUSED_OF_PACKAGES.test(file));
}

/** Paths from `root`; `wanted` sees those from `directory`. Throws InvalidError for links and the like. */
async function filesBelow(
  root: string,
  directory: string,
  wanted: (own: string) => boolean = () => true,
): Promise<string[]> {
  const top = path.join(root, directory);
  const entries = await readdir(top, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .filter((entry) => wanted(path.relative(top, path.join(entry.parentPath, entry.name))))
    .map((entry) => {
      const file = path.relative(root, path.join(entry.parentPath, entry.name));
      if (!entry.isFile()) throw new InvalidError(`${file} is no plain file: a release can not hold it`);
      return file;
    });
}

/** Copies the files to `target` (which must not exist), adds the manifest, and gives everything this time. */
export async function writeTree(
  root: string,
  target: string,
  files: readonly TreeFile[],
  epochSeconds: number,
): Promise<void> {
  if (existsSync(target)) throw new InvalidError(`${target} exists already`);
  const sums: string[] = [];
  for (const file of files) {
    const to = path.join(target, file.path);
    await mkdir(path.dirname(to), { recursive: true });
    await copyFile(path.join(root, file.source), to);
    await chmod(to, file.executable ? 0o755 : 0o644);
    sums.push(`${await sha256(to)}  ${file.path}\n`);
  }
  await writeFile(path.join(target, MANIFEST), sums.join(''), { mode: 0o644 });
  await settle(target, epochSeconds);
}

/** Modes of directories and all times, the deepest first, `top` included. */
export async function settle(top: string, epochSeconds: number): Promise<void> {
  const entries = await readdir(top, { recursive: true, withFileTypes: true });
  const paths = entries
    .map((entry) => path.join(entry.parentPath, entry.name))
    .toSorted()
    .toReversed();
  for (const entry of entries) {
    if (entry.isDirectory()) await chmod(path.join(entry.parentPath, entry.name), 0o755);
  }
  await chmod(top, 0o755);
  for (const each of [...paths, top]) await lutimes(each, epochSeconds, epochSeconds);
}

/** Of a file, in hexadecimal. */
export async function sha256(file: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
}
