/** Volumes: the Docker Engine API's JSON and ours. */
import { z } from 'zod';
import { NotFoundError } from '../../../shared/errors/index.ts';
import type { NewVolume, VolumeInfo } from '../../../shared/model/node-methods/index.ts';
import { ANONYMOUS_LABEL } from '../../../shared/lib/local-volume.ts';
import { parseStrict } from '../http/unsupported.ts';
import { timeText, zLabels, zText } from './common.ts';

export const zVolume = z.object({ Name: zText, Driver: zText, DriverOpts: zLabels, Labels: zLabels });

/** `name` '': none was given. Throws NotFoundError for another driver, UnsupportedError for cluster volumes. */
export function decodeVolume(body: unknown): NewVolume {
  const raw = parseStrict(zVolume, body, 'volume');
  const driver = raw.Driver || 'local';
  if (driver !== 'local')
    throw new NotFoundError(`error looking up volume plugin ${driver}: plugin "${driver}" not found`);
  return { name: raw.Name ?? '', options: raw.DriverOpts ?? {}, labels: raw.Labels ?? {} };
}

export interface ShownVolume {
  readonly volume: VolumeInfo;
  /** NAME, or NODE/NAME where several nodes have one of the name. */
  readonly shownName: string;
  /** Host name of its node. */
  readonly nodeName: string;
}

export function encodeVolume({ volume, shownName, nodeName }: ShownVolume): Record<string, unknown> {
  const { options, labels } = volume;
  return {
    CreatedAt: timeText(volume.createdAtMs),
    Driver: 'local',
    Labels: Object.keys(labels).length === 0 ? null : labels,
    Mountpoint: volume.mountpoint,
    Name: shownName,
    Options: Object.keys(options).length === 0 ? null : options,
    Scope: 'local',
    Status: { Node: nodeName },
  };
}

export function isAnonymous({ name, labels }: Pick<VolumeInfo, 'name' | 'labels'>): boolean {
  return Object.hasOwn(labels, ANONYMOUS_LABEL) && /^[0-9a-f]{64}$/.test(name);
}
