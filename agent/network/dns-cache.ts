/**
 * PURE. Answers of name servers outside, for as long as they may be kept (RFC 1035, and RFC 2308 for names that do not
 * exist). Messages stay as they came: of one that is given again only the id and the times to live are changed.
 */

/** Counted in answers; each is small. */
const MOST = 1_000;
const MOST_BYTES = 4_096;
const MOST_TTL_S = 3_600;

const HEADER = 12;
const TRUNCATED = 0x0200;
const RCODE = 0x000f;
const NXDOMAIN = 3;
const SOA = 6;
const OPT = 41;

interface Kept {
  readonly message: Buffer;
  readonly atMs: number;
  readonly untilMs: number;
}

export class DnsCache {
  /** The least recently used comes first. */
  readonly #kept = new Map<string, Kept>();

  get size(): number {
    return this.#kept.size;
  }

  /** The answer with the times that are left, or undefined. Its id is whatever it was. */
  get(key: string, nowMs: number): Buffer | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    this.#kept.delete(key);
    if (kept.untilMs <= nowMs) return undefined;
    this.#kept.set(key, kept);
    return aged(kept.message, Math.floor((nowMs - kept.atMs) / 1000));
  }

  /** Keeps an answer if it may be kept at all. */
  put(key: string, message: Buffer, nowMs: number): void {
    const ttlS = timeToLive(message);
    this.#kept.delete(key);
    if (ttlS === undefined || ttlS === 0 || message.length > MOST_BYTES) return;
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size < MOST) break;
      this.#kept.delete(oldest);
    }
    this.#kept.set(key, { message, atMs: nowMs, untilMs: nowMs + Math.min(ttlS, MOST_TTL_S) * 1000 });
  }
}

interface Record {
  readonly section: 'answer' | 'authority' | 'additional';
  readonly type: number;
  /** Where its time to live is. */
  readonly ttlAt: number;
  readonly dataAt: number;
  readonly dataBytes: number;
}

/** In seconds; undefined for what must not be kept: failures, what was cut, and what can not be read. */
function timeToLive(message: Buffer): number | undefined {
  const records = recordsOf(message);
  if (records === undefined) return undefined;
  const flags = message.readUInt16BE(2);
  const rcode = flags & RCODE;
  if ((flags & TRUNCATED) !== 0 || (rcode !== 0 && rcode !== NXDOMAIN)) return undefined;
  const answers = records.filter(({ section }) => section === 'answer');
  const ttls = answers.map(({ ttlAt }) => message.readUInt32BE(ttlAt));
  if (answers.length > 0 && rcode === 0) return Math.min(...ttls);
  // That there is nothing may be kept for as long as its zone says; one that does not say is asked again.
  const soa = records.find(({ section, type }) => section === 'authority' && type === SOA);
  if (soa === undefined || soa.dataBytes < 20) return undefined;
  const minimum = message.readUInt32BE(soa.dataAt + soa.dataBytes - 4);
  return Math.min(minimum, message.readUInt32BE(soa.ttlAt), ...ttls);
}

function aged(message: Buffer, seconds: number): Buffer {
  const copy = Buffer.from(message);
  for (const { type, ttlAt } of recordsOf(message) ?? []) {
    // the same bytes mean something else there
    if (type !== OPT) copy.writeUInt32BE(Math.max(0, message.readUInt32BE(ttlAt) - seconds), ttlAt);
  }
  return copy;
}

/** Undefined when the message is not what it should be. */
function recordsOf(message: Buffer): Record[] | undefined {
  if (message.length < HEADER) return undefined;
  const [questions, ...counts] = [4, 6, 8, 10].map((at) => message.readUInt16BE(at));
  const sections = (['answer', 'authority', 'additional'] as const).flatMap((section, i) =>
    Array.from({ length: counts[i] ?? 0 }, () => section),
  );
  let at: number | undefined = HEADER;
  for (let i = 0; i < (questions ?? 0); i += 1) {
    at = nameEnd(message, at);
    if (at === undefined) return undefined;
    at += 4;
  }
  const records: Record[] = [];
  for (const section of sections) {
    const end: number | undefined = nameEnd(message, at);
    if (end === undefined || end + 10 > message.length) return undefined;
    const dataBytes = message.readUInt16BE(end + 8);
    const dataAt = end + 10;
    if (dataAt + dataBytes > message.length) return undefined;
    records.push({ section, type: message.readUInt16BE(end), ttlAt: end + 4, dataAt, dataBytes });
    at = dataAt + dataBytes;
  }
  return records;
}

/** Where a name ends: after its last label, or after a pointer (RFC 1035, 4.1.4). */
function nameEnd(message: Buffer, start: number): number | undefined {
  for (let at = start; at < message.length; ) {
    const length = message[at] ?? 0;
    if (length >= 0xc0) return at + 2;
    if (length === 0) return at + 1;
    at += 1 + length;
  }
  return undefined;
}
