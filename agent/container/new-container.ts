/** What a container is made of, and who hears of it. */
import type { LogPolicy } from '../../shared/lib/log-driver.ts';
import type { OciConfig } from '../native/container.ts';
import type { Sharing } from './peers.ts';
import type { ContainerRecord } from './record.ts';

export interface NewContainer {
  readonly record: ContainerRecord;
  readonly config: OciConfig;
  /** Directories of the image's layers, topmost first. */
  readonly layers: readonly string[];
  readonly log: LogPolicy;
  /** It has a user namespace of its own. */
  readonly remapped?: boolean;
  /** Whose namespaces it is in, too. */
  readonly sharing?: Sharing;
  /** Size of the memory that it lets others share. */
  readonly sharedBytes?: number;
  /** What is in its directory of the node besides, by name: what it sees under /etc. */
  readonly files?: Readonly<Record<string, string>>;
}

/** What a container has outside of its own directories, and which ends with it. */
export interface Belongings {
  remove(containerId: string): Promise<void>;
  /** All but those of `living` are removed. */
  sweep(living: readonly string[]): Promise<void>;
}

/** Hears of containers' turns. */
export interface Watcher {
  /** It was created; its command runs when this has resolved. */
  starting(id: string): Promise<void>;
  /** It has to do something in `starting`. */
  awaits(id: string): boolean;
  removed(id: string): void;
  /** Its run has ended. */
  ended?(id: string): void;
  /** It is about to be removed; it is when this has resolved. */
  leaving?(id: string): Promise<void>;
}
