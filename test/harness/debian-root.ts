/** A fresh Debian below a directory, as debootstrap makes it; what it made is kept in .cache, for it takes minutes. */
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { run } from '../../deploy/local/command.ts';
import { checkoutDir } from './peers.ts';

/** The first with a Node that is new enough. */
const SUITE = 'trixie';
const MIRROR = 'http://deb.debian.org/debian';
/** A directory for temporary files that the caller has is not there. */
const ENVIRONMENT = `unset TMPDIR
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive`;

/** Unpacks it into the directory, which is made. Its files are all that there is: mounts are of `inRoot` alone. */
export async function freshDebian(directory: string, signal: AbortSignal): Promise<void> {
  const cache = process.env['SHOAL_DEBIAN_DIR'] ?? path.join(checkoutDir(), '.cache', 'debian');
  const kept = path.join(cache, `${SUITE}.tar`);
  if (!existsSync(kept)) await makeRoot(cache, kept, signal);
  await mkdir(directory);
  await run('tar', ['-xf', kept, '-C', directory], signal);
  await copyFile('/etc/resolv.conf', path.join(directory, 'etc/resolv.conf'));
}

/** What runs a script there, in namespaces of its own: all of it ends with it, and its /proc goes. */
export function inRoot(directory: string, script: string): readonly [program: string, args: string[]] {
  const own = ['--mount', '--pid', '--fork', '--kill-child', `--mount-proc=${directory}/proc`];
  return ['unshare', [...own, 'chroot', directory, 'sh', '-c', `${ENVIRONMENT}\n${script}`]];
}

async function makeRoot(cache: string, kept: string, signal: AbortSignal): Promise<void> {
  await mkdir(cache, { recursive: true });
  await removeKilled(cache);
  const work = await mkdtemp(path.join(cache, `new-${process.pid}-`));
  try {
    const root = path.join(work, 'root');
    await run('debootstrap', ['--variant=minbase', '--include=ca-certificates', SUITE, root, MIRROR], signal);
    await rm(path.join(root, 'var/cache/apt/archives'), { recursive: true });
    await mkdir(path.join(root, 'var/cache/apt/archives/partial'), { recursive: true });
    await run('tar', ['-C', root, '-cf', path.join(work, 'tar'), '.'], signal);
    await rename(path.join(work, 'tar'), kept);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Of runs that were killed at it. */
async function removeKilled(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    const pid = /^new-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      await rm(path.join(cache, name), { recursive: true });
  }
}
