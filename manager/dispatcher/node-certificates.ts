/**
 * Renews the certificates of the nodes that are connected to this manager, over their sessions, which go on meanwhile:
 * the next session of a node is opened with its newest certificate.
 */
import { describeError } from '../../shared/errors/index.ts';
import { isAbort } from '../../shared/lib/abort.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import type { Logger } from '../../shared/model/index.ts';
import { CLOSE } from '../../shared/wire/frames.ts';
import type { Authority } from '../ca/authority.ts';
import { issuedCertificate } from '../ca/held-certificate.ts';
import { certificateStep, type CertificateStep, type HeldCertificate, lookEveryMs } from '../ca/renewal.ts';
import type { Store } from '../store/store.ts';
import { LookLoop } from './look-loop.ts';
import type { NodeRecords } from './node-records.ts';
import type { NodeSession } from './node-session.ts';

/** Nodes whose certificates are renewed at one time. */
const AT_ONCE = 16;
const CALL_TIMEOUT_MS = 30_000;
const LONGEST_REST_MS = 60_000;

export interface NodeCertificatesOptions {
  readonly store: Store;
  /** Of the cluster record as it is now. */
  readonly authority: () => Promise<Authority>;
  readonly records: NodeRecords;
  readonly sessions: () => Iterable<NodeSession>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export class NodeCertificates {
  readonly #options: NodeCertificatesOptions;
  readonly #loop: LookLoop;
  readonly #undo: () => void;
  readonly #busy = new Set<string>();
  /** When a session that failed is tried again. */
  readonly #rests = new WeakMap<NodeSession, number>();
  readonly #chances = new WeakMap<HeldCertificate, number>();
  readonly counts = { renewed: 0, failed: 0, expired: 0 };
  #lifeMs = Infinity;
  /** As of the last look; when the cluster's changes, there is another one. */
  #authority: Authority | undefined;
  /** Something is due that could not be begun yet: there is another look when something ends. */
  #waits = false;

  constructor(options: NodeCertificatesOptions) {
    this.#options = options;
    this.#loop = new LookLoop(
      () => this.#look(),
      () => lookEveryMs(this.#lifeMs),
      options.logger,
    );
    this.#undo = options.store.onChange((changes) => {
      if (changes.some((change) => change.table === 'cluster')) this.#loop.soon();
    });
    this.#loop.soon();
  }

  /** A session has opened, perhaps with a certificate that is due. */
  opened(session: NodeSession): void {
    const authority = this.#authority;
    // After a restart thousands open: each is looked at by itself, not all of them each time.
    if (authority !== undefined && this.#stepOf(session, authority, this.#options.clock.now()) === 'keep')
      return;
    this.#loop.soon();
  }

  close(): void {
    this.#undo();
    this.#loop.close();
  }

  async #look(): Promise<void> {
    const { sessions, clock } = this.#options;
    const authority = await this.#options.authority();
    this.#authority = authority;
    this.#lifeMs = authority.lifeMs;
    this.#waits = false;
    const nowMs = clock.now();
    for (const session of [...sessions()]) {
      const step = this.#stepOf(session, authority, nowMs);
      if (step === 'keep' || nowMs < (this.#rests.get(session) ?? 0)) continue;
      if (this.#busy.size >= AT_ONCE || this.#busy.has(session.id)) this.#waits = true;
      else void this.#take(session, step, authority);
    }
  }

  #stepOf(session: NodeSession, authority: Authority, nowMs: number): CertificateStep {
    const held = session.certificate;
    if (held === undefined) return 'keep';
    const { issuer, lifeMs, roots } = authority;
    const trust = roots.map((root) => root.digest);
    const chance = this.#chances.get(held) ?? Math.random();
    this.#chances.set(held, chance);
    return certificateStep(held, { issuer, trust, lifeMs }, chance, nowMs);
  }

  async #take(session: NodeSession, step: 'trust' | 'renew', authority: Authority): Promise<void> {
    const { logger } = this.#options;
    const { nodeId } = session;
    this.#busy.add(session.id);
    try {
      const held = await (step === 'renew'
        ? this.#renew(session, authority)
        : this.#teach(session, authority));
      if (step === 'renew') this.counts.renewed += 1;
      logger.info({ nodeId, step, endsAt: new Date(held.endsAtMs).toISOString() }, 'certificate of the node');
    } catch (error) {
      if (!isAbort(error) && session.open) this.#failed(session, error);
    } finally {
      this.#busy.delete(session.id);
      if (this.#waits) this.#loop.soon();
    }
  }

  #failed(session: NodeSession, error: unknown): void {
    const { clock, logger } = this.#options;
    const { nodeId, certificate } = session;
    this.counts.failed += 1;
    this.#rests.set(session, clock.now() + Math.min(LONGEST_REST_MS, this.#lifeMs / 20));
    logger.warn({ nodeId, error: describeError(error) }, 'the certificate of a node could not be renewed');
    if (certificate === undefined || clock.now() < certificate.endsAtMs) return;
    this.counts.expired += 1;
    session.close(CLOSE.forbidden, "the node's certificate has expired");
  }

  async #renew(session: NodeSession, authority: Authority): Promise<HeldCertificate> {
    const { clock } = this.#options;
    const { nodeId, calls } = session;
    const { csr } = await calls.call('certificate.request', {}, this.#until(session));
    const certificate = await authority.issue(csr, { nodeId, role: 'worker' }, clock.now());
    const install = { certificate, ca: authority.trustPem };
    await calls.call('certificate.install', install, this.#until(session));
    return this.#confirmed(session, issuedCertificate(certificate, authority));
  }

  async #teach(session: NodeSession, authority: Authority): Promise<HeldCertificate> {
    const { certificate: held } = session;
    if (held === undefined) throw new Error('a session without a certificate');
    await session.calls.call('certificate.install', { ca: authority.trustPem }, this.#until(session));
    return this.#confirmed(session, { ...held, trust: authority.roots.map((root) => root.digest) });
  }

  /** The node has it on its disk. */
  async #confirmed(session: NodeSession, held: HeldCertificate): Promise<HeldCertificate> {
    session.certificate = held;
    await this.#options.records.certified(session.nodeId, held, this.#until(session));
    return held;
  }

  #until(session: NodeSession): AbortSignal {
    return AbortSignal.any([session.signal, this.#options.signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]);
  }
}
