/** Keys of nodes and of the CA: ECDSA P-256, PKCS#8 in PEM. */
import { createPrivateKey, createPublicKey, webcrypto } from 'node:crypto';
import { PemConverter, Pkcs10CertificateRequestGenerator } from './x509.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

export async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

/** The pair of a private key in PEM. */
export async function keysOf(privatePem: string): Promise<webcrypto.CryptoKeyPair> {
  const secret = createPrivateKey(privatePem);
  const pkcs8 = secret.export({ type: 'pkcs8', format: 'der' });
  const spki = createPublicKey(secret).export({ type: 'spki', format: 'der' });
  const { subtle } = webcrypto;
  return {
    privateKey: await subtle.importKey('pkcs8', pkcs8, ALGORITHM, true, ['sign']),
    publicKey: await subtle.importKey('spki', spki, ALGORITHM, true, ['verify']),
  };
}

/** A PKCS#10 request (PEM) for the key. Its subject is only a label: the authority chooses the certificate's. */
export async function certificateRequest(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: ['shoal-node'] }],
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return request.toString('pem');
}
