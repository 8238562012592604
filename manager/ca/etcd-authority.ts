/**
 * Certificates of the embedded etcd, from authorities of its own: who holds one of these reads and writes everything, so no
 * node's certificate may count there. Between members it is one authority, whose root is in the state directory of every
 * manager, beside the data key, and can be replaced. A member's own manager has another one, made at each start, which is
 * good for nothing else.
 */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { webcrypto } from 'node:crypto';
import { z } from 'zod';
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
import { createRoot, type RootMaterial, trustRoot } from './authority.ts';

const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
/** id-kp-serverAuth and id-kp-clientAuth of RFC 5280, 4.2.1.12: etcd uses one certificate for both. */
const USAGES = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'];
/** Clocks differ, and these certificates have no life of their own to protect. */
const BACKDATE_MS = 365 * 86_400_000;

/** Paths of PEM files: whom one port believes, and what it shows. */
interface PortTlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Those that etcd is given. */
export interface EtcdTlsFiles {
  readonly client: PortTlsFiles;
  readonly peer: PortTlsFiles;
}

/** Below the directory of an embedded etcd. */
export function etcdTlsFiles(directory: string): EtcdTlsFiles {
  const of = (name: string): string => join(directory, 'tls', name);
  return {
    client: { ca: of('client-ca.pem'), cert: of('client.pem'), key: of('client-key.pem') },
    peer: { ca: of('ca.pem'), cert: of('member.pem'), key: of('member-key.pem') },
  };
}

/** The roots with their keys. */
function rootsFile(directory: string): string {
  return join(directory, 'tls', 'roots.json');
}

/** The only root's key, whose certificate is what `ca.pem` holds: where the release before looks for it, if this one is taken back. */
function oldKeyFile(directory: string): string {
  return join(directory, 'tls', 'ca-key.pem');
}

const rootsSchema = z.array(z.strictObject({ caCertificatePem: z.string(), caKeyPem: z.string() })).min(1);

/** All are trusted, and the first one signs what this member shows. Undefined when this etcd has none yet. */
export async function readEtcdRoots(directory: string): Promise<readonly RootMaterial[] | undefined> {
  const text = await readIfThere(rootsFile(directory));
  if (text !== undefined) return rootsSchema.parse(JSON.parse(text));
  const caKeyPem = await readIfThere(oldKeyFile(directory));
  if (caKeyPem === undefined) return undefined;
  return [{ caKeyPem, caCertificatePem: await readFile(etcdTlsFiles(directory).peer.ca, 'utf8') }];
}

export async function writeEtcdRoots(directory: string, roots: readonly RootMaterial[]): Promise<void> {
  await mkdir(join(directory, 'tls'), { recursive: true, mode: 0o700 });
  await writePrivate(rootsFile(directory), JSON.stringify(roots));
  const [first, second] = roots;
  if (first !== undefined && second === undefined) await writePrivate(oldKeyFile(directory), first.caKeyPem);
  else await rm(oldKeyFile(directory), { force: true });
}

export function newEtcdRoot(nowMs: number): Promise<RootMaterial> {
  return createRoot('shoal-etcd', nowMs - BACKDATE_MS);
}

/** Names a root: the digest of its certificate. */
export function rootName({ caCertificatePem }: Pick<RootMaterial, 'caCertificatePem'>): string {
  return trustRoot(caCertificatePem).digest;
}

/**
 * New certificates for what members show each other, with the addresses of this moment; the root is made unless there is one. They
 * last as long as the root: what could renew them is in the same directory. Returns the roots. etcd reads the certificate at each
 * handshake, but whom it believes only when it starts.
 */
export async function preparePeerTls(
  directory: string,
  hosts: readonly string[],
  nowMs: number,
): Promise<readonly RootMaterial[]> {
  let roots = await readEtcdRoots(directory);
  const [first = await newEtcdRoot(nowMs)] = roots ?? [];
  roots ??= [first];
  await writeEtcdRoots(directory, roots);
  const { peer } = etcdTlsFiles(directory);
  const { cert, key } = await issue(first, hosts);
  await writePrivate(
    peer.ca,
    roots.map(({ caCertificatePem }) => caCertificatePem.trimEnd()).join('\n') + '\n',
  );
  await writePrivate(peer.key, key);
  await writePrivate(peer.cert, cert);
  return roots;
}

/** What the port for this machine's manager shows and believes; returns what that manager needs. Its authority's key is kept nowhere. */
export async function prepareClientTls(
  directory: string,
  hosts: readonly string[],
  nowMs: number,
): Promise<EtcdTls> {
  await mkdir(join(directory, 'tls'), { recursive: true, mode: 0o700 });
  const root = await newEtcdRoot(nowMs);
  const { client } = etcdTlsFiles(directory);
  const shown = await issue(root, hosts);
  await writePrivate(client.ca, root.caCertificatePem);
  await writePrivate(client.key, shown.key);
  await writePrivate(client.cert, shown.cert);
  return issue(root, []);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
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
