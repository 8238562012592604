/** What every resource of the API works with. Built once by createApi. */
import type { Clock } from '../../shared/lib/clock.ts';
import type { NodeGateway } from '../dispatcher/node-gateway.ts';
import type { Store } from '../store/store.ts';
import type { EventLog } from './events/event-log.ts';

/** The part of pino that the API uses. */
export interface ApiLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface JoinTokens {
  readonly worker: string;
  readonly manager: string;
}

export interface ApiOptions {
  readonly store: Store;
  readonly gateway: NodeGateway;
  /** Shoal's own version. */
  readonly version: string;
  readonly clusterName: string;
  /** The node that shares this manager's machine, if there is one: `self` in Docker's words. */
  readonly managerNodeId: () => string | undefined;
  /** The node of the manager that leads, as far as this manager knows. */
  readonly leader: () => string | undefined;
  /** The printed join tokens (manager/ca builds them); absent: GET /swarm shows empty ones. */
  readonly joinTokens?: () => JoinTokens | Promise<JoinTokens>;
  readonly logger: ApiLogger;
  readonly clock: Clock;
  /** Ends every stream that is open when the manager stops. */
  readonly signal?: AbortSignal;
}

export interface ApiContext extends ApiOptions {
  readonly events: EventLog;
  readonly signal: AbortSignal;
}

export const API_VERSION = '1.47';
export const MIN_API_VERSION = '1.24';
