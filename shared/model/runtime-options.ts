import type { DeviceRequest } from './device-request.ts';
import type { LifecycleHook } from './lifecycle-hook.ts';

/** A device of the node in the container. */
export interface DeviceMapping {
  readonly source: string;
  readonly target: string;
  /** Letters of rwm: read, write, make nodes. */
  readonly access: string;
}

/** Of one block device of the node. */
export interface DeviceAmount {
  readonly path: string;
  readonly amount: number;
}

/** Shares of the time of block devices, and limits for some, in bytes and operations a second. */
export interface BlockIo {
  /** From 10 to 1000, against other containers. */
  readonly weight?: number;
  readonly weights?: readonly DeviceAmount[];
  readonly readBps?: readonly DeviceAmount[];
  readonly writeBps?: readonly DeviceAmount[];
  readonly readIops?: readonly DeviceAmount[];
  readonly writeIops?: readonly DeviceAmount[];
}

/**
 * What a compose file can ask of a container's runtime and the Docker API's ContainerSpec has no field for. The names of
 * the containers' API (HostConfig) are used where the API shows it.
 */
export interface RuntimeOptions {
  /** All capabilities that the agent has, all devices, no seccomp filter, nothing masked. */
  readonly privileged?: boolean;
  /** Name of a profile that must be loaded on the node, and is never `unconfined`. Absent: none. */
  readonly appArmorProfile?: string;
  /** What is hidden, and what can not be written, in place of the usual paths; [] is nothing. */
  readonly maskedPaths?: readonly string[];
  readonly readOnlyPaths?: readonly string[];
  /** For the runtime's configuration; the runtime itself does nothing by them. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly devices?: readonly DeviceMapping[];
  /** Devices that files of the node describe (CDI). */
  readonly deviceRequests?: readonly DeviceRequest[];
  /** "c 1:3 rwm" as the device cgroup has them; * for any number. */
  readonly deviceRules?: readonly string[];
  /** Size of /dev/shm; 64 MiB without. */
  readonly shmBytes?: number;
  /** How much the container may write over its image; only nodes whose file system has project quotas can run it. */
  readonly diskBytes?: number;
  /** The node's namespace in place of one of its own. */
  readonly hostPid?: boolean;
  readonly hostIpc?: boolean;
  readonly hostUts?: boolean;
  readonly hostCgroup?: boolean;
  /** `private`: ids of its own, others on the node; `host`: the node's, whatever is usual there. */
  readonly userNamespace?: 'private' | 'host';
  /** The node's network, or none but the loopback; absent: the service's networks. */
  readonly network?: 'host' | 'none';
  /** Of its device on ingress, where it has no network of its own. */
  readonly macAddress?: string;
  /** Ids of containers on the same node whose namespaces it is in, in place of its own. */
  readonly networkOf?: string;
  readonly pidOf?: string;
  readonly ipcOf?: string;
  /** Others may share its ipc namespace and /dev/shm. */
  readonly ipcShareable?: boolean;
  readonly domainname?: string;
  /** cgroup weight; 1024 is usual. */
  readonly cpuShares?: number;
  /** Length of the period that a limit of CPU time is counted in, microseconds; 100,000 without. */
  readonly cpuPeriodUs?: number;
  /** Such as "0-2,4". */
  readonly cpuset?: string;
  /** Memory nodes, likewise. */
  readonly cpusetMems?: string;
  readonly blockIo?: BlockIo;
  /** Memory and swap together; -1 is no limit. */
  readonly memorySwapBytes?: number;
  /** How readily its memory is swapped out, 0 to 100; of cgroup v1 alone: a node with v2 can not run it. */
  readonly memorySwappiness?: number;
  /** What finds no memory below its limit waits for some, and is not killed; of cgroup v1 alone. */
  readonly oomKillDisable?: boolean;
  /** Run in the container one after the other, once its process is; it does not count as started before, and one that fails ends it. */
  readonly postStart?: readonly LifecycleHook[];
  /** The same, before it is told to stop and within its grace period; whatever becomes of them, it is stopped then. */
  readonly preStop?: readonly LifecycleHook[];
  /** `missing`: an image that is here is used without asking its registry; `never`: and no other. */
  readonly pullPolicy?: 'missing' | 'never';
}
