/** etcd's own snapshot of one member's database (Maintenance.Snapshot of the etcd API), as it comes. */
import type { Readable } from 'node:stream';
import type { Etcd3, ISnapshotResponse } from 'etcd3';

/** etcd appends the SHA-256 of what it sent, which `snapshot restore` checks, and does not announce it. */
const SUM_BYTES = 32;

export interface Snapshot {
  readonly bytes: number;
  /** Must be iterated, to its end or not: that ends the call. */
  readonly content: AsyncIterable<Buffer>;
}

/**
 * Resolves with the snapshot's size once its first piece is there; etcd sends on only as fast as it is taken. Rejects with
 * the library's error.
 */
export async function takeSnapshot(client: Etcd3, signal: AbortSignal): Promise<Snapshot> {
  signal.throwIfAborted();
  // The library shows the call's events alone; it is grpc's ClientReadableStream.
  const call = (await client.maintenance.snapshot()) as unknown as Readable & { cancel(): void };
  const onAbort = (): void => call.cancel();
  signal.addEventListener('abort', onAbort, { once: true });
  const end = (): void => {
    signal.removeEventListener('abort', onAbort);
    // What the cancelled call still says is of no interest.
    call.on('error', () => undefined);
    call.cancel();
  };
  const messages = (call as AsyncIterable<ISnapshotResponse>)[Symbol.asyncIterator]();
  try {
    const first = await messages.next();
    if (first.done === true) throw new Error('etcd sent an empty snapshot');
    const bytes = first.value.blob.length + Number(first.value.remaining_bytes) + SUM_BYTES;
    return { bytes, content: blobs(first.value.blob, messages, end) };
  } catch (error) {
    end();
    throw error;
  }
}

async function* blobs(
  first: Buffer,
  messages: AsyncIterator<ISnapshotResponse>,
  end: () => void,
): AsyncGenerator<Buffer> {
  try {
    yield first;
    for (;;) {
      const next = await messages.next();
      if (next.done === true) return;
      yield next.value.blob;
    }
  } finally {
    end();
  }
}
