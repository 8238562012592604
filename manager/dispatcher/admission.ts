/** Lets a new node in: its token says which role it may take, its key gets a certificate, it gets a record. */
import { ForbiddenError } from '../../shared/errors/index.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import type { Logger } from '../../shared/model/index.ts';
import type { JoinRequest, JoinResponse } from '../../shared/wire/join.ts';
import type { Authority } from '../ca/authority.ts';
import { roleOfToken } from '../ca/cluster.ts';
import type { Store } from '../store/store.ts';
import type { NodeRecords } from './node-records.ts';

export interface Admission {
  /** Throws InvalidError for a malformed token or request, ForbiddenError for a token that does not grant the role. */
  admit(request: JoinRequest, signal: AbortSignal): Promise<JoinResponse>;
}

export function admission(deps: {
  store: Store;
  authority: Authority;
  records: NodeRecords;
  clock: Clock;
  logger: Logger;
}): Admission {
  const { store, authority, records, clock, logger } = deps;
  return {
    admit: async (request, signal) => {
      const cluster = store.get('cluster', 'self');
      // The record is read each time: a rotated secret counts at once.
      const granted = cluster === undefined ? undefined : roleOfToken(cluster, authority, request.token);
      const role = request.role ?? granted;
      if (role === undefined || role !== granted) {
        logger.warn({ role, hostname: request.hostname }, 'refused a node: wrong token');
        throw new ForbiddenError(
          `the join token does not let a ${role ?? 'node'} in: it is not this cluster's, or not current`,
        );
      }
      // The key is checked before anything is written.
      const trial = { nodeId: 'trial', role };
      await authority.issue(request.csr, trial, clock.now());
      const nodeId = await records.create(role, signal);
      const certificate = await authority.issue(request.csr, { nodeId, role }, clock.now());
      logger.info({ nodeId, role, hostname: request.hostname }, 'node joined');
      return { nodeId, certificate, ca: authority.caPem };
    },
  };
}
