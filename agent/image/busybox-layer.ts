import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { InvalidError } from '../../shared/errors/index.ts';
import { type BuiltLayer, buildLayer, type LayerEntry } from './build-tar.ts';

/** Where the distribution's package busybox-static puts it. */
const BUSYBOX = '/bin/busybox';
const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n';
const GROUP = 'root:x:0:\nnogroup:x:65534:\n';

/** A small system: this machine's static busybox under all its names. Rejects with InvalidError if it is not there. */
export async function busyboxLayer(): Promise<BuiltLayer> {
  const binary = await readFile(BUSYBOX).catch((cause: unknown) => {
    throw new InvalidError(`${BUSYBOX} is missing: install the package busybox-static`, { cause });
  });
  const { stdout } = await promisify(execFile)(BUSYBOX, ['--list']);
  const applets = stdout.split('\n').filter((name) => name !== '' && name !== 'busybox');
  const directories = ['bin', 'dev', 'etc', 'proc', 'root', 'run', 'sys', 'var', 'var/log'];
  const entries: LayerEntry[] = [
    ...directories.map((path): LayerEntry => ({ kind: 'directory', path })),
    { kind: 'directory', path: 'tmp', mode: 0o1777 },
    { kind: 'file', path: 'bin/busybox', content: binary, mode: 0o755 },
    ...applets.map((name): LayerEntry => ({ kind: 'symlink', path: `bin/${name}`, target: 'busybox' })),
    { kind: 'file', path: 'etc/passwd', content: PASSWD },
    { kind: 'file', path: 'etc/group', content: GROUP },
  ];
  return buildLayer(entries);
}

export const BUSYBOX_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
