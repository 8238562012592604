/**
 * Certificates of the embedded etcd, from an authority of its own: who holds one of these reads and writes everything, so no
 * node's certificate may count there. Its root is in the state directory of every manager, beside the data key.
 */
import { readFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { webcrypto } from 'node:crypto';
import { generateKeys, privateKeyPem } from '../../shared/wire/keys.ts';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '../../shared/wire/x509.ts';
import type { EtcdTls } from '../store/etcd-client.ts';
import { writePrivate } from '../vault/private-file.ts';
import { createRoot, type RootMaterial } from './authority.ts';

const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
/** id-kp-serverAuth and id-kp-clientAuth of RFC 5280, 4.2.1.12: etcd uses one certificate for both. */
const USAGES = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'];
/** Clocks differ, and these certificates have no life of their own to protect. */
const BACKDATE_MS = 365 * 86_400_000;

/** Paths of the PEM files that etcd is given. */
export interface EtcdTlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Below the directory of an embedded etcd. */
export function etcdTlsFiles(directory: string): EtcdTlsFiles {
  const of = (name: string): string => join(directory, 'tls', name);
  return { ca: of('ca.pem'), cert: of('member.pem'), key: of('member-key.pem') };
}

function rootKeyFile(directory: string): string {
  return join(directory, 'tls', 'ca-key.pem');
}

/** Undefined when this etcd has none yet. */
export async function readEtcdRoot(directory: string): Promise<RootMaterial | undefined> {
  try {
    return {
      caKeyPem: await readFile(rootKeyFile(directory), 'utf8'),
      caCertificatePem: await readFile(etcdTlsFiles(directory).ca, 'utf8'),
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The certificate first: a root is there once its key is. */
export async function writeEtcdRoot(directory: string, root: RootMaterial): Promise<void> {
  await mkdir(join(directory, 'tls'), { recursive: true, mode: 0o700 });
  await writePrivate(etcdTlsFiles(directory).ca, root.caCertificatePem);
  await writePrivate(rootKeyFile(directory), root.caKeyPem);
}

/**
 * Makes the root unless there is one, and new certificates for the member and for its manager. They are made at every start,
 * with the addresses of that moment, and last as long as the root: what could renew them is in the same directory.
 */
export async function prepareEtcdTls(
  directory: string,
  hosts: readonly string[],
  nowMs: number,
): Promise<EtcdTls> {
  let root = await readEtcdRoot(directory);
  if (root === undefined) {
    root = await createRoot('shoal-etcd', nowMs - BACKDATE_MS);
    await writeEtcdRoot(directory, root);
  }
  const { cert, key } = await issue(root, hosts);
  const files = etcdTlsFiles(directory);
  await writePrivate(files.key, key);
  await writePrivate(files.cert, cert);
  return issue(root, []);
}

type Identity = Required<Pick<EtcdTls, 'ca' | 'cert' | 'key'>>;

async function issue(root: RootMaterial, hosts: readonly string[]): Promise<Identity> {
  const issuer = new X509Certificate(root.caCertificatePem);
  const keys = await generateKeys();
  const names = [...new Set(hosts)].map((host) => ({ type: nameType(host), value: host }));
  const certificate = await X509CertificateGenerator.create({
    serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(15))).toString('hex'),
    subject: 'CN=shoal-etcd',
    issuer: issuer.subject,
    notBefore: issuer.notBefore,
    notAfter: issuer.notAfter,
    signingAlgorithm: SIGNING,
    publicKey: keys.publicKey,
    signingKey: await importKey(root.caKeyPem),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension(USAGES),
      await AuthorityKeyIdentifierExtension.create(issuer),
      ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
    ],
  });
  const key = await privateKeyPem(keys.privateKey);
  return { ca: root.caCertificatePem, cert: certificate.toString('pem'), key };
}

function nameType(host: string): 'ip' | 'dns' {
  return /^\d+\.\d+\.\d+\.\d+$/.test(host) || host.includes(':') ? 'ip' : 'dns';
}

function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = PemConverter.decode(pem)[0];
  if (der === undefined) throw new Error('the key of the etcd authority is not PEM');
  return webcrypto.subtle.importKey('pkcs8', der, SIGNING, false, ['sign']);
}
