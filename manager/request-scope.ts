/**
 * Which request of the API is being worked for. It follows the work through awaits, so that what is logged, and what nodes
 * are asked, on a request's behalf carries its id without everybody handing it on.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Logger } from '../shared/model/options.ts';

interface Scope {
  readonly requestId: string;
  readonly changes: string[];
}

const scope = new AsyncLocalStorage<Scope>();

/** Runs `work`, and all that it starts, on behalf of the request. `changes` gets what it writes (noteChanges). */
export function onBehalfOf<T>(requestId: string, work: () => T, changes: string[] = []): T {
  return scope.run({ requestId, changes }, work);
}

/** Undefined for what the manager does by itself. */
export function currentRequestId(): string | undefined {
  return scope.getStore()?.requestId;
}

/** Enough to tell what a request was about. */
const MAX_CHANGES = 50;

/** What was written for the request that is worked for, in words. */
export function noteChanges(changes: readonly string[]): void {
  const noted = scope.getStore()?.changes;
  if (noted === undefined) return;
  noted.push(...changes.filter((change) => !noted.includes(change)).slice(0, MAX_CHANGES - noted.length));
}

/** A logger whose lines carry the id of the request that they were written for. */
export function withRequestId(logger: Logger): Logger {
  const tagged = (fields: object): object => {
    const requestId = currentRequestId();
    return requestId === undefined ? fields : { requestId, ...fields };
  };
  return {
    debug: (fields, message) => logger.debug(tagged(fields), message),
    info: (fields, message) => logger.info(tagged(fields), message),
    warn: (fields, message) => logger.warn(tagged(fields), message),
    error: (fields, message) => logger.error(tagged(fields), message),
    child: (fields) => withRequestId(logger.child(fields)),
  };
}
