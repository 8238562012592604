/**
 * Lets a node in: its token says which role it may take, its key gets a certificate, it gets a record. A node is its key: a
 * request with the key of a node that is known makes no second one, but gives that node a certificate again.
 */
import { ForbiddenError, UnavailableError } from '../../shared/errors/index.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import { newId } from '../../shared/lib/ids.ts';
import type { Logger, Node, NodeRole } from '../../shared/model/index.ts';
import type { JoinRequest, JoinResponse } from '../../shared/wire/join.ts';
import { type Authority, requestKeyDigest } from '../ca/authority.ts';
import { authorityOf, openSecrets } from '../ca/cluster.ts';
import { issuedCertificate } from '../ca/held-certificate.ts';
import { judgeToken } from '../ca/tokens.ts';
import type { Store } from '../store/store.ts';
import type { Vault } from '../vault/seal.ts';
import type { NodeRecords } from './node-records.ts';

export interface Admission {
  /** Throws InvalidError for a malformed token or request, ForbiddenError for a token that does not grant the role. */
  admit(request: JoinRequest, signal: AbortSignal): Promise<JoinResponse>;
}

interface AdmissionOptions {
  readonly store: Store;
  readonly vault: Vault;
  readonly records: NodeRecords;
  readonly clock: Clock;
  readonly logger: Logger;
}

export function admission({ store, vault, records, clock, logger }: AdmissionOptions): Admission {
  const issue = async (authority: Authority, csr: string, nodeId: string) => {
    // Whatever the role of the node: only a manager's own certificate may pass for a manager's.
    const certificate = await authority.issue(csr, { nodeId, role: 'worker' }, clock.now());
    return { certificate, held: issuedCertificate(certificate, authority) };
  };
  const refused = (why: string, { hostname }: JoinRequest): Error => {
    logger.warn({ hostname, why }, 'refused a node');
    return new ForbiddenError(why);
  };
  return {
    admit: async (request, signal) => {
      // The record is read each time: a rotated secret counts at once.
      const cluster = store.get('cluster', 'self');
      if (cluster === undefined)
        throw new UnavailableError('the cluster is not set up yet: try again in a moment');
      const authority = await authorityOf(cluster, vault);
      const { joinSecrets } = openSecrets(vault, cluster);
      const { token, hostname } = request;
      const verdict = judgeToken(cluster, joinSecrets, authority.digest, token, clock.now());
      const { granted } = verdict;
      if (granted === undefined) throw refused(verdict.refused, request);
      const asked = request.role ?? granted;
      if (asked !== granted) throw refused(`the join token is for a ${granted}, not for a ${asked}`, request);
      // The key is checked before anything is written.
      const known = records.ofKey(await requestKeyDigest(request.csr));
      checkReturn(request, known, granted);
      const wanted = { id: known?.id ?? newId(), role: known?.spec.role ?? asked };
      let { certificate, held } = await issue(authority, request.csr, wanted.id);
      const nodeId = await records.create({ ...wanted, certificate: held }, signal);
      if (nodeId !== wanted.id) ({ certificate, held } = await issue(authority, request.csr, nodeId));
      if (nodeId !== wanted.id || known !== undefined) await records.certified(nodeId, held, signal);
      const again = known !== undefined;
      logger.info({ nodeId, role: wanted.role, hostname, token: verdict.id, again }, 'node joined');
      return { nodeId, certificate, ca: authority.trustPem };
    },
  };
}

/** A node that comes back does so as itself, in its own role. Throws ForbiddenError. */
function checkReturn(request: JoinRequest, known: Node | undefined, granted: NodeRole): void {
  const { nodeId } = request;
  if (nodeId !== undefined && known?.id !== nodeId) {
    throw new ForbiddenError(
      `node ${nodeId} is not known here with this key: it was removed, or its record is of another time. To join as a new ` +
        "node, remove identity.json from the agent's state directory and start the agent with the token again",
    );
  }
  if (known?.spec.role === 'manager' && granted !== 'manager') {
    throw new ForbiddenError(`node ${known.id} is a manager: it comes back with a token for managers`);
  }
}
