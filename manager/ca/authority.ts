/**
 * The cluster's certificate authority: a P-256 root that signs one certificate a node. In a subject, CN is the node's
 * id, OU its role and O the cluster's id; both ends of a session read them there.
 */
import {
  createHash,
  createPrivateKey,
  type KeyObject,
  webcrypto,
  X509Certificate as ParsedCertificate,
} from 'node:crypto';
import { InvalidError } from '../../shared/errors/index.ts';
import type { NodeRole } from '../../shared/model/node.ts';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '../../shared/wire/x509.ts';
import { splitPem } from '../../shared/wire/pem.ts';
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

const RSA_SIGNING = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
const MIN_RSA_BITS = 2048;

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
  return {
    caCertificatePem: trustRoot(certificate.toString('pem')).pem,
    caKeyPem: await privateKeyPem(keys.privateKey),
  };
}

export interface Subject {
  /** Of a user: the name. */
  readonly nodeId: string;
  /**
   * `manager`: of a manager itself, which may be a server. An agent is a worker, whatever the role of its node. What a user
   * has is good for the API only.
   */
  readonly role: NodeRole | 'user';
  /** Default: as long as those of nodes. */
  readonly lifeMs?: number;
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

/**
 * `next`: while the root is rotated. Nodes then get certificates of the next root, and managers still show theirs of the
 * present one, which all nodes trust.
 */
export async function openAuthority(
  clusterId: string,
  material: RootMaterial,
  {
    lifeMs = DEFAULT_LIFE_MS,
    next,
  }: { readonly lifeMs?: number; readonly next?: RootMaterial | undefined } = {},
): Promise<Authority> {
  const signer = await signerOf(material, clusterId, lifeMs);
  const issuer = next === undefined ? signer : await signerOf(next, clusterId, lifeMs);
  const { root } = signer;
  const roots = next === undefined ? [root] : [root, issuer.root];
  const trustPem = roots.map(({ pem }) => pem).join('');
  return {
    clusterId,
    caPem: root.pem,
    digest: root.digest,
    roots,
    trustPem,
    issuer: issuer.root.digest,
    lifeMs,
    issue: async (csrPem, subject, nowMs) =>
      signLeaf(issuer, (await checkedRequest(csrPem)).publicKey, subject, nowMs),
    issueIdentity: async (subject, nowMs) => {
      const keys = await generateKeys();
      const cert = await signLeaf(signer, keys.publicKey, subject, nowMs);
      return { cert, key: await privateKeyPem(keys.privateKey), ca: trustPem };
    },
  };
}

async function signerOf(material: RootMaterial, clusterId: string, lifeMs: number): Promise<Signer> {
  const root = trustRoot(material.caCertificatePem);
  const certificate = new X509Certificate(root.pem);
  return { root, certificate, ...(await importSigningKey(material.caKeyPem)), clusterId, lifeMs };
}

export function trustRoot(pem: string): TrustRoot {
  const certificate = new ParsedCertificate(pem);
  // Written anew: what was given may have other text around it.
  return { digest: sha256(certificate.raw), pem: certificate.toString(), certificate };
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

interface Signer extends SigningKey {
  readonly root: TrustRoot;
  readonly certificate: X509Certificate;
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
    notAfter: new Date(
      Math.min(nowMs + (subject.lifeMs ?? root.lifeMs), root.certificate.notAfter.getTime()),
    ),
    signingAlgorithm: root.signingAlgorithm,
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

interface SigningKey {
  readonly signingKey: webcrypto.CryptoKey;
  readonly signingAlgorithm: typeof SIGNING | typeof RSA_SIGNING;
}

/** Curves by OpenSSL's names. */
const CURVES = new Map([
  ['prime256v1', 'P-256'],
  ['secp384r1', 'P-384'],
]);

/** Throws InvalidError, with what is allowed. */
async function importSigningKey(keyPem: string): Promise<SigningKey> {
  const key = parseKey(keyPem);
  const signingAlgorithm = signingAlgorithmOf(key);
  const der = key.export({ type: 'pkcs8', format: 'der' });
  const signingKey = await webcrypto.subtle.importKey('pkcs8', der, signingAlgorithm, false, ['sign']);
  return { signingKey, signingAlgorithm };
}

function parseKey(keyPem: string): KeyObject {
  try {
    return createPrivateKey(keyPem);
  } catch (cause) {
    throw new InvalidError("the CA's key is not a private key in PEM, or it is encrypted: decrypt it first", {
      cause,
    });
  }
}

function signingAlgorithmOf(key: KeyObject): SigningKey['signingAlgorithm'] {
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const curve = CURVES.get(namedCurve);
  if (key.asymmetricKeyType === 'ec' && curve !== undefined) return { ...SIGNING, namedCurve: curve };
  if (key.asymmetricKeyType === 'rsa' && modulusLength >= MIN_RSA_BITS) return RSA_SIGNING;
  throw new InvalidError(`the CA's key must be ECDSA P-256 or P-384, or RSA of ${MIN_RSA_BITS} bits or more`);
}

const MIN_ROOT_LIFE_MS = 30 * DAY_MS;

/** A root that users bring. Throws InvalidError that says what is wrong with it; the PEM that comes back has the root alone. */
export async function checkRoot(material: RootMaterial, nowMs: number): Promise<RootMaterial> {
  const { caKeyPem } = material;
  const certificates = splitPem(material.caCertificatePem);
  const [pem] = certificates;
  if (pem === undefined || certificates.length > 1) {
    throw new InvalidError(
      `the CA must be one root certificate in PEM, without intermediates: there are ${certificates.length} certificates`,
    );
  }
  const root = parseRoot(pem);
  const { certificate } = root;
  const refuse = (why: string): never => {
    throw new InvalidError(`the CA's certificate can not be used: ${why}`);
  };
  if (!certificate.checkIssued(certificate) || !certificate.verify(certificate.publicKey))
    refuse('it is no root, which is signed by itself');
  const parsed = new X509Certificate(pem);
  if (!certificate.ca) refuse('it may not sign others (basicConstraints: CA)');
  const usage = parsed.getExtension(KeyUsagesExtension);
  if (usage !== null && (usage.usages & KeyUsageFlags.keyCertSign) === 0)
    refuse('it may not sign others (keyUsage: keyCertSign)');
  if (parsed.getExtension(SubjectKeyIdentifierExtension) === null) refuse('it has no subjectKeyIdentifier');
  if (parsed.notBefore.getTime() > nowMs) refuse('it is not valid yet');
  if (parsed.notAfter.getTime() < nowMs + MIN_ROOT_LIFE_MS) refuse('it ends in less than 30 days');
  if (!certificate.checkPrivateKey(parseKey(caKeyPem))) refuse('the key is not its');
  await importSigningKey(caKeyPem);
  return { caCertificatePem: root.pem, caKeyPem };
}

function parseRoot(pem: string): TrustRoot {
  try {
    return trustRoot(pem);
  } catch (cause) {
    throw new InvalidError("the CA's certificate can not be read", { cause });
  }
}

/** 127 random bits, positive: RFC 5280, 4.1.2.2. */
function newSerial(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}
