/** What the rest of the manager sees of the store: an in-memory mirror to read, guarded transactions to write. */
import type {
  Cluster,
  Config,
  ManagerRecord,
  Network,
  Node,
  Revision,
  Secret,
  Service,
  Stack,
  StackRevision,
  Task,
  TaskStatus,
  User,
} from '../../shared/model/index.ts';

/** Each table is the keys /shoal/v1/<table>/<id> in etcd, JSON values. */
export interface Tables {
  cluster: Cluster;
  nodes: Node;
  /** Certificates' fingerprints and the like are not here: `cluster` and `nodes` suffice for now. */
  services: Service;
  /** Key: `${serviceId}.${revision}`. */
  revisions: Revision;
  /** Desired state; managers write it. */
  tasks: Task;
  /** Observed state; written for the node's agent only (and `orphaned`, `rejected` by a manager). Key: task id. */
  statuses: TaskStatus;
  networks: Network;
  /** Names that must be unique: key `${kind}:${name}`, e.g. `service:web`; value: who holds it. */
  names: { readonly id: string };
  stacks: Stack;
  /** Contents sealed. */
  secrets: Secret;
  configs: Config;
  /** Key: `${stack}.${revision}`. */
  stackRevisions: StackRevision;
  managers: ManagerRecord;
  /** Who may use the API over TCP. Key: the name. */
  users: User;
}

export type TableName = keyof Tables;

export const TABLE_NAMES = [
  'cluster',
  'nodes',
  'services',
  'revisions',
  'tasks',
  'statuses',
  'networks',
  'names',
  'stacks',
  'secrets',
  'configs',
  'stackRevisions',
  'managers',
  'users',
] as const satisfies readonly TableName[];

/** One put (value) or delete (null). `expect` guards it: the version that was read, 0 for "must not exist". */
export type Write = {
  [T in TableName]: {
    readonly table: T;
    readonly key: string;
    readonly value: Tables[T] | null;
    readonly expect?: number;
  };
}[TableName];

/** A guard without a write: the object must still have this version (0: must still be absent). */
export interface Guard {
  readonly table: TableName;
  readonly key: string;
  readonly expect: number;
}

/** The key of the election that the writer holds: the transaction fails unless its create revision is this. */
export interface Fence {
  readonly key: string;
  readonly createRevision: string;
}

/** One change as the mirror saw it. `before`/`after` absent for created/deleted. */
export type Change = {
  [T in TableName]: {
    readonly table: T;
    readonly key: string;
    readonly before: Tables[T] | undefined;
    readonly after: Tables[T] | undefined;
    readonly version: number;
  };
}[TableName];

export interface CommitOptions {
  readonly guards?: readonly Guard[];
  readonly fence?: Fence;
  readonly signal: AbortSignal;
}

export interface Store {
  /** Newest etcd revision that the mirror contains. */
  readonly revision: number;
  get<T extends TableName>(table: T, key: string): Tables[T] | undefined;
  /** mod_revision of the object as mirrored; 0 when absent. */
  version(table: TableName, key: string): number;
  all<T extends TableName>(table: T): ReadonlyMap<string, Tables[T]>;
  /** Secondary indexes, kept up to date by the mirror. Empty set when none. Values are task ids. */
  tasksOfService(serviceId: string): ReadonlySet<string>;
  tasksOfNode(nodeId: string): ReadonlySet<string>;
  /**
   * One atomic transaction. Resolves with its revision once this mirror contains it (read your own writes). Rejects
   * with StaleError when a guard, an `expect` or the fence does not hold (nothing was written), UnavailableError when
   * etcd can not be reached. Concurrent commits may be grouped into one etcd transaction.
   */
  commit(writes: readonly Write[], options: CommitOptions): Promise<number>;
  /** Called synchronously after each batch is applied to the mirror. Returns the undo. */
  onChange(listener: (changes: readonly Change[]) => void): () => void;
}

/** Told what it costs to write. */
export interface StoreObserver {
  /** One commit, from the call to its answer; `stale` wrote nothing because something had changed. */
  committed(seconds: number, outcome: 'written' | 'stale' | 'failed'): void;
  /** How long after etcd's answer a commit arrived in the mirror. */
  mirrored(seconds: number): void;
}

/** A guard did not hold. Read again and decide again. */
export class StaleError extends Error {
  override readonly name = 'StaleError';
  readonly temporary = true;
  /** True when the fence failed: this manager is not the leader any more. */
  readonly fenced: boolean;
  constructor(message: string, fenced: boolean) {
    super(message);
    this.fenced = fenced;
  }
}
