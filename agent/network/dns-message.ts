/** DNS messages on the wire. */
import dnsPacket from 'dns-packet';
import { assertNever } from '../../shared/lib/assert-never.ts';
import type { Answer } from './dns-answer.ts';

/** Short, as endpoints come and go; not zero, which some resolvers take amiss. Seconds. */
const TTL_S = 1;
/** A name of one letter, ten bytes of type, class, time and length (RFC 1035, 4.1.3), an address. */
const LEAST_RECORD_BYTES = 3 + 10 + 4;
const MOST_TCP_BYTES = 65_535;
/** Whatever a client says that it takes by UDP: a question is not to be answered by heaps of fragments. */
const MOST_UDP_BYTES = 4_096;
/** What a client takes by UDP unless it says more (RFC 1035, 4.2.1). */
const PLAIN_UDP_BYTES = 512;
/** Of who says that he knows EDNS, we do as well (RFC 6891, 6.1.1): we take up to 1232 bytes, which no network cuts. */
const EDNS: dnsPacket.OptAnswer = {
  type: 'OPT',
  name: '.',
  udpPayloadSize: 1232,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
};
/** Of a question: names within can be chains of pointers, which take long to follow, so that large ones would hold the agent up. */
const MOST_BYTES = 2_048;
const HEADER_BYTES = 12;
const MOST_RECORDS = 8;
/** TC of the flags word. */
const TRUNCATED = 1 << 9;

export const SERVFAIL = 2;
export const NXDOMAIN = 3;
export const NOTIMP = 4;
export const REFUSED = 5;

/** Of the flags word: what is asked for. Zero is a question. */
const OPCODE = 0xf << 11;

export interface Query {
  readonly raw: Buffer;
  readonly id: number;
  readonly name: string;
  readonly type: string;
  readonly class: string;
  readonly flags: number;
  readonly edns: boolean;
  /** The most that the client takes by UDP. */
  readonly udpBytes: number;
}

/** Undefined for what is no query with one question, and for what is larger than any of a resolver's. */
export function readQuery(raw: Buffer): Query | undefined {
  if (!isModest(raw)) return undefined;
  try {
    const packet = dnsPacket.decode(raw);
    const [question, second] = packet.questions ?? [];
    if (packet.type !== 'query' || question === undefined || second !== undefined) return undefined;
    const edns = packet.additionals?.find((record) => record.type === 'OPT');
    const udpBytes = Math.max(PLAIN_UDP_BYTES, Math.min(edns?.udpPayloadSize ?? 0, MOST_UDP_BYTES));
    return {
      raw,
      id: packet.id ?? 0,
      name: question.name,
      type: question.type,
      class: question.class ?? 'IN',
      flags: packet.flags ?? 0,
      edns: edns !== undefined,
      udpBytes,
    };
  } catch {
    return undefined;
  }
}

function isModest(raw: Buffer): boolean {
  if (raw.length < HEADER_BYTES || raw.length > MOST_BYTES) return false;
  const [questions = 0, ...records] = [4, 6, 8, 10].map((at) => raw.readUInt16BE(at));
  return questions === 1 && records.reduce((sum, count) => sum + count) <= MOST_RECORDS;
}

type Known = Exclude<Answer, { kind: 'elsewhere' }>;

/**
 * The response's bytes. Of what does not fit there are as many records as do. By UDP it says that it was cut, and who
 * hears that asks by TCP; some do not (musl before 1.2.4), and have some addresses. By TCP more than 64 KiB can not be said.
 */
export function writeAnswer(query: Query, answer: Known, overUdp: boolean): Buffer {
  const most = overUdp ? query.udpBytes : MOST_TCP_BYTES;
  // One more than fit of the shortest: a service may have ten thousand tasks.
  const records = recordsOf(query, answer).slice(0, most / LEAST_RECORD_BYTES + 1);
  const rcode = rcodeOf(answer);
  const whole = encode(query, rcode, records, 0, addressesOf(answer));
  if (whole.length <= most) return whole;
  // What was not asked for may be missing without a word.
  const bare = encode(query, rcode, records, 0);
  if (bare.length <= most) return bare;
  // All records are as long as one another, or nearly so.
  for (let count = Math.floor((records.length * most) / bare.length); count > 0; count -= 1) {
    const part = encode(query, 0, records.slice(0, count), overUdp ? TRUNCATED : 0);
    if (part.length <= most) return part;
  }
  return encode(query, 0, [], TRUNCATED);
}

/**
 * The code with which something else than a question is refused: an update, a notice, or a question for records that are not of
 * the Internet. It would be answered as one that asks for addresses.
 */
export function refusalOf(query: Query): number | undefined {
  if ((query.flags & OPCODE) !== 0) return NOTIMP;
  return query.class === 'IN' || query.class === 'ANY' ? undefined : REFUSED;
}

export function writeFailure(query: Query, rcode = SERVFAIL): Buffer {
  return encode(query, rcode, [], 0);
}

function encode(
  query: Query,
  rcode: number,
  answers: dnsPacket.Answer[],
  flags: number,
  more: readonly dnsPacket.Answer[] = [],
): Buffer {
  return dnsPacket.encode({
    type: 'response',
    id: query.id,
    flags:
      (query.flags & (dnsPacket.RECURSION_DESIRED | OPCODE)) |
      dnsPacket.RECURSION_AVAILABLE |
      (rcode === 0 || rcode === NXDOMAIN ? dnsPacket.AUTHORITATIVE_ANSWER : 0) |
      flags |
      rcode,
    questions: [
      {
        name: query.name,
        type: query.type as dnsPacket.RecordType,
        class: query.class as dnsPacket.RecordClass,
      },
    ],
    answers,
    additionals: [...more, ...(query.edns ? [EDNS] : [])],
  });
}

function rcodeOf(answer: Known): number {
  return answer.kind === 'unknown' ? NXDOMAIN : 0;
}

/** Of targets, so that nobody need ask once more. */
function addressesOf(answer: Known): dnsPacket.Answer[] {
  if (answer.kind !== 'targets') return [];
  const targets = new Map(answer.targets.map((target) => [target.name, target]));
  return [...targets].flatMap(([name, { address, address6 }]) => [
    addressRecord(name, address),
    ...(address6 === undefined ? [] : [addressRecord(name, address6)]),
  ]);
}

function addressRecord(name: string, data: string): dnsPacket.Answer {
  return { type: data.includes(':') ? 'AAAA' : 'A', name, ttl: TTL_S, data };
}

function recordsOf({ name }: Query, answer: Known): dnsPacket.Answer[] {
  switch (answer.kind) {
    case 'addresses':
      return answer.addresses.map((data) => addressRecord(name, data));
    case 'name':
      return [{ type: 'PTR', name, ttl: TTL_S, data: answer.name }];
    case 'targets':
      return answer.targets.map(({ name: target, port }) => ({
        type: 'SRV',
        name,
        ttl: TTL_S,
        data: { priority: 0, weight: 1, port, target },
      }));
    case 'empty':
    case 'unknown':
      return [];
    default:
      return assertNever(answer);
  }
}
