/** The inside of a backup: a tar of the parts, the manifest with their sums last, since they are known only then. */
import { createHash } from 'node:crypto';
import { mkdir, open as openFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { extract, type Pack } from 'tar-stream';
import { InvalidError } from '../../shared/errors/index.ts';
import { tarBytes } from '../../shared/lib/tar-bytes.ts';
import {
  checkParts,
  isPartName,
  MANIFEST,
  parseManifest,
  type BackupPart,
  type Manifest,
  type ManifestFacts,
} from './manifest.ts';

const MANIFEST_MAX_BYTES = 4 * 1024 * 1024;
const PRIVATE_MODE = 0o600;

export interface PartSource {
  readonly name: string;
  /** Exactly so many bytes must come. */
  readonly bytes: number;
  readonly content: AsyncIterable<Buffer>;
}

/** The archive's bytes, no faster than they are taken. `facts` is asked when all parts are written. */
export async function* packArchive(
  parts: AsyncIterable<PartSource>,
  facts: () => ManifestFacts,
): AsyncGenerator<Buffer> {
  yield* tarBytes((tar) => write(tar, parts, facts));
}

async function write(tar: Pack, parts: AsyncIterable<PartSource>, facts: () => ManifestFacts): Promise<void> {
  const written: BackupPart[] = [];
  for await (const part of parts) written.push(await writePart(tar, part));
  const manifest: Manifest = { format: 1, ...facts(), parts: written };
  const text = Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`);
  await writePart(tar, { name: MANIFEST, bytes: text.length, content: Readable.from([text]) });
  tar.finalize();
}

async function writePart(tar: Pack, part: PartSource): Promise<BackupPart> {
  const { name, bytes, content } = part;
  const sum = createHash('sha256');
  let seen = 0;
  const summed = async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of content) {
      sum.update(chunk);
      seen += chunk.length;
      if (seen > bytes) break;
      yield chunk;
    }
    if (seen !== bytes) throw new Error(`the part ${name} has not the ${bytes} bytes that were announced`);
  };
  await pipeline(summed, tar.entry({ name, size: bytes, mode: PRIVATE_MODE }));
  return { name, bytes, sha256: sum.digest('hex') };
}

/**
 * Writes the parts below `directory` (only names that a backup may have, mode 0600) and resolves with the manifest once
 * everything agrees with it. Without a directory it only checks. Throws InvalidError.
 */
export async function unpackArchive(
  archive: AsyncIterable<Buffer>,
  directory: string | undefined,
  signal: AbortSignal,
): Promise<Manifest> {
  const reader = extract();
  const feeding = pipeline(archive, reader, { signal });
  // Told by the loop below, which the failure ends.
  feeding.catch(() => undefined);
  const found: BackupPart[] = [];
  let manifest: Manifest | undefined;
  for await (const entry of reader) {
    const { name, type } = entry.header;
    if (manifest !== undefined) throw new InvalidError(`the backup has a part ${name} after its manifest`);
    if (type === 'file' && name === MANIFEST)
      manifest = parseManifest(await textOf(entry as AsyncIterable<Buffer>));
    else if (type === 'file' && isPartName(name)) {
      found.push(await takePart(name, entry as AsyncIterable<Buffer>, directory && join(directory, name)));
    } else throw new InvalidError(`the backup has a part ${name} that this version does not know`);
  }
  await feeding;
  if (manifest === undefined) throw new InvalidError('the backup has no manifest: it is cut off');
  checkParts(manifest, found);
  return manifest;
}

async function takePart(
  name: string,
  entry: AsyncIterable<Buffer>,
  path: string | undefined,
): Promise<BackupPart> {
  const sum = createHash('sha256');
  let bytes = 0;
  if (path !== undefined) await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file = path === undefined ? undefined : await openFile(path, 'wx', PRIVATE_MODE);
  try {
    for await (const chunk of entry) {
      sum.update(chunk);
      bytes += chunk.length;
      await file?.writeFile(chunk);
    }
    await file?.sync();
  } finally {
    await file?.close();
  }
  return { name, bytes, sha256: sum.digest('hex') };
}

async function textOf(entry: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of entry) {
    bytes += chunk.length;
    if (bytes > MANIFEST_MAX_BYTES) throw new InvalidError("the backup's manifest is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
