/** What every resource of the API works with. Built once by createApi. */
import type { Clock } from '../../shared/lib/clock.ts';
import type { Logger } from '../../shared/model/options.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import type { NodeGateway } from '../dispatcher/node-gateway.ts';
import type { EtcdRootRotation } from '../membership/etcd-root-rotation.ts';
import type { Managers } from '../membership/managers.ts';
import type { UsageSource } from '../plan/view.ts';
import type { Store } from '../store/store.ts';
import type { BackupFacts, HealthFacts, StoredDataFacts } from './ops/health.ts';
import type { KeyRotation } from '../vault/key-rotation.ts';
import type { Vault } from '../vault/seal.ts';
import type { Access } from './access/routes.ts';
import type { EventLog, Events } from './events/event-log.ts';

export interface ApiOptions {
  readonly store: Store;
  readonly gateway: NodeGateway;
  /** Seals and opens secrets and configs. */
  readonly vault: Vault;
  /** Shoal's own version. */
  readonly version: string;
  readonly clusterName: string;
  /** The node that shares this manager's machine, if there is one: `self` in Docker's words. */
  readonly managerNodeId: () => string | undefined;
  /** host:port where nodes reach this manager. */
  readonly managerAddress: string;
  /** The node of the manager that leads, as far as this manager knows. */
  readonly leader: () => string | undefined;
  /** Of this cluster. Absent: this is the only one, and it stays that. */
  readonly managers?: ManagersView;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Absent: nothing is counted, and /metrics is 404. */
  readonly metrics?: ApiMetrics;
  /** Ends every stream that is open when the manager stops. */
  readonly signal?: AbortSignal;
  /** Where this manager keeps what it must not lose; shown by /info. */
  readonly stateDir?: string;
  /** The bytes of a backup file, unencrypted. */
  readonly backup?: (signal: AbortSignal) => AsyncIterable<Buffer>;
  /** What tasks use, of those that are measured. */
  readonly usage?: UsageSource;
  /** Default: one of the API's own. */
  readonly events?: EventLog;
  /** What only the manager's own parts know of their health; absent: all is taken for well. */
  readonly health?: HealthSources;
  /** Rotates the data key. */
  readonly dataKeys?: Pick<KeyRotation, 'begin' | 'progress'>;
  /** The authority that is etcd's alone. */
  readonly etcdRoots?: Pick<EtcdRootRotation, 'begin' | 'progress' | 'shown'>;
  /** Absent: nobody writes down who did what. */
  readonly audit?: AuditLog;
  /** Whom it serves; absent: admins, who may everything. */
  readonly access?: Access;
}

export interface HealthSources {
  readonly storeIsCurrent: () => boolean;
  readonly storedData: () => StoredDataFacts;
  /** Undefined: etcd is not the managers' own, or does not answer. */
  readonly etcdMembers: () => Promise<HealthFacts['etcdMembers']>;
  readonly etcdSpace: () => Promise<HealthFacts['etcdSpace']>;
  readonly disks: () => Promise<HealthFacts['disks']>;
  /** Undefined: there are none. */
  readonly backups: () => Promise<BackupFacts | undefined>;
}

/** What the API shows and changes of the managers. */
export type ManagersView = Pick<Managers, 'views' | 'ofNode' | 'checkRemovable' | 'remove' | 'ownId'>;

export interface ApiContext extends Omit<ApiOptions, 'events'> {
  readonly events: Events;
  readonly signal: AbortSignal;
}

/** What the API tells of its requests, and what it shows of all. */
export interface ApiMetrics {
  began(): void;
  /** `route`: the pattern of the route; undefined when there was none. */
  ended(request: { route: string | undefined; method: string; status: number; seconds: number }): void;
  readonly contentType: string;
  /** In the text format of Prometheus. */
  scrape(): Promise<string>;
}

export const API_VERSION = '1.47';
export const MIN_API_VERSION = '1.24';
