/** Named volumes of this node: a directory each, kept until somebody removes it. */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidError, UnsupportedError } from '../../shared/errors/index.ts';
import type { Labels } from '../../shared/model/index.ts';
import { copyImageDirectory } from './copy-image-directory.ts';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;

export class Volumes {
  readonly #directory: string;

  constructor(stateDir: string) {
    this.#directory = join(stateDir, 'volumes');
  }

  /**
   * The directory of the volume, made when it does not exist yet. A volume that is still empty takes over what the image
   * has at `target`, with owner and modes (Docker does so for the local driver), unless `noCopy`.
   */
  async ensure(
    volume: { source: string; driver?: string; labels?: Labels; noCopy?: boolean; target: string },
    layers: readonly string[],
  ): Promise<string> {
    if (!NAME.test(volume.source))
      throw new InvalidError(`volume name "${volume.source}" is not allowed: ${NAME.source}`);
    if ((volume.driver ?? 'local') !== 'local') {
      throw new UnsupportedError(`volume driver "${volume.driver}" is not supported: only "local" is`);
    }
    const data = join(this.#directory, volume.source, '_data');
    const created = await mkdir(data, { recursive: true, mode: 0o755 });
    if (created !== undefined) {
      const options = { name: volume.source, labels: volume.labels ?? {}, createdAtMs: Date.now() };
      await writeFile(join(this.#directory, volume.source, 'volume.json'), JSON.stringify(options));
    }
    const empty = (await readdir(data)).length === 0;
    if (empty && volume.noCopy !== true) await copyImageDirectory(layers, volume.target, data);
    return data;
  }

  /** Removes one that was made for a container alone. Idempotent. */
  async discard(name: string): Promise<void> {
    if (!NAME.test(name)) throw new InvalidError(`volume name "${name}" is not allowed: ${NAME.source}`);
    await rm(join(this.#directory, name), { recursive: true, force: true });
  }
}
