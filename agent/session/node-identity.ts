/** Who this node is, as it is now: managers renew its certificate while it runs. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { InvalidError } from '../../shared/errors/index.ts';
import { Mutex } from '../../shared/lib/mutex.ts';
import type { MethodHandlers } from '../../shared/model/node-methods/index.ts';
import { splitPem } from '../../shared/wire/pem.ts';
import { type Identity, saveIdentity } from './identity.ts';

export class NodeIdentity {
  readonly #stateDir: string;
  readonly #saving = new Mutex();
  #current: Identity;
  /** Of the newest request, PEM: in memory until its certificate comes. */
  #requestedKey: string | undefined;

  constructor(stateDir: string, identity: Identity) {
    this.#stateDir = stateDir;
    this.#current = identity;
  }

  get current(): Identity {
    return this.#current;
  }

  get nodeId(): string {
    return this.#current.nodeId;
  }

  get ca(): string {
    return this.#current.ca;
  }

  get cert(): string {
    return this.#current.cert;
  }

  get key(): string {
    return this.#current.key;
  }

  get removedManagers(): readonly string[] {
    return this.#current.removedManagers ?? [];
  }

  /** On disk as a whole before it counts. */
  async change(parts: Partial<Omit<Identity, 'nodeId'>>): Promise<void> {
    await this.#saving.run(async () => {
      const next = { ...this.#current, ...parts };
      await saveIdentity(this.#stateDir, next);
      this.#current = next;
    });
  }

  /** What a manager asks to renew the certificate. */
  readonly methods: MethodHandlers<'certificate.request' | 'certificate.install'> = {
    'certificate.request': async () => {
      // Loaded for this only: what makes requests weighs more than the rest of the agent.
      const { certificateRequest, generateKeys, privateKeyPem } = await import('../../shared/wire/keys.ts');
      const keys = await generateKeys();
      this.#requestedKey = await privateKeyPem(keys.privateKey);
      return { csr: await certificateRequest(keys) };
    },
    'certificate.install': async ({ certificate, ca }) => {
      if (certificate === undefined) {
        checkSigned(this.cert, ca);
        await this.change({ ca });
        return {};
      }
      const key = this.#requestedKey;
      if (key === undefined) throw new InvalidError('a certificate that this node has not asked for');
      checkCertificate(certificate, key, this.nodeId);
      checkSigned(certificate, ca);
      await this.change({ ca, cert: certificate, key });
      this.#requestedKey = undefined;
      return {};
    },
  };
}

/** What would leave the node without a way back is refused, and the old one stays. */
function checkCertificate(pem: string, key: string, nodeId: string): void {
  const certificate = parse(pem);
  if (!certificate.checkPrivateKey(createPrivateKey(key)))
    throw new InvalidError('the certificate is not of the key that was asked for last');
  if (!certificate.subject.split('\n').includes(`CN=${nodeId}`))
    throw new InvalidError(`the certificate is not of the node ${nodeId}`);
}

function checkSigned(pem: string, ca: string): void {
  const certificate = parse(pem);
  const roots = splitPem(ca).map(parse);
  const signed = roots.some((root) => certificate.checkIssued(root) && certificate.verify(root.publicKey));
  if (!signed) throw new InvalidError('none of the roots has signed the certificate');
}

function parse(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new InvalidError('not a certificate in PEM', { cause });
  }
}
