/** What a manager may ask of a node about its volumes, and about what takes room on it. */
import type { Nothing } from './common.ts';

type Texts = Readonly<Record<string, string>>;

export interface VolumeInfo {
  readonly name: string;
  /** Of the local driver: type, device, o. */
  readonly options: Texts;
  readonly labels: Texts;
  readonly createdAtMs: number;
  readonly mountpoint: string;
  /** Containers that have it, whether they run or have ended. */
  readonly usedBy: readonly string[];
}

export interface VolumeUsage {
  readonly volume: VolumeInfo;
  /** -1: not known. */
  readonly bytes: number;
}

export interface ContainerUsage {
  readonly containerId: string;
  /** Written over its image; -1: not known. */
  readonly ownBytes: number;
  /** With its image. */
  readonly totalBytes: number;
}

export interface NewVolume {
  readonly name: string;
  readonly options: Texts;
  readonly labels: Texts;
}

export interface VolumeMethods {
  /** `freeBytes`: of the file system that holds them. */
  'volume.list': { params: Nothing; result: { volumes: readonly VolumeInfo[]; freeBytes: number } };
  'volume.inspect': { params: { name: string }; result: VolumeInfo };
  /** One that exists is left as it is. `created` is false then. */
  'volume.create': { params: NewVolume; result: { volume: VolumeInfo; created: boolean } };
  /** Conflict when a container has it. `force`: one that does not exist is no error. */
  'volume.remove': { params: { name: string; force: boolean }; result: Nothing };
  /** Those of the names that no container has; the bytes that they held. */
  'volume.prune': {
    params: { names: readonly string[] };
    result: { removed: readonly string[]; bytes: number };
  };
  /** What takes room, counted for at most `limitMs`. */
  'storage.usage': {
    params: { volumes: boolean; containers: boolean; limitMs: number };
    result: { volumes: readonly VolumeUsage[]; containers: readonly ContainerUsage[] };
  };
}
