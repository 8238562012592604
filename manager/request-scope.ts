/**
 * Which request of the API is being worked for. It follows the work through awaits, so that what is logged, and what nodes
 * are asked, on a request's behalf carries its id without everybody handing it on.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Logger } from '../shared/model/options.ts';

const scope = new AsyncLocalStorage<string>();

/** Runs `work`, and all that it starts, on behalf of the request. */
export function onBehalfOf<T>(requestId: string, work: () => T): T {
  return scope.run(requestId, work);
}

/** Undefined for what the manager does by itself. */
export function currentRequestId(): string | undefined {
  return scope.getStore();
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
