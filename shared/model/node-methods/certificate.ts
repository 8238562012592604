/** How a manager renews the certificate of a node: the node's key never leaves it. */
import type { Nothing } from './common.ts';

export interface CertificateMethods {
  /** A new key, kept until its certificate comes; the answer is its PKCS#10 request (PEM). */
  'certificate.request': { params: Nothing; result: { csr: string } };
  /** `certificate`: for the newest request; absent: the old one stays. `ca`: all roots to trust from then on (PEM). */
  'certificate.install': { params: { certificate?: string; ca: string }; result: Nothing };
}
