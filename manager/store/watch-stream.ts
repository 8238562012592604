/**
 * One etcd watch, from its start to its end. The library's own Watcher repairs itself and so hides when events were
 * lost (it resumes from the header's revision, which a response that arrives in fragments has not delivered yet, and
 * a compaction reaches only an error listener); its plain gRPC client is used instead, and who watches decides.
 */
import type { Etcd3, IEvent, IWatchResponse } from 'etcd3';
import { prefixEnd } from './keys.ts';

type WatchStream = Awaited<ReturnType<Etcd3['watchClient']['watch']>>;

/** How a watch ended: `compacted` means that events between are gone and the range must be read again. */
export type WatchEnd =
  | { readonly kind: 'compacted'; readonly compactRevision: number }
  | { readonly kind: 'lost'; readonly error: unknown }
  | { readonly kind: 'aborted' };

export interface WatchOptions {
  readonly client: Etcd3;
  readonly prefix: string;
  /** The first revision to hear of. */
  readonly startRevision: number;
  readonly onOpen?: () => void;
  /** Whole revisions only, in order; no events: nothing happened up to `revision`. Must not throw. */
  readonly onEvents: (events: readonly IEvent[], revision: number) => void;
}

/** etcd answers a create request at once; a stream that stays silent is a dead one. */
const OPEN_TIMEOUT_MS = 5_000;

/** Watches until the stream ends, whatever the reason. Never rejects. */
export async function watchOnce(options: WatchOptions, signal: AbortSignal): Promise<WatchEnd> {
  if (signal.aborted) return { kind: 'aborted' };
  let stream: WatchStream;
  try {
    stream = await options.client.watchClient.watch({ interceptors: [requireLeader] });
  } catch (error) {
    return { kind: 'lost', error };
  }
  return new Promise((resolve) => {
    const end = (result: WatchEnd): void => {
      clearTimeout(openTimer);
      signal.removeEventListener('abort', onAbort);
      resolve(result);
      stream.end(); // else the library takes the cancellation for a failure of the host and closes its other services
      stream.cancel();
    };
    const onAbort = (): void => end({ kind: 'aborted' });
    const openTimer = setTimeout(
      () => end({ kind: 'lost', error: new Error('etcd did not answer the watch') }),
      OPEN_TIMEOUT_MS,
    );
    signal.addEventListener('abort', onAbort, { once: true });
    const receive = receiver(options, end, () => clearTimeout(openTimer));
    stream.on('data', receive);
    stream.on('error', (error) => end({ kind: 'lost', error }));
    stream.on('end', () => end({ kind: 'lost', error: new Error('etcd ended the watch') }));
    if (signal.aborted) return onAbort();
    stream.write({ create_request: createRequest(options) });
  });
}

function createRequest(options: WatchOptions): object {
  return {
    key: Buffer.from(options.prefix),
    range_end: prefixEnd(options.prefix),
    start_revision: options.startRevision,
    progress_notify: true,
    // A transaction's events may exceed the message limit of the server; without this it drops the stream.
    fragment: true,
  };
}

function receiver(
  options: WatchOptions,
  end: (result: WatchEnd) => void,
  opened: () => void,
): (response: IWatchResponse) => void {
  let pieces: IEvent[] = [];
  let ended = false;
  const finish = (result: WatchEnd): void => {
    ended = true;
    end(result);
  };
  return (response) => {
    if (ended) return;
    if (response.canceled) return finish(cancelled(response));
    if (response.created) {
      opened();
      options.onOpen?.();
      return;
    }
    pieces = pieces.length === 0 ? response.events : pieces.concat(response.events);
    if (response.fragment) return;
    const events = pieces;
    pieces = [];
    const last = events.at(-1);
    options.onEvents(events, Number(last === undefined ? response.header.revision : last.kv.mod_revision));
  };
}

function cancelled(response: IWatchResponse): WatchEnd {
  const compactRevision = Number(response.compact_revision);
  if (compactRevision > 0) return { kind: 'compacted', compactRevision };
  return { kind: 'lost', error: new Error(`etcd cancelled the watch: ${response.cancel_reason}`) };
}

type Interceptor = NonNullable<
  NonNullable<Parameters<Etcd3['watchClient']['watch']>[0]>['interceptors']
>[number];

/** Asks a member that has lost its quorum to cancel the watch rather than to fall silent (etcd: WithRequireLeader). */
const requireLeader: Interceptor = (options, nextCall) => {
  const call = nextCall(options);
  const start = call.start.bind(call);
  call.start = (metadata, listener) => {
    metadata.set('hasleader', 'true');
    start(metadata, listener);
  };
  return call as ReturnType<Interceptor>;
};
