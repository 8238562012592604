/** Of the roots of etcd's own authority, by their names (digests), at one manager. */
export interface EtcdRoots {
  /** It has their keys on its disk. */
  readonly holds: readonly string[];
  /** Its etcd, as it runs, believes members that show a certificate of these. */
  readonly trusts: readonly string[];
  /** What its etcd shows is of this one. */
  readonly shows: string;
}

/** The record at /managers/<id>: a manager of the cluster, or one that is about to become one. */
export interface ManagerRecord {
  readonly id: string;
  readonly hostname: string;
  /** host:port where nodes and other managers reach it. */
  readonly address: string;
  /** Where the etcds of other managers reach its own; absent when it uses one that is not its own. */
  readonly peerUrl?: string;
  /** `joining` until its etcd has caught up and votes. */
  readonly state: 'joining' | 'member';
  readonly version: string;
  /** The version of stored data that it knows; absent: the first. */
  readonly schemaVersion?: number;
  /** Names of the data keys that it has, while there are several. */
  readonly dataKeys?: readonly string[];
  /** While etcd's authority is replaced. */
  readonly etcdRoots?: EtcdRoots;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}
