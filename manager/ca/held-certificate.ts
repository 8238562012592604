/** What a certificate that this cluster's authority has signed says. */
import { X509Certificate } from 'node:crypto';
import { type Authority, BACKDATE_MS, sha256, type TrustRoot } from './authority.ts';
import type { HeldCertificate } from './renewal.ts';

/** Undefined when no root that counts has signed it. `trust`: what its holder trusts. */
export function heldCertificate(
  certificate: X509Certificate,
  authority: Authority,
  trust?: readonly string[],
): HeldCertificate | undefined {
  const root = authority.roots.find((one) => isSignedBy(certificate, one));
  if (root === undefined) return undefined;
  return {
    keyDigest: sha256(certificate.publicKey.export({ type: 'spki', format: 'der' })),
    issuer: root.digest,
    trust: trust ?? [root.digest],
    issuedAtMs: Date.parse(certificate.validFrom) + BACKDATE_MS,
    endsAtMs: Date.parse(certificate.validTo),
  };
}

/** Of a certificate that was just made, whose holder gets all roots with it. */
export function issuedCertificate(pem: string, authority: Authority): HeldCertificate {
  const trust = authority.roots.map((root) => root.digest);
  const held = heldCertificate(new X509Certificate(pem), authority, trust);
  if (held === undefined) throw new Error('the authority does not know its own certificate');
  return held;
}

function isSignedBy(certificate: X509Certificate, { certificate: root }: TrustRoot): boolean {
  return certificate.checkIssued(root) && certificate.verify(root.publicKey);
}
