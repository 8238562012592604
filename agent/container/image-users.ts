/** The user databases of the images that containers are made of: read once an image, as what is in its layers never changes. */
import type { ResolvedImage } from '../image/image-service.ts';
import { readImageFile } from './image-files.ts';

/** Of images, and of characters an image: more are read again each time. */
const KEPT = 64;
const MAX_CHARACTERS = 64 * 1024;

interface UserDatabases {
  readonly passwd: string;
  readonly group: string;
}

export class ImageUsers {
  /** By image id, the one that was used last at the end. */
  readonly #known = new Map<string, UserDatabases>();

  /** The texts of /etc/passwd and /etc/group; '' for what the image has not. */
  async of({ id, layers }: Pick<ResolvedImage, 'id' | 'layers'>): Promise<UserDatabases> {
    const databases = this.#known.get(id) ?? (await readDatabases(layers));
    const { passwd, group } = databases;
    this.#known.delete(id);
    if (passwd.length + group.length <= MAX_CHARACTERS) this.#known.set(id, databases);
    const [oldest] = this.#known.keys();
    if (this.#known.size > KEPT && oldest !== undefined) this.#known.delete(oldest);
    return databases;
  }
}

async function readDatabases(layers: readonly string[]): Promise<UserDatabases> {
  const [passwd, group] = await Promise.all([
    readImageFile(layers, 'etc/passwd'),
    readImageFile(layers, 'etc/group'),
  ]);
  return { passwd, group };
}
