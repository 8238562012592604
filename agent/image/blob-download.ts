import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { AppError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import { backoffMs } from '../../shared/lib/backoff.ts';
import { ImageInvalidError, RegistryUnavailableError } from './errors.ts';
import type { Descriptor } from './manifest.ts';

export interface BlobDownload {
  readonly descriptor: Descriptor;
  /** The file, created or overwritten. */
  readonly path: string;
  /** For messages. */
  readonly name: string;
  /** Asks for the blob's bytes from `start` on; answers 206, or 200 with the blob from its beginning. */
  readonly range: (start: number) => Promise<IncomingMessage>;
  /** Told how many bytes are there; quick. */
  readonly onBytes?: (received: number) => void;
}

/** What was received so far: a broken connection goes on from here. */
interface Progress {
  hash: Hash;
  bytes: number;
}

/** Failures in a row without a single byte before we give up. */
const MAX_FRUITLESS_ATTEMPTS = 5;
const BACKOFF_BASE_MS = 250;
const BACKOFF_MAX_MS = 8_000;

/**
 * Streams a blob into a file and verifies size and sha256. Temporary failures are retried, from the byte where the
 * connection broke. Rejects with ImageInvalidError for wrong bytes, else with the last failure.
 */
export async function downloadBlob(download: BlobDownload, signal: AbortSignal): Promise<void> {
  await using file = await open(download.path, 'w', 0o600);
  const progress: Progress = { hash: createHash('sha256'), bytes: 0 };
  for (let fruitless = 0; progress.bytes < download.descriptor.size || download.descriptor.size === 0; ) {
    const before = progress.bytes;
    try {
      await receive(download, file, progress, signal);
      break;
    } catch (error) {
      signal.throwIfAborted();
      fruitless = progress.bytes > before ? 0 : fruitless + 1;
      const isWorthIt = error instanceof AppError && error.temporary && fruitless < MAX_FRUITLESS_ATTEMPTS;
      if (!isWorthIt) throw error;
      await delay(backoffMs(fruitless, BACKOFF_BASE_MS, BACKOFF_MAX_MS, Math.random()), signal);
    }
  }
  if (`sha256:${progress.hash.digest('hex')}` !== download.descriptor.digest) {
    throw new ImageInvalidError(
      `${download.name} is damaged: its bytes do not have the digest that it is named by`,
    );
  }
}

/** What may wait for the disk before the network waits for it too. */
const WRITE_BEHIND_BYTES = 4 * 1024 * 1024;

/** Writes while more is received, several chunks at once: a chunk's own trip to the disk costs more than its bytes. */
class WriteBehind {
  readonly #file: FileHandle;
  #position: number;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;

  constructor(file: FileHandle, position: number) {
    this.#file = file;
    this.#position = position;
  }

  /** Resolves when there is room for more. Rejects when what came before could not be written. */
  async write(chunk: Buffer): Promise<void> {
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#writing === undefined) {
      this.#writing = this.#drain();
      // Who writes next, or ends, hears of it.
      this.#writing.catch(() => undefined);
    }
    if (this.#waitingBytes >= WRITE_BEHIND_BYTES) await this.#writing;
  }

  /** Resolves when everything is in the file. */
  async end(): Promise<void> {
    await this.#writing;
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const chunks = this.#waiting;
      this.#waiting = [];
      this.#waitingBytes = 0;
      const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      const { bytesWritten } = await this.#file.writev(chunks, this.#position);
      if (bytesWritten < length)
        await this.#file.write(
          Buffer.concat(chunks).subarray(bytesWritten),
          0,
          length - bytesWritten,
          this.#position + bytesWritten,
        );
      this.#position += length;
    }
    this.#writing = undefined;
  }
}

async function receive(
  { descriptor, name, range, onBytes }: BlobDownload,
  file: FileHandle,
  progress: Progress,
  signal: AbortSignal,
) {
  const response = await range(progress.bytes);
  if (response.statusCode === 200 && progress.bytes > 0) {
    progress.hash = createHash('sha256');
    progress.bytes = 0;
  }
  const sink = new WriteBehind(file, progress.bytes);
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      await sink.write(chunk);
      progress.hash.update(chunk);
      progress.bytes += chunk.length;
      onBytes?.(progress.bytes);
      if (progress.bytes > descriptor.size)
        throw new ImageInvalidError(`${name} is longer than its manifest says`);
    }
    await sink.end();
  } catch (error) {
    await sink.end(); // what was counted is in the file, also when it goes on from here
    signal.throwIfAborted();
    if (error instanceof AppError || isFileError(error)) throw error;
    throw new RegistryUnavailableError(`the download of ${name} broke off`, { cause: error });
  }
  if (progress.bytes < descriptor.size) {
    throw new RegistryUnavailableError(
      `the download of ${name} ended after ${progress.bytes} of ${descriptor.size} bytes`,
    );
  }
}

/** Our own disk, not the network: no sense in asking the registry again. */
function isFileError(error: unknown): boolean {
  return (
    error instanceof Error &&
    'syscall' in error &&
    error.syscall === 'write' &&
    'code' in error &&
    error.code !== 'EPIPE'
  );
}
