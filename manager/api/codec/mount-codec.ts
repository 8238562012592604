import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import { assertNever } from '../../../shared/lib/assert-never.ts';
import { parseTmpfsOption } from '../../../shared/lib/tmpfs-options.ts';
import type { BindPropagation, MountSpec, TmpfsOptions } from '../../../shared/model/index.ts';
import { defined, given, zFlag, zLabels, zText, zWhole } from './common.ts';

const PROPAGATIONS = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'] as const;

export const zMount = z.object({
  Type: z.enum(['bind', 'volume', 'tmpfs', 'image'], {
    error: 'mounts of type bind, volume, tmpfs and image are supported',
  }),
  Source: zText,
  Target: z.string({ error: 'a mount needs a Target' }).min(1, 'a mount needs a Target'),
  ReadOnly: zFlag,
  // Only meaningful on a desktop's virtual machine; Docker on Linux ignores it too.
  Consistency: zText,
  BindOptions: z
    .object({
      Propagation: z.union([z.enum(PROPAGATIONS), z.literal('')]).nullish(),
      CreateMountpoint: zFlag,
      NonRecursive: zFlag,
      // A read-only bind is so with all that is mounted below it.
      ReadOnlyForceRecursive: zFlag,
      ReadOnlyNonRecursive: zFlag,
    })
    .nullish(),
  ImageOptions: z.object({ Subpath: zText }).nullish(),
  VolumeOptions: z
    .object({
      NoCopy: zFlag,
      Subpath: zText,
      Labels: zLabels,
      DriverConfig: z
        .object({ Name: z.enum(['', 'local'], { error: 'the driver is local' }).nullish(), Options: zLabels })
        .nullish(),
    })
    .nullish(),
  TmpfsOptions: z
    .object({ SizeBytes: zWhole, Mode: zWhole, Options: z.array(z.array(z.string())).nullish() })
    .nullish(),
});

type RawMount = z.output<typeof zMount>;

export function decodeMount(raw: RawMount): MountSpec {
  const common = { target: raw.Target, readOnly: raw.ReadOnly ?? false };
  switch (raw.Type) {
    case 'bind':
      return defined({
        kind: 'bind',
        source: raw.Source ?? '',
        ...common,
        propagation: given(raw.BindOptions?.Propagation) as BindPropagation | undefined,
        createSource: given(raw.BindOptions?.CreateMountpoint),
        recursive: raw.BindOptions?.NonRecursive === true ? false : undefined,
        readOnlyBelow: raw.BindOptions?.ReadOnlyNonRecursive === true ? false : undefined,
      }) as MountSpec;
    case 'image':
      return defined({
        kind: 'image',
        source: raw.Source ?? '',
        target: raw.Target,
        readOnly: true,
        subpath: given(raw.ImageOptions?.Subpath),
      }) as MountSpec;
    case 'volume':
      return defined({
        kind: 'volume',
        source: raw.Source ?? '',
        ...common,
        driver: given(raw.VolumeOptions?.DriverConfig?.Name),
        options: given(raw.VolumeOptions?.DriverConfig?.Options),
        labels: given(raw.VolumeOptions?.Labels),
        noCopy: given(raw.VolumeOptions?.NoCopy),
        subpath: given(raw.VolumeOptions?.Subpath),
      }) as MountSpec;
    case 'tmpfs':
      return defined({
        kind: 'tmpfs',
        ...common,
        sizeBytes: given(raw.TmpfsOptions?.SizeBytes),
        mode: given(raw.TmpfsOptions?.Mode),
        ...decodeTmpfsOptions(raw.TmpfsOptions?.Options ?? []),
      }) as MountSpec;
    default:
      return assertNever(raw.Type);
  }
}

/** `[["exec"], ["uid", "1000"]]`; size, mode and ro have fields of their own. */
function decodeTmpfsOptions(options: readonly (readonly string[])[]): TmpfsOptions {
  return Object.assign({}, ...options.map((words) => tmpfsOption(words.join('=')))) as TmpfsOptions;
}

function tmpfsOption(option: string): TmpfsOptions {
  const found = /^(?:size|mode|ro|rw)\b/.test(option) ? undefined : parseTmpfsOption(option);
  if (found === undefined)
    throw new InvalidError(
      `TmpfsOptions.Options: '${option}': uid=, gid=, exec, noexec, suid, nosuid, dev and nodev are supported`,
    );
  return found;
}

function encodeTmpfsOptions({ uid, gid, exec, suid, dev }: TmpfsOptions): string[][] {
  const ids = Object.entries({ uid, gid }).flatMap(([key, id]) =>
    id === undefined ? [] : [[key, String(id)]],
  );
  const flags = Object.entries({ exec, suid, dev }).flatMap(([key, on]) =>
    on === undefined ? [] : [[on ? key : `no${key}`]],
  );
  return [...ids, ...flags];
}

export function encodeMount(mount: MountSpec): object {
  const common = { Target: mount.target, ...(mount.readOnly ? { ReadOnly: true } : {}) };
  switch (mount.kind) {
    case 'bind': {
      const options = defined({
        Propagation: mount.propagation,
        CreateMountpoint: mount.createSource,
        NonRecursive: mount.recursive === false ? true : undefined,
        ReadOnlyNonRecursive: mount.readOnlyBelow === false ? true : undefined,
      });
      return defined({ Type: 'bind', Source: mount.source, ...common, BindOptions: given(options) });
    }
    case 'volume': {
      const driver = given(defined({ Name: mount.driver, Options: mount.options }));
      const { noCopy: NoCopy, subpath: Subpath, labels: Labels } = mount;
      const options = defined({ NoCopy, Subpath, Labels, DriverConfig: driver });
      return defined({ Type: 'volume', Source: mount.source, ...common, VolumeOptions: given(options) });
    }
    case 'image': {
      const options = given(defined({ Subpath: mount.subpath }));
      return defined({ Type: 'image', Source: mount.source, ...common, ImageOptions: options });
    }
    case 'tmpfs': {
      const Options = given(encodeTmpfsOptions(mount));
      const options = defined({ SizeBytes: mount.sizeBytes, Mode: mount.mode, Options });
      return defined({ Type: 'tmpfs', ...common, TmpfsOptions: given(options) });
    }
    default:
      return assertNever(mount);
  }
}
