/** What a manager may ask of a node about its containers. */
import type { PsColumn } from '../../lib/ps-columns.ts';
import type { ResourceAmounts } from '../service.ts';
import type { RuntimeOptions } from '../runtime-options.ts';
import type { Nothing, OfContainer } from './common.ts';

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

/** One run of a health check. */
export interface ProbeResult {
  readonly startMs: number;
  readonly endMs: number;
  /** -1: it did not end by itself. */
  readonly exitCode: number;
  readonly output: string;
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
  /** What its health check found, in an inspection only. */
  readonly probes?: { readonly failures: number; readonly log: readonly ProbeResult[] };
  readonly startedAtMs?: number;
  readonly finishedAtMs?: number;
  readonly logPath: string;
  readonly tty?: boolean;
  readonly openStdin?: boolean;
  readonly stdinOnce?: boolean;
  readonly networks: readonly { readonly network: string; readonly address: string }[];
  /** Of AppArmor. Absent: none. */
  readonly apparmorProfile?: string;
  /** Of SELinux, of its processes and of its files. */
  readonly processLabel?: string;
  readonly mountLabel?: string;
  /** Of a standalone container only. */
  readonly details?: ContainerDetails;
}

/** Something mounted into a container, as its node has it. */
export interface MountPoint {
  readonly kind: 'bind' | 'volume' | 'tmpfs' | 'image';
  /** Of a volume. */
  readonly name?: string;
  /** Path on the node; '' for tmpfs; of an image its id. */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly propagation?: string;
}

/** What became of a standalone container's options and its image's together. */
export interface ContainerDetails {
  readonly hostname: string;
  readonly domainname: string;
  readonly user: string;
  readonly workingDir: string;
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** The image's: `80/tcp`. */
  readonly exposedPorts: readonly string[];
  /** The image's: paths. */
  readonly volumes: readonly string[];
  readonly stopSignal: string;
  readonly mounts: readonly MountPoint[];
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
  /** How its tasks waited for each resource; absent where the kernel does not tell it of a control group (v1). */
  readonly pressure?: Readonly<Partial<Record<PressureResource, Pressure>>>;
}

export type PressureResource = 'cpu' | 'memory' | 'io';

/** `some`: at least one task waited; `full`: all did. Averages in per cent of the last 10, 60 and 300 seconds. */
export type Pressure = Readonly<Partial<Record<'some' | 'full', StallTime>>>;

export interface StallTime {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  readonly totalUs: number;
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

/** What a container may use of its node. */
export interface ContainerLimits {
  readonly limits: ResourceAmounts;
  readonly reservations: ResourceAmounts;
  readonly options: Pick<
    RuntimeOptions,
    'cpuShares' | 'cpuset' | 'cpusetMems' | 'memorySwapBytes' | 'cpuPeriodUs'
  >;
}

export interface ContainerMethods {
  'container.list': { params: Nothing; result: readonly ContainerInfo[] };
  'container.inspect': { params: { containerId: string }; result: ContainerInfo };
  /** Sends a signal, by name or number, to a container that runs: conflict when it does not. */
  'container.kill': { params: OfContainer & { signal: string }; result: Nothing };
  /** Resolves when it has stopped. Absent fields: the container's own. `stopped`: it had stopped before. */
  'container.stop': {
    params: OfContainer & { signal?: string; graceMs?: number };
    result: { stopped: boolean };
  };
  /** From now on the volumes that were made for it alone go with it. */
  'container.discard-volumes': { params: OfContainer; result: Nothing };
  /** Resolves when the node has nothing of it, or never had. */
  'container.until-removed': { params: OfContainer; result: Nothing };
  /** What it has written, and that with its image's layers. */
  'container.size': { params: OfContainer; result: { ownBytes: number; totalBytes: number } };
  /** Sets the limits of a container, if it runs; conflict when they can not be. */
  'container.update': { params: OfContainer & { limits: ContainerLimits }; result: Nothing };
  'container.pause': { params: OfContainer; result: Nothing };
  'container.unpause': { params: OfContainer; result: Nothing };
  /** Resolves when the container has ended. */
  'container.wait': { params: OfContainer; result: { exitCode: number; error?: string } };
  /** Columns as ps(1) has them for `-ef` or `aux`, or those that are named. */
  'container.top': {
    params: OfContainer & { format: 'ef' | 'aux'; columns?: readonly PsColumn[] };
    result: { titles: readonly string[]; processes: readonly (readonly string[])[] };
  };
  /** No sample: it does not run. */
  'container.sample': { params: OfContainer; result: { sample?: ContainerSample } };
}

export interface ContainerStreams {
  /**
   * Chunk data: `<RFC3339Nano> <text>\n`, many records a chunk; one that is longer than a chunk is in several. Ends when
   * the log ends (or never, with follow, until it stops).
   */
  'container.logs': LogsParams;
}
