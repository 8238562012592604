import type { Labels } from './service.ts';

/** What a mount asks for. Without it: as large as the kernel lets it be, 1777, nosuid, nodev and noexec, as with Docker. */
export interface TmpfsOptions {
  readonly readOnly?: boolean;
  readonly sizeBytes?: number;
  /** Permissions of its root, whose owners are uid and gid. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly exec?: boolean;
  readonly suid?: boolean;
  readonly dev?: boolean;
}

export type MountSpec =
  | {
      readonly kind: 'bind';
      readonly source: string;
      readonly target: string;
      readonly readOnly: boolean;
      readonly propagation?: BindPropagation;
      readonly createSource?: boolean;
      /** False: without what is mounted below the source. */
      readonly recursive?: false;
      /** Of a read-only one, false: what is mounted below can be written as it can there. */
      readonly readOnlyBelow?: false;
    }
  | {
      readonly kind: 'volume';
      readonly source: string;
      readonly target: string;
      readonly readOnly: boolean;
      readonly driver?: string;
      /** Of the driver, for a volume that does not exist yet. */
      readonly options?: Labels;
      readonly labels?: Labels;
      readonly noCopy?: boolean;
      /** A path in the volume, which is mounted in place of its root. */
      readonly subpath?: string;
    }
  | {
      /** What is in an image, of which nothing can be written. */
      readonly kind: 'image';
      /** Its name. */
      readonly source: string;
      readonly target: string;
      readonly readOnly: boolean;
      /** A path in the image, which is mounted in place of its root. */
      readonly subpath?: string;
    }
  | ({
      readonly kind: 'tmpfs';
      readonly target: string;
      readonly readOnly: boolean;
    } & TmpfsOptions);

export type BindPropagation = 'private' | 'rprivate' | 'shared' | 'rshared' | 'slave' | 'rslave';
