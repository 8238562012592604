/** How a node recognises a manager: by the cluster's CA and the role in its certificate, whatever its host name. */
import type { PeerCertificate } from 'node:tls';
import { X509Certificate } from 'node:crypto';

/** id-kp-serverAuth of RFC 5280, 4.2.1.12. */
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

/**
 * A check for tls.connect: the certificate (whose signature TLS has verified against the CA) must say OU=manager, that it is
 * a server's, and the cluster of `pem`, a certificate of it. That of a node, signed by the same CA, must not pass for a
 * manager's, not even when the node is a manager's machine.
 */
export function managerIdentityCheck(
  pem: string,
): (host: string, cert: PeerCertificate) => Error | undefined {
  const clusterId = organisationOf(pem);
  return (host, cert) => {
    const isServer = cert.ext_key_usage?.includes(SERVER_AUTH) === true;
    if (isServer && cert.subject.OU === 'manager' && cert.subject.O === clusterId) return undefined;
    return new Error(`what answers at ${host} is not a manager of this cluster`);
  };
}

function organisationOf(pem: string): string | undefined {
  const line = new X509Certificate(pem).subject.split('\n').find((part) => part.startsWith('O='));
  return line?.slice('O='.length);
}
