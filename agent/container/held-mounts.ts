/** PURE. What is mounted for a container, as its record keeps it: to be found again when it does not run. */
import type { MountSpec } from '../../shared/model/index.ts';
import type { BindMount } from './runtime-spec.ts';

export interface HeldMount {
  readonly kind: 'bind' | 'volume';
  /** Of a volume. */
  readonly name?: string;
  /** On the node. */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** A volume that was made for the container alone. */
  readonly anonymous?: true;
  /** Of a volume: what is mounted in place of its root. */
  readonly subpath?: string;
  /** False: a directory of the node without what is mounted below it. */
  readonly recursive?: false;
}

/**
 * `mounts` with the volumes' names filled in, of which `anonymous` were made up; `binds` has the places on the node of all
 * of them.
 */
export function heldMounts(
  mounts: readonly MountSpec[],
  anonymous: readonly string[],
  binds: readonly BindMount[],
): HeldMount[] {
  return mounts.flatMap((mount): HeldMount[] => {
    const source = binds.find(({ target }) => target === mount.target)?.source;
    if (mount.kind === 'tmpfs' || mount.kind === 'image' || source === undefined) return [];
    const { kind, target, readOnly } = mount;
    const common = { kind, source, target, readOnly };
    if (mount.kind === 'bind')
      return [{ ...common, ...(mount.recursive === false ? { recursive: false } : {}) }];
    const mark = anonymous.includes(mount.source) ? ({ anonymous: true } as const) : {};
    const part = mount.subpath === undefined ? {} : { subpath: mount.subpath };
    return [{ ...common, name: mount.source, ...mark, ...part }];
  });
}

/** Names of the volumes that the container has. */
export function volumesOf(record: { readonly mounts?: readonly HeldMount[] }): string[] {
  return (record.mounts ?? []).flatMap(({ name }) => (name === undefined ? [] : [name]));
}

/** Those that go with the container of a service. */
export function anonymousVolumesOf({ mounts = [] }: { readonly mounts?: readonly HeldMount[] }): string[] {
  return mounts.flatMap(({ name, anonymous }) => (name === undefined || anonymous !== true ? [] : [name]));
}
