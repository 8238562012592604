/** Disks of their own for managers and nodes: images with a file system, which can be filled, broken and mended. */
import { mkdir, open, rm, statfs, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { run, tryRun } from '../../deploy/local/command.ts';
import { poll } from '../../deploy/local/run-files.ts';

const SIZE_BYTES = 512 * 1024 * 1024;
const BALLAST = '.ballast';
const MEND_MS = 30_000;
const never = new AbortController().signal;

export class Disk {
  /** Where it is mounted. */
  readonly mount: string;
  /** Each time it is mended another file. */
  image: string;
  #mended = 0;

  constructor(mount: string, image: string) {
    this.mount = mount;
    this.image = image;
  }

  async make(): Promise<void> {
    await mkdir(this.mount, { recursive: true, mode: 0o700 });
    await mkdir(path.dirname(this.image), { recursive: true, mode: 0o700 });
    const file = await open(this.image, 'w', 0o600);
    await file.truncate(SIZE_BYTES);
    await file.close();
    // No reserve for root: full is full.
    await run('mkfs.ext4', ['-q', '-m', '0', this.image], never);
    await this.#mount();
  }

  /** Nothing more can be written until `empty`. */
  async fill(): Promise<void> {
    const { bavail, bsize } = await statfs(this.mount);
    await tryRun('fallocate', ['-l', String(bavail * bsize), path.join(this.mount, BALLAST)], never);
    // What is left of a block here and there.
    await tryRun('dd', ['if=/dev/zero', `of=${path.join(this.mount, `${BALLAST}2`)}`, 'bs=4k'], never);
  }

  async empty(): Promise<void> {
    for (const name of [BALLAST, `${BALLAST}2`]) await rm(path.join(this.mount, name), { force: true });
  }

  /** As after an I/O error: the kernel lets nothing more be written. */
  async breakDown(): Promise<void> {
    const device = path.basename((await run('findmnt', ['-no', 'SOURCE', this.mount], never)).trim());
    await writeFile(`/sys/fs/ext4/${device}/trigger_fs_error`, 'chaos');
  }

  /** Checked and mounted again; nobody may use it meanwhile. */
  async mend(): Promise<void> {
    await poll(
      async () => ((await tryRun('umount', [this.mount], never)) === undefined ? undefined : true),
      AbortSignal.timeout(MEND_MS),
    );
    // Whoever has copied the mounts of the machine, and keeps them to himself, still has it mounted: then the kernel would give the
    // same broken file system again, whatever was mended in its image. A copy is another device.
    const old = this.image;
    this.#mended += 1;
    this.image = `${old.replace(/\.\d+$/, '')}.${this.#mended}`;
    await run('cp', ['--sparse=always', old, this.image], never);
    await rm(old);
    // 1: errors were corrected
    await run('sh', ['-c', `e2fsck -fy ${this.image} >/dev/null || [ $? -eq 1 ]`], never);
    await this.#mount();
  }

  async #mount(): Promise<void> {
    await run('mount', ['-o', 'loop,errors=remount-ro', this.image, this.mount], never);
  }
}
