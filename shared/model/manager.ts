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
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}
