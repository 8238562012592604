/**
 * PURE. When a certificate is renewed. Managers decide by their own clock, for nodes and for themselves: a node's clock may
 * be off by hours. Each certificate has a moment of its own between half and four fifths of its life.
 */
import type { NodeCertificate } from '../../shared/model/index.ts';

/** A certificate in use. */
export interface HeldCertificate extends NodeCertificate {
  readonly issuedAtMs: number;
}

/** What all shall have. */
export interface WantedCertificate {
  /** Digest of the root that signs. */
  readonly issuer: string;
  /** Digests of the roots that are trusted. */
  readonly trust: readonly string[];
  readonly lifeMs: number;
}

/** `renew`: a new key and certificate, and the roots with it; `trust`: the roots alone. */
export type CertificateStep = 'keep' | 'trust' | 'renew';

/** `chance`: from 0 to 1, chosen once a certificate: nodes that joined at once do not all come at once. */
export function certificateStep(
  held: HeldCertificate,
  wanted: WantedCertificate,
  chance: number,
  nowMs: number,
): CertificateStep {
  if (held.issuer !== wanted.issuer || nowMs >= renewalDueMs(held, wanted.lifeMs, chance)) return 'renew';
  return sameDigests(held.trust, wanted.trust) ? 'keep' : 'trust';
}

/** A life that was made shorter counts for certificates that are out, too. */
export function renewalDueMs(
  held: Pick<HeldCertificate, 'issuedAtMs' | 'endsAtMs'>,
  lifeMs: number,
  chance: number,
): number {
  const life = Math.min(held.endsAtMs - held.issuedAtMs, lifeMs);
  return held.issuedAtMs + life * (0.5 + 0.3 * chance);
}

const SHORTEST_LOOK_MS = 50;
const LONGEST_LOOK_MS = 60_000;

/** How often one looks whether something is due: fine enough for the life, and at least each minute. */
export function lookEveryMs(lifeMs: number): number {
  return Math.min(LONGEST_LOOK_MS, Math.max(SHORTEST_LOOK_MS, lifeMs / 100));
}

function sameDigests(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((digest) => b.includes(digest));
}
