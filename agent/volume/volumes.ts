/**
 * The volumes of this node: a directory each, kept until somebody removes it. One with options of the local driver has
 * something mounted over its directory for as long as a container that runs has it.
 *
 *     volumes/NAME/volume.json   its record
 *     volumes/NAME/_data         what is in it
 */
import { lookup } from 'node:dns/promises';
import { mkdir, readdir, realpath, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { ConflictError, describeError, InvalidError, NotFoundError } from '../../shared/errors/index.ts';
import { newContainerId } from '../../shared/lib/ids.ts';
import { KeyedMutex } from '../../shared/lib/mutex.ts';
import type { Labels } from '../../shared/model/index.ts';
import type { NewVolume, VolumeInfo } from '../../shared/model/node-methods/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import { type HeldMount, volumesOf } from '../container/held-mounts.ts';
import { runFiles } from '../native/files-helper.ts';
import { copyImageDirectory } from './copy-image-directory.ts';
import {
  ANONYMOUS_LABEL,
  serverOf,
  volumeBytes,
  volumeMount,
  withServer,
} from '../../shared/lib/local-volume.ts';
import { timesMounted } from './mounted.ts';
import { QUOTAS, type VolumeLimits } from './volume-limits.ts';
import { readVolumeRecord, type VolumeRecord, writeVolumeRecord } from './volume-record.ts';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;
/** Volumes that are being removed: no volume's name begins so. */
const REMOVED = '.removed-';
const MOUNT_TIMEOUT_MS = 60_000;

/** A container, as far as it has volumes. */
interface VolumeUser {
  readonly id: string;
  readonly mounts?: readonly HeldMount[];
}

export interface MountedVolume {
  readonly source: string;
  readonly driver?: string;
  readonly options?: Labels;
  readonly labels?: Labels;
  readonly noCopy?: boolean;
  readonly target: string;
  /** It has no name of its own. */
  readonly anonymous?: boolean;
}

export class Volumes {
  readonly #directory: string;
  readonly #users: () => readonly VolumeUser[];
  readonly #logger: Logger;
  readonly #locks = new KeyedMutex();
  readonly #limits: VolumeLimits;
  /** Who has something mounted, or is about to have: volume -> containers and copies. */
  readonly #holders = new Map<string, Set<string>>();

  /** `users`: all containers of the node. */
  constructor(stateDir: string, users: () => readonly VolumeUser[], logger: Logger, limits = QUOTAS) {
    this.#limits = limits;
    this.#directory = join(stateDir, 'volumes');
    this.#users = users;
    this.#logger = logger;
  }

  async list(): Promise<{ volumes: VolumeInfo[]; freeBytes: number }> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const names = (await readdir(this.#directory)).filter((name) => NAME.test(name));
    const found = await Promise.all(names.map((name) => this.#find(name)));
    const { bavail, bsize } = await statfs(this.#directory);
    return {
      volumes: found.flatMap((record) => record ?? []).map((one) => this.#info(one)),
      freeBytes: bavail * bsize,
    };
  }

  async inspect(name: string): Promise<VolumeInfo> {
    const record = NAME.test(name) ? await this.#find(name) : undefined;
    if (record === undefined) throw new NotFoundError(`get ${name}: no such volume`);
    return this.#info(record);
  }

  /** One that exists is left as it is, whatever it is made of. Throws InvalidError or UnsupportedError. */
  async create(volume: NewVolume): Promise<{ volume: VolumeInfo; created: boolean }> {
    checkName(volume.name);
    volumeMount(volume.options);
    return this.#locks.run(volume.name, async () => {
      const known = await this.#find(volume.name);
      const record = known ?? (await this.#make(volume));
      return { volume: this.#info(record), created: known === undefined };
    });
  }

  /** Throws ConflictError when a container has it, NotFoundError unless `force`. */
  async remove(name: string, force: boolean): Promise<void> {
    if (!NAME.test(name)) throw new NotFoundError(`get ${name}: no such volume`);
    await this.#locks.run(name, async () => {
      if ((await this.#find(name)) === undefined) {
        if (force) return;
        throw new NotFoundError(`get ${name}: no such volume`);
      }
      const users = this.#usersOf(name);
      if (users.length > 0)
        throw new ConflictError(`remove ${name}: volume is in use - [${users.join(', ')}]`);
      await this.#delete(name);
    });
  }

  /** Removes one that was made for a container alone, unless another has it too. Idempotent. */
  async discard(name: string): Promise<void> {
    try {
      await this.remove(name, true);
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
    }
  }

  /**
   * The directory of the volume for a container, made when it does not exist yet, mounted when its options say so. A volume
   * that is still empty takes over what the image has at `target`, with owner and modes (Docker does so for the local
   * driver), unless `noCopy`. Until `release` nobody can remove it.
   */
  async ensure(
    volume: MountedVolume,
    layers: readonly string[],
    holder: string,
    signal: AbortSignal,
  ): Promise<string> {
    const name = volume.source;
    checkName(name);
    if ((volume.driver ?? 'local') !== 'local')
      throw new NotFoundError(
        `volume driver "${volume.driver}" is not supported: only "local" is (plugin "${volume.driver}" not found)`,
      );
    volumeMount(volume.options ?? {});
    return this.#locks.run(name, async () => {
      const labels = { ...volume.labels, ...(volume.anonymous === true ? { [ANONYMOUS_LABEL]: '' } : {}) };
      const record =
        (await this.#find(name)) ?? (await this.#make({ name, options: volume.options ?? {}, labels }));
      await this.#mount(record, holder, signal);
      const data = this.#data(name);
      const empty = (await readdir(data)).length === 0;
      if (empty && volume.noCopy !== true) await copyImageDirectory(layers, volume.target, data);
      return data;
    });
  }

  /** Whether one of these has a size, which a container that has it must not leave. */
  async limited(names: readonly string[]): Promise<boolean> {
    const records = await Promise.all(
      names.filter((name) => NAME.test(name)).map((name) => this.#find(name)),
    );
    return records.some((record) => record !== undefined && volumeBytes(record.options) !== undefined);
  }

  /** Mounts what these volumes want to have mounted, until `release`. One that is gone is left out. */
  async hold(names: readonly string[], holder: string, signal: AbortSignal): Promise<void> {
    for (const name of names.filter((one) => NAME.test(one))) {
      await this.#locks.run(name, async () => {
        const record = await this.#find(name);
        if (record !== undefined) await this.#mount(record, holder, signal);
      });
    }
  }

  /** The holder has ended: what nobody else needs is unmounted. Idempotent. */
  async release(holder: string): Promise<void> {
    for (const [name, holders] of [...this.#holders]) {
      if (!holders.has(holder)) continue;
      await this.#locks.run(name, async () => {
        holders.delete(holder);
        if (holders.size > 0) return;
        this.#holders.delete(name);
        await this.#unmount(name).catch((error: unknown) =>
          this.#logger.warn(
            { volume: name, reason: describeError(error) },
            'a volume could not be unmounted',
          ),
        );
      });
    }
  }

  /** After a start: takes up what `living` containers hold, unmounts the rest, ends removals that were cut short. */
  async sweep(living: readonly string[]): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    for (const user of this.#users().filter(({ id }) => living.includes(id)))
      for (const name of volumesOf(user)) this.#hold(name, user.id);
    for (const name of await readdir(this.#directory)) {
      if (name.startsWith(REMOVED)) await this.#erase(join(this.#directory, name));
      else if (NAME.test(name) && !this.#holders.has(name)) await this.#unmount(name);
    }
  }

  #data(name: string): string {
    return join(this.#directory, name, '_data');
  }

  #info(record: VolumeRecord): VolumeInfo {
    return { ...record, mountpoint: this.#data(record.name), usedBy: this.#usersOf(record.name) };
  }

  /** Containers, whether they run or have ended, and those that are being made. */
  #usersOf(name: string): string[] {
    const users = this.#users().filter((user) => volumesOf(user).includes(name));
    return [...new Set([...users.map(({ id }) => id), ...(this.#holders.get(name) ?? [])])];
  }

  async #find(name: string): Promise<VolumeRecord | undefined> {
    return readVolumeRecord(join(this.#directory, name));
  }

  /** The record comes last: without it there is no volume. */
  async #make({ name, options, labels }: NewVolume): Promise<VolumeRecord> {
    const record = { name, options, labels, createdAtMs: Date.now() };
    const bytes = volumeBytes(options);
    await mkdir(this.#data(name), { recursive: true, mode: 0o755 });
    if (bytes !== undefined) await this.#limit(name, bytes);
    await writeVolumeRecord(join(this.#directory, name), record);
    return record;
  }

  /** Out of the way first: a removal that is cut short leaves no half of a volume. */
  async #delete(name: string): Promise<void> {
    await this.#unmount(name);
    const away = join(this.#directory, `${REMOVED}${newContainerId()}`);
    await rename(join(this.#directory, name), away);
    await this.#erase(away);
  }

  /** Before anything is in it. */
  async #limit(name: string, bytes: number): Promise<void> {
    try {
      await this.#limits.set(this.#data(name), bytes);
    } catch (error) {
      await this.#erase(join(this.#directory, name));
      throw error;
    }
  }

  /** A limit that stays is of a project that nothing belongs to any more, and that nobody is given. */
  async #erase(directory: string): Promise<void> {
    await this.#limits
      .clear(join(directory, '_data'))
      .catch((error: unknown) =>
        this.#logger.warn(
          { directory, reason: describeError(error) },
          'a volume’s limit could not be lifted',
        ),
      );
    await rm(directory, { recursive: true, force: true });
  }

  #hold(name: string, holder: string): void {
    const holders = this.#holders.get(name) ?? new Set();
    this.#holders.set(name, holders.add(holder));
  }

  async #mount(record: VolumeRecord, holder: string, signal: AbortSignal): Promise<void> {
    const { name, options } = record;
    this.#hold(name, holder);
    try {
      let mount = volumeMount(options);
      if (mount === undefined || (await timesMounted(await realpath(this.#data(name)))) > 0) return;
      const server = serverOf(mount);
      if (server !== undefined) mount = withServer(mount, (await lookup(server)).address);
      const limit = AbortSignal.any([signal, AbortSignal.timeout(MOUNT_TIMEOUT_MS)]);
      await runFiles({ mode: 'mount', target: this.#data(name), ...mount }, limit);
    } catch (cause) {
      this.#holders.get(name)?.delete(holder);
      if (this.#holders.get(name)?.size === 0) this.#holders.delete(name);
      signal.throwIfAborted();
      throw new InvalidError(`failed to mount local volume ${name}`, { cause });
    }
  }

  /** Rejects when it stays mounted: what is below is somebody else's, and must not be removed. */
  async #unmount(name: string): Promise<void> {
    const target = await realpath(this.#data(name)).catch(() => undefined);
    if (target === undefined) return;
    for (let left = await timesMounted(target); left > 0; left -= 1)
      await runFiles({ mode: 'umount', target }, AbortSignal.timeout(MOUNT_TIMEOUT_MS));
    if ((await timesMounted(target)) > 0) throw new ConflictError(`volume ${name} is still mounted`);
  }
}

function checkName(name: string): void {
  if (!NAME.test(name))
    throw new InvalidError(
      `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    );
}
