/** What clients compare to see whether a node trusts the cluster's present root. */
import { X509Certificate as NodeCertificate } from 'node:crypto';
import type { Cluster } from '../../../shared/model/index.ts';
import { X509Certificate } from '../../../shared/wire/x509.ts';

export interface TlsInfo {
  readonly TrustRoot: string;
  /** DER of the issuer's name and of its public key, base64. */
  readonly CertIssuerSubject: string;
  readonly CertIssuerPublicKey: string;
}

let known: TlsInfo | undefined;

/** Of the cluster's CA; the same for every node, since all were signed by it. */
export function tlsInfo(cluster: Cluster | undefined): Partial<TlsInfo> {
  if (cluster === undefined) return {};
  const { caCertificatePem: pem } = cluster;
  if (known?.TrustRoot === pem) return known;
  const subject = new X509Certificate(pem).subjectName.toArrayBuffer();
  const key = new NodeCertificate(pem).publicKey.export({ type: 'spki', format: 'der' });
  known = {
    TrustRoot: pem,
    CertIssuerSubject: Buffer.from(subject).toString('base64'),
    CertIssuerPublicKey: key.toString('base64'),
  };
  return known;
}
