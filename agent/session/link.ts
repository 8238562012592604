/** What the rest of the agent sees of its link to the managers. */
import type { Clock } from '../../shared/lib/clock.ts';
import type {
  AssignmentSet,
  NetworkReport,
  NodeDescription,
  TaskStatus,
  TaskUsage,
  TunnelKeys,
} from '../../shared/model/index.ts';
import type { NodeMethods, NodeStreams, StreamChunk } from '../../shared/model/node-methods/index.ts';

export interface LinkHandlers {
  /**
   * The whole assignment set after a full set or a diff was applied. The agent calls acknowledge only once what it must
   * do BEFORE others may rely on it is done: endpoints that are no longer serving are out of this node's kernel. `whole`
   * tells a full set, with which a session begins.
   */
  onAssignments(set: AssignmentSet, acknowledge: () => void, whole: boolean): void;
  call<M extends keyof NodeMethods>(
    method: M,
    params: NodeMethods[M]['params'],
    signal: AbortSignal,
  ): Promise<NodeMethods[M]['result']>;
  /** `input` is what the manager sends on the same stream: nothing for most. What is not taken stops its sender. */
  stream<M extends keyof NodeStreams>(
    method: M,
    params: NodeStreams[M],
    input: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): AsyncIterable<StreamChunk>;
}

export interface Link {
  /** Queues a status; sent in batches (<= 50 ms), kept until a manager has committed it, the furthest per task wins. */
  report(status: TaskStatus): void;
  /** Sent now or never: the next says it anew. */
  reportUsage(tasks: readonly TaskUsage[]): void;
  /** Tells the manager, and the next one, what there is to say of the node's networks. */
  reportNetwork(report: NetworkReport): void;
  /** Tells the manager, and the next one, what the node's keys for encrypted networks are now. */
  tellKeys(keys: TunnelKeys): void;
  /** True while a session is open. */
  readonly connected: boolean;
  /** Runs until the signal aborts: connects, reconnects with back-off to any of the managers. */
  run(signal: AbortSignal): Promise<void>;
}

export interface LinkOptions {
  readonly nodeId: string;
  readonly managers: readonly string[];
  readonly description: NodeDescription;
  /** How it is when a session begins with that manager: its address may be another one. Default: as above. */
  readonly describe?: (manager: string) => Promise<NodeDescription>;
  /** Told where managers are, whenever that has changed. */
  readonly onManagers?: (managers: readonly string[]) => void;
  /** Told who is no manager any more, whenever that has changed. */
  readonly onRemovedManagers?: (ids: readonly string[]) => void;
  /** The one that the statuses' times are of; default: the steady clock. */
  readonly clock?: Clock;
  /** A manager refuses this node's certificate, or shows one that this node does not trust. Awaited; must not reject. */
  readonly onRefused?: (signal: AbortSignal) => Promise<void>;
  /** Read anew for each session. */
  readonly tls: {
    readonly ca: string;
    readonly cert: string;
    readonly key: string;
    readonly removedManagers?: readonly string[];
  };
}
