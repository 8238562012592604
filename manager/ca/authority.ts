/**
 * The cluster's certificate authority: a P-256 root that signs one certificate a node. In a subject, CN is the node's
 * id, OU its role and O the cluster's id; both ends of a session read them there.
 */
import { webcrypto } from 'node:crypto';
import { InvalidError } from '../../shared/errors/index.ts';
import type { NodeRole } from '../../shared/model/node.ts';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '../../shared/wire/x509.ts';
import { generateKeys, privateKeyPem } from '../../shared/wire/keys.ts';

const DAY_MS = 24 * 3600 * 1000;
const ROOT_LIFE_MS = 20 * 365 * DAY_MS;
const LEAF_LIFE_MS = 90 * DAY_MS;
/** Clocks differ, by hours where somebody took a time zone for UTC: a certificate is valid from a day before it was made. */
const BACKDATE_MS = DAY_MS;

/** id-kp-serverAuth and id-kp-clientAuth of RFC 5280, 4.2.1.12. */
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

const SIGNING = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export interface RootMaterial {
  readonly caCertificatePem: string;
  readonly caKeyPem: string;
}

/** Makes a new root for the cluster, valid for 20 years from `nowMs`. */
export async function createRoot(clusterId: string, nowMs: number): Promise<RootMaterial> {
  const keys = await generateKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: [{ O: [clusterId] }, { CN: ['shoal-ca'] }],
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + ROOT_LIFE_MS),
    signingAlgorithm: SIGNING,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { caCertificatePem: certificate.toString('pem'), caKeyPem: await privateKeyPem(keys.privateKey) };
}

export interface Subject {
  readonly nodeId: string;
  readonly role: NodeRole;
  /** Names and addresses that a server certificate also carries. */
  readonly hosts?: readonly string[];
}

export interface Authority {
  readonly clusterId: string;
  readonly caPem: string;
  /** SHA-256 of the CA's certificate (DER), hexadecimal: what a join token pins. */
  readonly digest: string;
  /**
   * Signs a certificate for the key of a PKCS#10 request (PEM); the request's own subject is ignored. Throws
   * InvalidError when it is no request, its signature is wrong, or its key is not P-256.
   */
  issue(csrPem: string, subject: Subject, nowMs: number): Promise<string>;
  /** Makes a key here and signs it: for the manager itself. */
  issueIdentity(subject: Subject, nowMs: number): Promise<{ cert: string; key: string; ca: string }>;
}

export async function openAuthority(clusterId: string, root: RootMaterial): Promise<Authority> {
  const certificate = new X509Certificate(root.caCertificatePem);
  const signingKey = await importSigningKey(root.caKeyPem);
  const sign = (publicKey: LeafKey, subject: Subject, nowMs: number): Promise<string> =>
    signLeaf({ certificate, signingKey, clusterId }, publicKey, subject, nowMs);
  return {
    clusterId,
    caPem: root.caCertificatePem,
    digest: await certificateDigest(root.caCertificatePem),
    issue: async (csrPem, subject, nowMs) => sign((await checkedRequest(csrPem)).publicKey, subject, nowMs),
    issueIdentity: async (subject, nowMs) => {
      const keys = await generateKeys();
      const cert = await sign(keys.publicKey, subject, nowMs);
      return { cert, key: await privateKeyPem(keys.privateKey), ca: root.caCertificatePem };
    },
  };
}

/** SHA-256 of a certificate's DER, hexadecimal. */
export async function certificateDigest(pem: string): Promise<string> {
  const digest = await webcrypto.subtle.digest('SHA-256', new X509Certificate(pem).rawData);
  return Buffer.from(digest).toString('hex');
}

type LeafKey = webcrypto.CryptoKey | Pkcs10CertificateRequest['publicKey'];

interface Root {
  readonly certificate: X509Certificate;
  readonly signingKey: webcrypto.CryptoKey;
  readonly clusterId: string;
}

async function signLeaf(root: Root, publicKey: LeafKey, subject: Subject, nowMs: number): Promise<string> {
  const usages = subject.role === 'manager' ? [SERVER_AUTH, CLIENT_AUTH] : [CLIENT_AUTH];
  const hosts = (subject.hosts ?? []).map(hostName);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: [{ O: [root.clusterId] }, { OU: [subject.role] }, { CN: [subject.nodeId] }],
    issuer: root.certificate.subject,
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + LEAF_LIFE_MS),
    signingAlgorithm: SIGNING,
    publicKey,
    signingKey: root.signingKey,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension(usages),
      await AuthorityKeyIdentifierExtension.create(root.certificate),
      ...(hosts.length > 0 ? [new SubjectAlternativeNameExtension(hosts)] : []),
    ],
  });
  return certificate.toString('pem');
}

function hostName(host: string): { type: 'ip' | 'dns'; value: string } {
  const isAddress = /^\d+\.\d+\.\d+\.\d+$/.test(host) || host.includes(':');
  return { type: isAddress ? 'ip' : 'dns', value: host };
}

async function checkedRequest(csrPem: string): Promise<Pkcs10CertificateRequest> {
  let request: Pkcs10CertificateRequest;
  try {
    request = new Pkcs10CertificateRequest(csrPem);
  } catch (cause) {
    throw new InvalidError('the certificate request is not a PKCS#10 request in PEM', { cause });
  }
  const algorithm = request.publicKey.algorithm as { name?: string; namedCurve?: string };
  if (algorithm.namedCurve !== 'P-256')
    throw new InvalidError('the certificate request has a key that is not P-256');
  if (!(await request.verify().catch(() => false))) {
    throw new InvalidError('the certificate request is not signed by its own key');
  }
  return request;
}

function importSigningKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  const der = PemConverter.decode(keyPem)[0];
  if (der === undefined) throw new InvalidError('the cluster record holds no CA key in PEM');
  return webcrypto.subtle.importKey('pkcs8', der, SIGNING, false, ['sign']);
}

/** 127 random bits, positive: RFC 5280, 4.1.2.2. */
function newSerial(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}
