/** What clients compare to see whether a node trusts the cluster's present root, and who signed its certificate. */
import type { Cluster, Node } from '../../../shared/model/index.ts';
import { X509Certificate } from '../../../shared/wire/x509.ts';
import { trustRoot } from '../../ca/authority.ts';

export interface TlsInfo {
  readonly TrustRoot: string;
  /** DER of the issuer's name and of its public key, base64. */
  readonly CertIssuerSubject: string;
  readonly CertIssuerPublicKey: string;
}

interface Root {
  readonly pem: string;
  readonly digest: string;
  readonly issuer: Omit<TlsInfo, 'TrustRoot'>;
}

/** The newest two: the present root and, while it is rotated, the next. */
const known: Root[] = [];

function rootOf(pem: string): Root {
  const found = known.find((root) => root.pem === pem);
  if (found !== undefined) return found;
  const { certificate, digest } = trustRoot(pem);
  const subject = new X509Certificate(pem).subjectName.toArrayBuffer();
  const key = certificate.publicKey.export({ type: 'spki', format: 'der' });
  const issuer = {
    CertIssuerSubject: Buffer.from(subject).toString('base64'),
    CertIssuerPublicKey: key.toString('base64'),
  };
  const root = { pem, digest, issuer };
  known.unshift(root);
  known.length = Math.min(known.length, 2);
  return root;
}

/** Of the cluster. While its CA is rotated: the present root, and the next one as the issuer, as Docker has it. */
export function tlsInfo(cluster: Cluster | undefined): Partial<TlsInfo> {
  if (cluster === undefined) return {};
  const { caCertificatePem, rotation } = cluster;
  const issuing = rotation?.caCertificatePem ?? caCertificatePem;
  return { TrustRoot: caCertificatePem, ...rootOf(issuing).issuer };
}

/** Of a node, as it was seen last; of one that has not come since that is noted, that of the cluster. */
export function nodeTlsInfo(cluster: Cluster | undefined, { certificate }: Node): Partial<TlsInfo> {
  if (cluster === undefined || certificate === undefined) return tlsInfo(cluster);
  const { caCertificatePem, rotation } = cluster;
  const present = rootOf(caCertificatePem);
  const roots = rotation === undefined ? [present] : [present, rootOf(rotation.caCertificatePem)];
  // One that still trusts a root that is gone has not moved to its end.
  const trusts = certificate.trust.includes(present.digest);
  const others = certificate.trust.some((digest) => roots.every((root) => root.digest !== digest));
  const signer = roots.find(({ digest }) => digest === certificate.issuer);
  return {
    TrustRoot: trusts && !others ? present.pem : '',
    CertIssuerSubject: '',
    CertIssuerPublicKey: '',
    ...signer?.issuer,
  };
}
