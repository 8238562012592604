/** Why no session comes about, when the reason is a certificate's dates: mostly a clock that is wrong, here or there. */
import { request as httpsRequest } from 'node:https';
import { ForbiddenError, UnavailableError } from '../../shared/errors/index.ts';
import { durationText } from '../../shared/lib/duration-text.ts';

const TIMEOUT_MS = 5_000;
/** An HTTP date has whole seconds, and travels. */
const SAME_CLOCK_MS = 5_000;

const DATE_PROBLEMS: ReadonlyMap<string, string> = new Map([
  ['CERT_NOT_YET_VALID', 'is not valid yet'],
  ['CERT_HAS_EXPIRED', 'has expired'],
]);

/**
 * The failure, or, when TLS has refused the manager's certificate for its dates, one that says how far this machine's clock
 * is from the manager's. The manager is asked for its time without being trusted: only a message is made of it.
 */
export async function explainRefusal(
  failure: unknown,
  manager: string,
  signal: AbortSignal,
): Promise<unknown> {
  const problem = dateProblem(failure);
  if (problem === undefined) return failure;
  const managerMs = await timeAt(manager, signal).catch(() => undefined);
  const offMs = managerMs === undefined ? undefined : managerMs - Date.now();
  return new UnavailableError(refusalText(manager, problem, offMs), { cause: failure });
}

/** OpenSSL's words for a chain that ends nowhere that is trusted. */
const UNTRUSTED = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_SIGNATURE_FAILURE',
]);

/** True when a manager does not accept this node's certificate, or has one that this node's roots did not sign. */
export function isCertificateRefused(failure: unknown): boolean {
  if (!(failure instanceof Error)) return false;
  if (failure instanceof ForbiddenError) return true;
  const code = 'code' in failure ? String(failure.code) : '';
  return UNTRUSTED.has(code) || isCertificateRefused(failure.cause);
}

/** `offMs`: how far this machine's clock is behind the manager's. Pure. */
export function refusalText(manager: string, problem: string, offMs: number | undefined): string {
  const what = `the certificate of the manager at ${manager} ${problem} by the clock of this machine`;
  if (offMs === undefined) return `${what}: is the clock right?`;
  if (Math.abs(offMs) >= SAME_CLOCK_MS) {
    const side = offMs > 0 ? 'behind' : 'ahead of';
    return `${what}, which is ${durationText(offMs)} ${side} the manager's: set the clock that is wrong`;
  }
  return `${what}, and the manager's clock says the same: look at the manager's log, it should have renewed it`;
}

function dateProblem(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = 'code' in error ? String(error.code) : '';
  return DATE_PROBLEMS.get(code) ?? dateProblem(error.cause);
}

function timeAt(manager: string, signal: AbortSignal): Promise<number | undefined> {
  const url = new URL(`https://${manager}/ca`);
  const until = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  return new Promise((resolve, reject) => {
    const options = { rejectUnauthorized: false, agent: false, signal: until } as const;
    const request = httpsRequest(url, options, (response) => {
      response.resume();
      const ms = Date.parse(response.headers.date ?? '');
      resolve(Number.isNaN(ms) ? undefined : ms);
    });
    request.on('error', reject);
    request.end();
  });
}
