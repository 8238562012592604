/** The directories that a container writes to, over its image, and how much they may take. */
import { join } from 'node:path';
import { InvalidError } from '../../shared/errors/index.ts';
import type { ContainerSpec } from '../../shared/model/index.ts';
import { checkDiskLimit, clearDiskLimit, setDiskLimit } from '../native/disk-limit.ts';
import { NativeError } from '../native/errors.ts';
import { type NewDirectory, writeBatch } from '../native/file-batch.ts';
import type { ContainerRecord } from './record.ts';

interface Layer {
  readonly upper: string;
  readonly work: string;
}

/** What of it is said of the node, of the directory that the containers' are below. */
export async function diskAbility(directory: string): Promise<{ limitsDisks?: true }> {
  return checkDiskLimit(directory).then(
    () => ({ limitsDisks: true }),
    () => ({}),
  );
}

/** Throws InvalidError that names what the file system of the containers lacks for what the container asks for. */
export async function checkDisk(containersDirectory: string, { runtime = {} }: ContainerSpec): Promise<void> {
  if (runtime.diskBytes === undefined) return;
  try {
    await checkDiskLimit(containersDirectory);
  } catch (error) {
    if (!(error instanceof NativeError)) throw error;
    throw new InvalidError(
      `StorageOpt size: this node can not limit the disk of a container: ${containersDirectory}: ${error.detail}`,
    );
  }
}

export function writableLayer(directory: string): Layer {
  return { upper: join(directory, 'upper'), work: join(directory, 'work') };
}

export function layerDirectories({ upper, work }: Layer): NewDirectory[] {
  return [
    { path: upper, mode: 0o755 },
    { path: work, mode: 0o700 },
  ];
}

/** Before anything is written to it, by whomever. */
export async function limitLayer(
  { upper, work }: Layer,
  { diskBytes }: Pick<ContainerRecord, 'diskBytes'>,
): Promise<void> {
  if (diskBytes !== undefined) await setDiskLimit(upper, work, diskBytes);
}

/** Where the directory itself is there. */
export async function makeWritableLayer(
  directory: string,
  record: Pick<ContainerRecord, 'diskBytes'>,
): Promise<Layer> {
  const layer = writableLayer(directory);
  await writeBatch({ directories: layerDirectories(layer), files: [] });
  await limitLayer(layer, record);
  return layer;
}

/** Of a container that is about to be removed; without a record nobody knows whether it had one. */
export async function forgetDiskLimit(
  directory: string,
  record: Pick<ContainerRecord, 'diskBytes'> | undefined,
): Promise<void> {
  if (record === undefined || record.diskBytes !== undefined) await clearDiskLimit(join(directory, 'upper'));
}
