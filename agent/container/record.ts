/** What the agent keeps on disk of each container, so that it can adopt it after a restart. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { IdRange } from '../../shared/lib/id-ranges.ts';
import type { HealthCheck, LifecycleHook } from '../../shared/model/index.ts';
import type { OciProcess } from '../native/container.ts';
import { type NewFile, writeBatch } from '../native/file-batch.ts';
import type { HeldMount } from './held-mounts.ts';
import type { LogTarget } from './log-message.ts';
import type { MountedIds } from './mounted-images.ts';
import type { StandaloneRecord } from './standalone.ts';

/** How a container ended. */
export interface ContainerExit {
  /** 128 + signal when a signal ended it. */
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly finishedAtMs: number;
  readonly startedAtMs?: number;
  /** Why it could not be started, or that its monitor was lost. */
  readonly error?: string;
  /** Its command could not be run. */
  readonly neverRan?: true;
}

/** record.json in the container's directory. */
export interface ContainerRecord {
  readonly id: string;
  readonly name: string;
  readonly taskId: string;
  readonly serviceId: string;
  readonly serviceName: string;
  readonly slot: number;
  readonly image: string;
  readonly imageId: string;
  readonly mountedImages?: MountedIds;
  readonly labels: Readonly<Record<string, string>>;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
  /** For further commands in the container; records of version 0.1.0 lack these. */
  readonly additionalGids?: readonly number[];
  readonly capabilities?: readonly string[];
  readonly rlimits?: OciProcess['rlimits'];
  readonly noNewPrivileges?: boolean;
  /** Of AppArmor. Absent: none. */
  readonly apparmorProfile?: string;
  /** Of SELinux, of its processes and its files. Absent: as the agent's programs have them. */
  readonly selinuxLabel?: string;
  readonly mountLabel?: string;
  readonly tty?: boolean;
  readonly openStdin?: boolean;
  readonly stdinOnce?: boolean;
  readonly createdAtMs: number;
  readonly stopSignal: number;
  readonly stopGraceMs: number;
  readonly healthCheck?: HealthCheck;
  readonly networks: readonly { readonly network: string; readonly address: string }[];
  readonly exit?: ContainerExit;
  readonly standalone?: StandaloneRecord;
  /** Volumes and directories of the node; records of version 0.1.0 lack these. */
  readonly mounts?: readonly HeldMount[];
  readonly readOnlyRoot?: boolean;
  /** The ids of the node that its own are, while it runs. */
  readonly userRange?: IdRange;
  /** With the network of another container: whose files below /etc it has. */
  readonly filesOf?: string;
  /** Others may share its ipc namespace; its /dev/shm is a mount of the node. */
  readonly sharesMemory?: true;
  /** Its output is not kept. */
  readonly withoutLog?: true;
  /** How much it may write over its image. */
  readonly diskBytes?: number;
  /** Commands in it after its start and before its stop. */
  readonly postStart?: readonly LifecycleHook[];
  readonly preStop?: readonly LifecycleHook[];
  /** Where its output is sent, too. */
  readonly forward?: LogTarget;
}

/** Written whole, then renamed: a killed agent leaves the old record or the new one. */
export function recordFile(directory: string, record: ContainerRecord): NewFile {
  return { path: join(directory, 'record.json'), mode: 0o600, text: JSON.stringify(record), replace: true };
}

export function writeRecord(directory: string, record: ContainerRecord): Promise<void> {
  return writeBatch({ directories: [], files: [recordFile(directory, record)] });
}

/** Undefined when the directory has none: the agent was killed before the container existed. */
export async function readRecord(directory: string): Promise<ContainerRecord | undefined> {
  try {
    return JSON.parse(await readFile(join(directory, 'record.json'), 'utf8')) as ContainerRecord;
  } catch {
    return undefined;
  }
}
