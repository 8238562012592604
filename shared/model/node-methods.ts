/** What a manager may ask of a node over its session: the methods, their shapes. */

/** A piece of a stream: 1 stdout, 2 stderr (Docker's numbers; 0 is stdin). */
export interface StreamChunk {
  readonly stream: 0 | 1 | 2;
  readonly data: Buffer;
}

/** What a container's log line looks like on the way: RFC3339Nano time, then the text, newline included. */
export interface LogsParams {
  readonly containerId: string;
  readonly follow: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Last n lines; absent: all. */
  readonly tail?: number;
  readonly sinceMs?: number;
  readonly untilMs?: number;
}

/** A container as its node describes it. */
export interface ContainerInfo {
  readonly id: string;
  readonly taskId: string;
  readonly name: string;
  readonly image: string;
  readonly imageId: string;
  readonly serviceId: string;
  readonly serviceName: string;
  readonly slot: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly path: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly createdAtMs: number;
  readonly state: 'created' | 'running' | 'exited';
  readonly pid: number;
  readonly exitCode?: number;
  readonly error?: string;
  readonly oomKilled?: boolean;
  readonly health?: 'starting' | 'healthy' | 'unhealthy';
  readonly startedAtMs?: number;
  readonly finishedAtMs?: number;
  readonly logPath: string;
  readonly networks: readonly { readonly network: string; readonly address: string }[];
}

export interface NodeMethods {
  'container.list': { params: Record<string, never>; result: readonly ContainerInfo[] };
  'container.inspect': { params: { containerId: string }; result: ContainerInfo };
}

export interface NodeStreams {
  /** Chunk data: `<RFC3339Nano> <text>\n` one record a chunk. Ends when the log ends (or never, with follow, until it stops). */
  'container.logs': LogsParams;
}
