/** The Debian package: the release's tree below /opt/shoal/releases, with install.sh itself as its maintainer scripts. */
import { chmod, copyFile, mkdir, readdir, rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { run } from '../local/command.ts';
import { settle } from './tree.ts';

/** install.sh sees from dpkg's environment which of them it is. */
const MAINTAINER_SCRIPTS = ['postinst', 'prerm', 'postrm'];

const DEPENDS = [
  'nodejs (>= 20.19)',
  'bash',
  'libarchive13 (>= 3.4) | libarchive13t64',
  'libcjson1',
  'libmnl0',
  'libnettle8 | libnettle8t64',
  'libnftables1',
  'libseccomp2',
  'ca-certificates',
  'iproute2',
  'nftables',
  'util-linux',
];

export interface DebOptions {
  readonly version: string;
  /** Debian's name of it. */
  readonly architecture: string;
  /** The release's tree; it is moved into the package's. */
  readonly tree: string;
  /** For the package's tree; made here. */
  readonly workDir: string;
  readonly file: string;
  readonly epochSeconds: number;
}

/** The native part may use whatever the C library has that it was built with: an older one will not do. */
async function libcDependency(signal: AbortSignal): Promise<string> {
  const text = await run('getconf', ['GNU_LIBC_VERSION'], signal);
  return `libc6 (>= ${text.trim().replace(/^glibc /, '')})`;
}

/** Builds it with dpkg-deb. Rejects with CommandError when that fails. */
export async function writeDeb(options: DebOptions, signal: AbortSignal): Promise<void> {
  const { version, architecture, tree, workDir, file, epochSeconds } = options;
  const releases = path.join(workDir, 'opt/shoal/releases');
  const control = path.join(workDir, 'DEBIAN');
  await mkdir(releases, { recursive: true });
  await mkdir(control);
  const place = path.join(releases, version);
  await rename(tree, place);
  const depends = [...DEPENDS, await libcDependency(signal)];
  const sizeKib = Math.ceil((await bytesBelow(place)) / 1024);
  await writeFile(path.join(control, 'control'), controlText({ version, architecture, sizeKib, depends }));
  for (const script of MAINTAINER_SCRIPTS) {
    await copyFile(path.join(place, 'deploy/install.sh'), path.join(control, script));
    await chmod(path.join(control, script), 0o755);
  }
  await settle(workDir, epochSeconds);
  // gzip: its output does not depend on how many threads there are
  const args = [`SOURCE_DATE_EPOCH=${epochSeconds}`, 'dpkg-deb', '--root-owner-group', '-Zgzip', '--build'];
  await run('env', [...args, workDir, file], signal);
}

/** See deb-control(5). */
function controlText(of: {
  version: string;
  architecture: string;
  sizeKib: number;
  depends: readonly string[];
}): string {
  return [
    'Package: shoal',
    `Version: ${of.version}`,
    `Architecture: ${of.architecture}`,
    'Maintainer: Shoal',
    'Section: admin',
    'Priority: optional',
    `Installed-Size: ${of.sizeKib}`,
    `Depends: ${of.depends.join(', ')}`,
    'Suggests: etcd-server | etcd, etcd-client | etcd, docker-cli | docker.io',
    'Description: runs containers on many Linux hosts',
    ' Managers decide what runs where and keep it in etcd; an agent on each host runs',
    ' the containers and connects them. The docker command drives it.',
    '',
  ].join('\n');
}

async function bytesBelow(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    files.map(async (entry) => (await stat(path.join(entry.parentPath, entry.name))).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
