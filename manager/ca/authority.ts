/**
 * The cluster's certificate authority: a P-256 root that signs one certificate a node. In a subject, CN is the node's
 * id, OU its role and O the cluster's id; both ends of a session read them there.
 */
import { createHash, webcrypto, X509Certificate as ParsedCertificate } from 'node:crypto';
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
/** Of certificates of nodes and managers, unless the cluster says otherwise. */
export const DEFAULT_LIFE_MS = 90 * DAY_MS;
/** Clocks differ, by hours where somebody took a time zone for UTC: a certificate is valid from a day before it was made. */
export const BACKDATE_MS = DAY_MS;

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
  /** `manager`: of a manager itself, which may be a server. An agent is a worker, whatever the role of its node. */
  readonly role: NodeRole;
  /** Names and addresses that a server certificate also carries. */
  readonly hosts?: readonly string[];
}

/** A root certificate that counts. */
export interface TrustRoot {
  /** SHA-256 of its DER, hexadecimal. */
  readonly digest: string;
  readonly pem: string;
  readonly certificate: ParsedCertificate;
}

export interface Authority {
  readonly clusterId: string;
  /** The root that managers' own certificates are signed by: new machines fetch it. */
  readonly caPem: string;
  /** SHA-256 of the CA's certificate (DER), hexadecimal: what a join token pins. */
  readonly digest: string;
  /** All roots whose certificates are accepted. */
  readonly roots: readonly TrustRoot[];
  /** The same, one PEM after the other. */
  readonly trustPem: string;
  /** Digest of the root that signs certificates of nodes. */
  readonly issuer: string;
  /** How long a certificate lasts. */
  readonly lifeMs: number;
  /**
   * Signs a certificate for the key of a PKCS#10 request (PEM); the request's own subject is ignored. Throws
   * InvalidError when it is no request, its signature is wrong, or its key is not P-256.
   */
  issue(csrPem: string, subject: Subject, nowMs: number): Promise<string>;
  /** Makes a key here and signs it: for the manager itself. `ca` is what to trust: all roots. */
  issueIdentity(subject: Subject, nowMs: number): Promise<{ cert: string; key: string; ca: string }>;
}

export async function openAuthority(
  clusterId: string,
  material: RootMaterial,
  lifeMs: number = DEFAULT_LIFE_MS,
): Promise<Authority> {
  const root = trustRoot(material.caCertificatePem);
  const signer: Signer = {
    certificate: new X509Certificate(root.pem),
    signingKey: await importSigningKey(material.caKeyPem),
    clusterId,
    lifeMs,
  };
  return {
    clusterId,
    caPem: root.pem,
    digest: root.digest,
    roots: [root],
    trustPem: root.pem,
    issuer: root.digest,
    lifeMs,
    issue: async (csrPem, subject, nowMs) =>
      signLeaf(signer, (await checkedRequest(csrPem)).publicKey, subject, nowMs),
    issueIdentity: async (subject, nowMs) => {
      const keys = await generateKeys();
      const cert = await signLeaf(signer, keys.publicKey, subject, nowMs);
      return { cert, key: await privateKeyPem(keys.privateKey), ca: root.pem };
    },
  };
}

function trustRoot(pem: string): TrustRoot {
  const certificate = new ParsedCertificate(pem);
  return { digest: sha256(certificate.raw), pem, certificate };
}

/**
 * SHA-256 of the public key of a request (SubjectPublicKeyInfo), hexadecimal. Throws InvalidError unless the request is
 * signed by that key.
 */
export async function requestKeyDigest(csrPem: string): Promise<string> {
  return sha256(Buffer.from((await checkedRequest(csrPem)).publicKey.rawData));
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

type LeafKey = webcrypto.CryptoKey | Pkcs10CertificateRequest['publicKey'];

interface Signer {
  readonly certificate: X509Certificate;
  readonly signingKey: webcrypto.CryptoKey;
  readonly clusterId: string;
  readonly lifeMs: number;
}

async function signLeaf(root: Signer, publicKey: LeafKey, subject: Subject, nowMs: number): Promise<string> {
  const usages = subject.role === 'manager' ? [SERVER_AUTH, CLIENT_AUTH] : [CLIENT_AUTH];
  const hosts = (subject.hosts ?? []).map(hostName);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: [{ O: [root.clusterId] }, { OU: [subject.role] }, { CN: [subject.nodeId] }],
    issuer: root.certificate.subject,
    notBefore: new Date(nowMs - BACKDATE_MS),
    // What outlives its root would be refused all the same.
    notAfter: new Date(Math.min(nowMs + root.lifeMs, root.certificate.notAfter.getTime())),
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
