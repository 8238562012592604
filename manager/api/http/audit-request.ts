/** Which requests go to the audit log, and what of them: never bodies, queries or headers, which hold secrets. */
import type { Request, Response } from 'express';
import type { Clock } from '../../../shared/lib/clock.ts';
import type { AuditEntry, AuditLog } from '../../audit/audit-log.ts';
import type { Principal } from '../access/directory.ts';
import { principalOf } from '../access/entry.ts';

const VERSION = /^\/v\d+\.\d+(?=\/)/;
/** They change nothing: what is waited for, compared, or the size of a terminal. */
const CHANGES_NOTHING =
  /^\/(?:containers\/[^/]+\/(?:wait|resize)|exec\/[^/]+\/resize|stacks\/[^/]+\/diff)\/?$/;
/** Reads that are more than a look: files of containers, what they are typed, the unlock key. */
const MORE_THAN_A_LOOK = /^\/(?:containers\/[^/]+\/(?:attach\/ws|archive|export)|swarm\/unlockkey)\/?$/;
/** They may go on for days. */
const GOES_ON = /^\/(?:exec\/[^/]+\/start|containers\/[^/]+\/attach(?:\/ws)?)\/?$/;
const MAX_PATH = 500;

export interface AuditedRequest {
  readonly req: Request;
  readonly res: Response;
  readonly id: string;
  readonly path: string;
  /** Filled while it is worked for. */
  readonly changes: readonly string[];
}

/** Writes a line when the answer is out, and one before for what goes on. */
export function auditRequest(audit: AuditLog, clock: Clock, asked: AuditedRequest): void {
  const { req, res, id, changes } = asked;
  const path = asked.path.replace(VERSION, '').slice(0, MAX_PATH);
  const startedMs = clock.now();
  // Now: a connection that has ended has no address any more.
  const user = who(principalOf(req), req);
  const is = isAudited(req.method, path);
  const line = (rest: Pick<AuditEntry, 'outcome' | 'status' | 'elapsedMs' | 'changes'>): void =>
    audit.append({
      time: new Date(clock.now()).toISOString(),
      ...user,
      method: req.method,
      path,
      ...rest,
      requestId: id,
    });
  if (is && GOES_ON.test(path)) line({ outcome: 'begun' });
  res.once('close', () => {
    const status = res.statusCode;
    if (!is && status !== 403) return;
    const outcome = status >= 500 ? 'failed' : status >= 400 ? 'refused' : 'done';
    const written = changes.length === 0 ? {} : { changes };
    line({ outcome, status, ...written, elapsedMs: clock.now() - startedMs });
  });
}

function isAudited(method: string, path: string): boolean {
  if (method === 'GET' || method === 'HEAD') return method === 'GET' && MORE_THAN_A_LOOK.test(path);
  return !CHANGES_NOTHING.test(path);
}

function who(
  principal: Principal | undefined,
  req: Request,
): Pick<AuditEntry, 'user' | 'by' | 'credential' | 'from'> {
  if (principal === undefined) return { by: 'socket' };
  const { name, proof, credentialId } = principal;
  return { user: name, by: proof.kind, credential: credentialId, from: req.socket.remoteAddress };
}
