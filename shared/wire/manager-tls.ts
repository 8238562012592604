/** How a node recognises a manager: by the cluster's CA and the role in its certificate, whatever its host name. */
import type { PeerCertificate } from 'node:tls';
import { X509Certificate } from 'node:crypto';

/**
 * A check for tls.connect: the certificate (whose signature TLS has verified against the CA) must say OU=manager and the
 * cluster of `own`, this node's certificate; a machine that has none yet has the token's CA alone to go by. A worker's
 * certificate, signed by the same CA, must not pass for a manager's, nor that of a manager that was removed: `isManager` is asked
 * for the id in it.
 */
export function managerIdentityCheck(
  own: string | undefined,
  isManager: (id: string) => boolean = () => true,
): (host: string, cert: PeerCertificate) => Error | undefined {
  const clusterId = own === undefined ? undefined : organisationOf(own);
  return (host, cert) => {
    const { CN, OU, O } = cert.subject;
    if (OU !== 'manager' || (own !== undefined && O !== clusterId))
      return new Error(`what answers at ${host} is not a manager of this cluster`);
    if (typeof CN === 'string' && isManager(CN)) return undefined;
    return new Error(`what answers at ${host} is not a manager of this cluster any more`);
  };
}

function organisationOf(pem: string): string | undefined {
  const line = new X509Certificate(pem).subject.split('\n').find((part) => part.startsWith('O='));
  return line?.slice('O='.length);
}
