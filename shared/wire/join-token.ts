/**
 * A join token: `SHOAL-1-<digest>-<secret>`. The digest is the SHA-256 of the cluster CA's certificate (DER) in base 36,
 * 50 characters; it lets a new node recognise the cluster before it trusts anything. The secret says which role the
 * node may take. Pure.
 */
import { InvalidError } from '../errors/index.ts';

export interface JoinToken {
  /** SHA-256 in hexadecimal, 64 characters. */
  readonly caDigest: string;
  /** 25 characters of base 36. */
  readonly secret: string;
}

const PREFIX = 'SHOAL-1';
const DIGEST_LENGTH = 50;
const SHAPE = /^SHOAL-1-([0-9a-z]{50})-([0-9a-z]{25})$/;

export function formatJoinToken(token: JoinToken): string {
  const digest = BigInt(`0x${token.caDigest}`).toString(36).padStart(DIGEST_LENGTH, '0');
  return `${PREFIX}-${digest}-${token.secret}`;
}

/** Throws InvalidError with what a token looks like. Space around it is ignored. */
export function parseJoinToken(text: string): JoinToken {
  const match = SHAPE.exec(text.trim());
  const caDigest = match?.[1] === undefined ? undefined : digestOf(match[1]);
  if (caDigest === undefined || match?.[2] === undefined) {
    throw new InvalidError(
      `the join token is malformed: it must read ${PREFIX}-<50 characters>-<25 characters>, as a manager prints it`,
    );
  }
  return { caDigest, secret: match[2] };
}

/** Undefined for a number of more than 256 bits: no SHA-256 is that. */
function digestOf(base36: string): string | undefined {
  let value = 0n;
  for (const digit of base36) value = value * 36n + BigInt(Number.parseInt(digit, 36));
  const hex = value.toString(16).padStart(64, '0');
  return hex.length > 64 ? undefined : hex;
}
