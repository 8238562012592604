/** The manager's own certificate: made at its start, and anew in time or when the cluster's authority changes. */
import type { Clock } from '../../shared/lib/clock.ts';
import type { Logger } from '../../shared/model/index.ts';
import type { Authority } from '../ca/authority.ts';
import { issuedCertificate } from '../ca/held-certificate.ts';
import { type HeldCertificate, lookEveryMs, renewalDueMs } from '../ca/renewal.ts';
import type { Store } from '../store/store.ts';
import { LookLoop } from './look-loop.ts';

/** PEM texts; `ca`: whose certificates are accepted. */
export interface ManagerTls {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export interface ManagerCertificateOptions {
  readonly store: Store;
  /** Of the cluster record as it is now. */
  readonly authority: () => Promise<Authority>;
  readonly managerId: string;
  /** Names and addresses in it. */
  readonly hosts: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Made {
  readonly authority: Authority;
  readonly tls: ManagerTls;
  readonly held: HeldCertificate;
  readonly dueMs: number;
}

const DAY_MS = 24 * 3600 * 1000;
const WARN_BEFORE_MS = 60 * DAY_MS;

export class ManagerCertificate {
  readonly #options: ManagerCertificateOptions;
  #made: Made;
  #warnedAtMs = -Infinity;

  private constructor(options: ManagerCertificateOptions, made: Made) {
    this.#options = options;
    this.#made = made;
  }

  static async make(options: ManagerCertificateOptions): Promise<ManagerCertificate> {
    return new ManagerCertificate(options, await makeOne(options));
  }

  /** The authority that the certificate was made by. */
  get authority(): Authority {
    return this.#made.authority;
  }

  get tls(): ManagerTls {
    return this.#made.tls;
  }

  /** From now on: `use` is given each new certificate. Returns the end of it. */
  keep(use: (tls: ManagerTls) => void): () => void {
    const { store, logger } = this.#options;
    const look = async (): Promise<void> => {
      this.#warnOfRootsEnd();
      if (!(await this.#isDue())) return;
      this.#made = await makeOne(this.#options);
      use(this.tls);
      logger.info(
        { endsAt: new Date(this.#made.held.endsAtMs).toISOString() },
        'renewed the own certificate',
      );
    };
    const loop = new LookLoop(look, () => lookEveryMs(this.#made.authority.lifeMs), logger);
    const undo = store.onChange((changes) => {
      if (changes.some((change) => change.table === 'cluster')) loop.soon();
    });
    loop.soon();
    return () => {
      undo();
      loop.close();
    };
  }

  /** Once a day: nothing renews a root by itself, and with it all certificates end. */
  #warnOfRootsEnd(): void {
    const { clock, logger } = this.#options;
    const { authority } = this.#made;
    const nowMs = clock.now();
    const endsAtMs = Date.parse(authority.roots.at(-1)?.certificate.validTo ?? '');
    if (nowMs < endsAtMs - WARN_BEFORE_MS || nowMs < this.#warnedAtMs + DAY_MS) return;
    this.#warnedAtMs = nowMs;
    const endsAt = new Date(endsAtMs).toISOString();
    logger.warn({ endsAt }, "the cluster's CA ends, and all certificates with it: shoal ca rotate");
  }

  async #isDue(): Promise<boolean> {
    const { authority, held, dueMs } = this.#made;
    const current = await this.#options.authority();
    const same =
      current.digest === authority.digest &&
      current.trustPem === authority.trustPem &&
      current.issuer === authority.issuer &&
      current.lifeMs === authority.lifeMs;
    return !same || this.#options.clock.now() >= Math.min(dueMs, held.endsAtMs);
  }
}

async function makeOne({
  authority: current,
  managerId,
  hosts,
  clock,
}: ManagerCertificateOptions): Promise<Made> {
  const authority = await current();
  const tls = await authority.issueIdentity({ nodeId: managerId, role: 'manager', hosts }, clock.now());
  const held = issuedCertificate(tls.cert, authority);
  return { authority, tls, held, dueMs: renewalDueMs(held, authority.lifeMs, Math.random()) };
}
