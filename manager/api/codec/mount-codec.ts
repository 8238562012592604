import { z } from 'zod';
import { assertNever } from '../../../shared/lib/assert-never.ts';
import type { BindPropagation, MountSpec } from '../../../shared/model/index.ts';
import { defined, given, zFlag, zLabels, zText, zWhole } from './common.ts';

const PROPAGATIONS = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'] as const;

export const zMount = z.object({
  Type: z.enum(['bind', 'volume', 'tmpfs'], { error: 'mounts of type bind, volume and tmpfs are supported' }),
  Source: zText,
  Target: z.string({ error: 'a mount needs a Target' }).min(1, 'a mount needs a Target'),
  ReadOnly: zFlag,
  // Only meaningful on a desktop's virtual machine; Docker on Linux ignores it too.
  Consistency: zText,
  BindOptions: z
    .object({
      Propagation: z.union([z.enum(PROPAGATIONS), z.literal('')]).nullish(),
      CreateMountpoint: zFlag,
    })
    .nullish(),
  VolumeOptions: z
    .object({
      NoCopy: zFlag,
      Labels: zLabels,
      DriverConfig: z
        .object({ Name: z.enum(['', 'local'], { error: 'the driver is local' }).nullish(), Options: zLabels })
        .nullish(),
    })
    .nullish(),
  TmpfsOptions: z.object({ SizeBytes: zWhole, Mode: zWhole }).nullish(),
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
      }) as MountSpec;
    case 'tmpfs':
      return defined({
        kind: 'tmpfs',
        ...common,
        sizeBytes: given(raw.TmpfsOptions?.SizeBytes),
        mode: given(raw.TmpfsOptions?.Mode),
      }) as MountSpec;
    default:
      return assertNever(raw.Type);
  }
}

export function encodeMount(mount: MountSpec): object {
  const common = { Target: mount.target, ...(mount.readOnly ? { ReadOnly: true } : {}) };
  switch (mount.kind) {
    case 'bind': {
      const options = defined({ Propagation: mount.propagation, CreateMountpoint: mount.createSource });
      return defined({ Type: 'bind', Source: mount.source, ...common, BindOptions: given(options) });
    }
    case 'volume': {
      const driver = given(defined({ Name: mount.driver, Options: mount.options }));
      const options = defined({ NoCopy: mount.noCopy, Labels: mount.labels, DriverConfig: driver });
      return defined({ Type: 'volume', Source: mount.source, ...common, VolumeOptions: given(options) });
    }
    case 'tmpfs': {
      const options = defined({ SizeBytes: mount.sizeBytes, Mode: mount.mode });
      return defined({ Type: 'tmpfs', ...common, TmpfsOptions: given(options) });
    }
    default:
      return assertNever(mount);
  }
}
