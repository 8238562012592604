/** Reading a whole prefix as it was at one revision, in pages. */
import type { Etcd3, IKeyValue, IRangeResponse } from 'etcd3';
import { prefixEnd } from './keys.ts';

/** Keys of one page at most; fewer when the values are large. */
const PAGE_KEYS = 5_000;
const FIRST_PAGE_KEYS = 500;
const PAGE_TARGET_BYTES = 4 * 1024 * 1024;

export interface Page {
  readonly kvs: readonly IKeyValue[];
  /** The revision of all pages. */
  readonly revision: number;
  readonly clusterId: string;
  /** Number of keys in the whole range. */
  readonly total: number;
}

/**
 * Yields at least one page, sorted by key. Rejects with the library's error; "required revision has been compacted"
 * when a compaction overtook the reading: start again.
 */
export async function* rangePages(client: Etcd3, prefix: string, signal: AbortSignal): AsyncGenerator<Page> {
  const end = prefixEnd(prefix);
  const ask = (key: Buffer, limit: number, revision: number): Promise<IRangeResponse> => {
    const response = client.kv.range({ key, range_end: end, limit, revision });
    // The reader may stop before this one is looked at.
    response.catch(() => undefined);
    return response;
  };
  let pending: Promise<IRangeResponse> | undefined = ask(Buffer.from(prefix), FIRST_PAGE_KEYS, 0);
  let revision = 0;
  while (pending !== undefined) {
    const response: IRangeResponse = await pending;
    signal.throwIfAborted();
    revision ||= Number(response.header.revision);
    const last = response.kvs.at(-1);
    // The next page is on its way while this one is worked on.
    pending =
      response.more && last !== undefined
        ? ask(Buffer.concat([last.key, Buffer.of(0)]), nextLimit(response), revision)
        : undefined;
    yield {
      kvs: response.kvs,
      revision,
      clusterId: response.header.cluster_id,
      total: Number(response.count),
    };
  }
}

function nextLimit(response: IRangeResponse): number {
  let bytes = 1;
  for (const kv of response.kvs) bytes += kv.key.length + kv.value.length;
  const perKey = bytes / response.kvs.length;
  return Math.max(1, Math.min(PAGE_KEYS, Math.floor(PAGE_TARGET_BYTES / perKey)));
}
