/** DNS messages on the wire. */
import dnsPacket from 'dns-packet';
import { assertNever } from '../../shared/lib/assert-never.ts';
import type { Answer } from './dns-answer.ts';

/** Short, as endpoints come and go; not zero, which some resolvers take amiss. Seconds. */
const TTL_S = 1;
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
/** TC of the flags word. */
const TRUNCATED = 1 << 9;

export const SERVFAIL = 2;
export const NXDOMAIN = 3;

export interface Query {
  readonly raw: Buffer;
  readonly id: number;
  readonly name: string;
  readonly type: string;
  readonly flags: number;
  readonly edns: boolean;
  /** The most that the client takes by UDP. */
  readonly udpBytes: number;
}

/** Undefined for what is no query with one question. */
export function readQuery(raw: Buffer): Query | undefined {
  try {
    const packet = dnsPacket.decode(raw);
    const [question, second] = packet.questions ?? [];
    if (packet.type !== 'query' || question === undefined || second !== undefined) return undefined;
    const edns = packet.additionals?.find((record) => record.type === 'OPT');
    const udpBytes = edns === undefined ? PLAIN_UDP_BYTES : Math.max(PLAIN_UDP_BYTES, edns.udpPayloadSize);
    return {
      raw,
      id: packet.id ?? 0,
      name: question.name,
      type: question.type,
      flags: packet.flags ?? 0,
      edns: edns !== undefined,
      udpBytes,
    };
  } catch {
    return undefined;
  }
}

type Known = Exclude<Answer, { kind: 'elsewhere' }>;

/** The response's bytes; one too large for UDP says only that it was cut (RFC 2181, 9). */
export function writeAnswer(query: Query, answer: Known, overUdp: boolean): Buffer {
  const fits = (response: Buffer): boolean => !overUdp || response.length <= query.udpBytes;
  const records = recordsOf(query, answer);
  const whole = encode(query, rcodeOf(answer), records, 0, addressesOf(answer));
  if (fits(whole)) return whole;
  // What was not asked for may be missing without a word.
  const bare = encode(query, rcodeOf(answer), records, 0);
  return fits(bare) ? bare : encode(query, 0, [], TRUNCATED);
}

export function writeFailure(query: Query): Buffer {
  return encode(query, SERVFAIL, [], 0);
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
      (query.flags & dnsPacket.RECURSION_DESIRED) |
      dnsPacket.RECURSION_AVAILABLE |
      (rcode === SERVFAIL ? 0 : dnsPacket.AUTHORITATIVE_ANSWER) |
      flags |
      rcode,
    questions: [{ name: query.name, type: query.type as dnsPacket.RecordType }],
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
