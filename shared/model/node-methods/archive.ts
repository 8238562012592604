/** What a manager may ask of a node about the files of its containers. */
import type { OfContainer } from './common.ts';

/** A path inside a container, as lstat(2) has it. */
export interface PathStat {
  /** The last component of what was asked for. */
  readonly name: string;
  readonly sizeBytes: number;
  /** st_mode, inode(7). */
  readonly mode: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanos: number;
  /** Where a symbolic link ends, as far as it leads anywhere; else ''. */
  readonly linkTarget: string;
}

/** `path` is absolute, or taken as from the container's root. */
export interface OfPath extends OfContainer {
  readonly path: string;
}

export interface ArchiveMethods {
  'container.archive.stat': { params: OfPath; result: PathStat };
}

export interface ArchiveStreams {
  /** The first chunk is of stream 2 and holds a PathStat as JSON; the others are of stream 1: a tar archive. */
  'container.archive.get': OfPath;
  /** The input is a tar archive, plain or compressed by gzip, bzip2, xz or zstd. No chunks; ends when all is unpacked. */
  'container.archive.put': OfPath & {
    /** A directory is not replaced by something else, nor the other way. */
    readonly keepKinds: boolean;
    /** All belongs to the container's user, unless that is root. */
    readonly own: boolean;
  };
  /** The container's root, without what is mounted in it, as a tar archive. */
  'container.export': OfContainer;
  /** What it changed of its image: `C /path`, `A /path`, `D /path`, each ended by a NUL byte. */
  'container.changes': OfContainer;
}
