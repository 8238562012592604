import { pack, type Pack } from 'tar-stream';

/** The bytes of the archive that `write` puts into the packer, no faster than they are taken. Its failure is theirs. */
export async function* tarBytes(write: (tar: Pack) => Promise<void>): AsyncGenerator<Buffer> {
  const tar = pack();
  const writing = write(tar).catch((error: unknown) => {
    tar.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  try {
    for await (const chunk of tar) yield chunk as Buffer;
  } finally {
    tar.destroy();
    await writing;
  }
}
