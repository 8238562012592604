/** Makes a release of a built project: a tarball, a Debian package where dpkg-deb is, and their checksums. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { InvalidError } from '../../shared/errors/index.ts';
import { VERSION } from '../../shared/lib/version.ts';
import { findProgram, run } from '../local/command.ts';
import { writeDeb } from './deb.ts';
import { releaseFiles, sha256, writeTree } from './tree.ts';

export interface ReleaseOptions {
  /** The project: built, its packages installed. */
  readonly root: string;
  /** Where the results go; made if absent. */
  readonly outDir: string;
  /** The time of every file, seconds since 1970. The same sources and time give the same bytes. */
  readonly epochSeconds: number;
}

export interface Release {
  readonly tarball: string;
  /** Undefined without dpkg-deb. */
  readonly deb: string | undefined;
  readonly checksums: string;
}

interface Architecture {
  /** As `uname -m` prints it. */
  readonly machine: string;
  readonly debian: string;
}

/** The native part is built for the machine that makes the release. Throws InvalidError for others. */
function ownArchitecture(): Architecture {
  switch (process.arch) {
    case 'x64':
      return { machine: 'x86_64', debian: 'amd64' };
    case 'arm64':
      return { machine: 'aarch64', debian: 'arm64' };
    default:
      throw new InvalidError(`no release is made for ${process.arch}: x64 and arm64 are known`);
  }
}

/** The name of a release's tarball and, without its ending, of the directory in it. */
export function releaseName(): string {
  return `shoal-${VERSION}-linux-${ownArchitecture().machine}`;
}

/** Rejects with NotFoundError for what is not built or installed, CommandError when tar or dpkg-deb fails. */
export async function makeRelease(options: ReleaseOptions, signal: AbortSignal): Promise<Release> {
  const { root, epochSeconds } = options;
  const outDir = path.resolve(options.outDir);
  const files = await releaseFiles(root);
  await mkdir(outDir, { recursive: true });
  const work = await mkdtemp(path.join(outDir, '.work-'));
  try {
    const tree = path.join(work, releaseName());
    await writeTree(root, tree, files, epochSeconds);
    const tarball = path.join(outDir, `${releaseName()}.tar.gz`);
    await writeTarball(tree, tarball, epochSeconds, signal);
    const deb = findProgram('dpkg-deb') === undefined ? undefined : path.join(outDir, debName());
    if (deb !== undefined) {
      const { debian: architecture } = ownArchitecture();
      const workDir = path.join(work, 'deb');
      await writeDeb({ version: VERSION, architecture, tree, workDir, file: deb, epochSeconds }, signal);
    }
    return {
      tarball,
      deb,
      checksums: await writeChecksums(outDir, deb === undefined ? [tarball] : [tarball, deb]),
    };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function debName(): string {
  return `shoal_${VERSION}_${ownArchitecture().debian}.deb`;
}

/** GNU tar in the old format: nothing of the machine that makes it is in its headers. */
async function writeTarball(
  tree: string,
  file: string,
  epochSeconds: number,
  signal: AbortSignal,
): Promise<void> {
  const fixed = ['--format=gnu', '--sort=name', '--owner=0', '--group=0', '--numeric-owner'];
  const time = `--mtime=@${epochSeconds}`;
  const place = ['-C', path.dirname(tree), path.basename(tree)];
  await run('tar', [...fixed, time, '--use-compress-program=gzip -n', '-cf', file, ...place], signal);
}

/** In sha256sum's format. */
async function writeChecksums(outDir: string, files: readonly string[]): Promise<string> {
  const lines = await Promise.all(
    files.map(async (file) => `${await sha256(file)}  ${path.basename(file)}\n`),
  );
  const checksums = path.join(outDir, 'SHA256SUMS');
  await writeFile(checksums, lines.join(''));
  return checksums;
}
