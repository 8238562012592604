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
  readonly state: 'created' | 'running' | 'paused' | 'exited';
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

/** A command that shall run in a container; nothing runs yet. */
export interface ExecSpec {
  /** 64 hexadecimal digits, chosen by the manager. */
  readonly execId: string;
  readonly containerId: string;
  readonly args: readonly string[];
  /** KEY=value is added to the container's, KEY alone removed from it. */
  readonly env: readonly string[];
  /** As USER of an image; empty: the container's own. */
  readonly user: string;
  /** Absolute; empty: the container's own. */
  readonly workingDir: string;
  readonly tty: boolean;
  readonly attachStdin: boolean;
  readonly attachStdout: boolean;
  readonly attachStderr: boolean;
}

/** Of a terminal, in characters. */
export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

export interface ExecInfo {
  readonly spec: ExecSpec;
  readonly state: 'created' | 'running' | 'exited';
  /** In the node's pid namespace; 0 before it runs. */
  readonly pid: number;
  /** 126: it could not be run; 127: there is no such command; 128 + n after signal n. */
  readonly exitCode?: number;
}

/** What a container uses at one moment. Counters grow from the container's start. */
export interface ContainerSample {
  readonly atMs: number;
  readonly cpu: {
    readonly totalNs: number;
    readonly userNs: number;
    readonly kernelNs: number;
    /** Of the whole machine, idle time included. */
    readonly systemNs: number;
    readonly onlineCpus: number;
    readonly periods: number;
    readonly throttledPeriods: number;
    readonly throttledNs: number;
  };
  readonly memory: {
    readonly usageBytes: number;
    readonly maxUsageBytes?: number;
    /** The machine's when the container has none of its own. */
    readonly limitBytes: number;
    /** memory.stat as the kernel names it: v1 and v2 differ. */
    readonly stats: Readonly<Record<string, number>>;
  };
  readonly pids: { readonly current: number; readonly limit?: number };
  readonly blockIo: readonly {
    readonly major: number;
    readonly minor: number;
    readonly op: 'read' | 'write';
    readonly bytes: number;
  }[];
  /** By interface, without the loopback. */
  readonly networks: Readonly<Record<string, NetworkCounters>>;
}

export interface NetworkCounters {
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

interface OfContainer {
  readonly containerId: string;
}

type Nothing = Record<string, never>;

export interface NodeMethods {
  'container.list': { params: Nothing; result: readonly ContainerInfo[] };
  'container.inspect': { params: { containerId: string }; result: ContainerInfo };
  /** Sends a signal, by name or number, to a container that runs: conflict when it does not. */
  'container.kill': { params: OfContainer & { signal: string }; result: Nothing };
  /** Resolves when it has stopped. Absent fields: the container's own. `stopped`: it had stopped before. */
  'container.stop': {
    params: OfContainer & { signal?: string; graceMs?: number };
    result: { stopped: boolean };
  };
  'container.pause': { params: OfContainer; result: Nothing };
  'container.unpause': { params: OfContainer; result: Nothing };
  /** Resolves when the container has ended. */
  'container.wait': { params: OfContainer; result: { exitCode: number; error?: string } };
  /** Columns as ps(1) has them for `-ef` or `aux`. */
  'container.top': {
    params: OfContainer & { format: 'ef' | 'aux' };
    result: { titles: readonly string[]; processes: readonly (readonly string[])[] };
  };
  /** No sample: it does not run. */
  'container.sample': { params: OfContainer; result: { sample?: ContainerSample } };
  'exec.create': { params: ExecSpec; result: Nothing };
  'exec.inspect': { params: { execId: string }; result: ExecInfo };
  /** Kept for its start when it does not run yet. */
  'exec.resize': { params: { execId: string } & TerminalSize; result: Nothing };
  /** Runs it with nobody attached; resolves once it runs. */
  'exec.start': { params: { execId: string; size?: TerminalSize }; result: Nothing };
}

export interface NodeStreams {
  /** Chunk data: `<RFC3339Nano> <text>\n` one record a chunk. Ends when the log ends (or never, with follow, until it stops). */
  'container.logs': LogsParams;
  /**
   * Runs it; its input is the command's standard input, the chunks its output. Ends once the command has ended; an abort
   * leaves it running.
   */
  'exec.attach': { readonly execId: string; readonly size?: TerminalSize };
}
