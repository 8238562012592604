/** What managers ask of this node's volumes, and of what takes room on it. */
import { ConflictError } from '../../shared/errors/index.ts';
import type {
  ContainerUsage,
  MethodHandlers,
  VolumeMethods,
  VolumeUsage,
} from '../../shared/model/node-methods/index.ts';
import type { Containers } from '../container/containers.ts';
import { sizesOf } from '../native/files-helper.ts';
import type { Volumes } from './volumes.ts';

const PRUNE_COUNT_MS = 20_000;

/** `imageBytes`: the size of an image, if it is here. */
export function volumeAnswers(
  volumes: Volumes,
  containers: Containers,
  imageBytes: (imageId: string) => Promise<number | undefined>,
): MethodHandlers<keyof VolumeMethods> {
  return {
    'volume.list': () => volumes.list(),
    'volume.inspect': ({ name }) => volumes.inspect(name),
    'volume.create': (params) => volumes.create(params),
    'volume.remove': async ({ name, force }) => {
      await volumes.remove(name, force);
      return {};
    },
    'volume.prune': ({ names }, signal) => prune(volumes, names, signal),
    'storage.usage': async (params, signal) => {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(params.limitMs)]);
      const [ofVolumes, ofContainers] = await Promise.all([
        params.volumes ? volumeUsage(volumes, limit) : [],
        params.containers ? containerUsage(containers, imageBytes, limit) : [],
      ]);
      return { volumes: ofVolumes, containers: ofContainers };
    },
  };
}

/** What a container got hold of meanwhile stays. */
async function prune(volumes: Volumes, names: readonly string[], signal: AbortSignal) {
  const known = (await volumes.list()).volumes.filter(
    ({ name, usedBy }) => names.includes(name) && usedBy.length === 0,
  );
  const limit = AbortSignal.any([signal, AbortSignal.timeout(PRUNE_COUNT_MS)]);
  const sizes = await sizesOf(
    known.map(({ mountpoint }) => mountpoint),
    limit,
  );
  const removed: string[] = [];
  let bytes = 0;
  for (const [i, { name }] of known.entries()) {
    try {
      await volumes.remove(name, false);
      removed.push(name);
      bytes += Math.max(0, sizes[i] ?? 0);
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
    }
  }
  return { removed, bytes };
}

async function volumeUsage(volumes: Volumes, limit: AbortSignal): Promise<VolumeUsage[]> {
  const { volumes: all } = await volumes.list();
  const sizes = await sizesOf(
    all.map(({ mountpoint }) => mountpoint),
    limit,
  );
  return all.map((volume, i) => ({ volume, bytes: sizes[i] ?? -1 }));
}

/** Its layer and its image: what it has in volumes is the volumes'. */
async function containerUsage(
  containers: Containers,
  imageBytes: (imageId: string) => Promise<number | undefined>,
  limit: AbortSignal,
): Promise<ContainerUsage[]> {
  const records = containers.list();
  const sizes = await sizesOf(
    records.map(({ id }) => containers.upperDirectory(id)),
    limit,
  );
  return Promise.all(
    records.map(async ({ id, imageId }, i) => {
      const ownBytes = sizes[i] ?? -1;
      return {
        containerId: id,
        ownBytes,
        totalBytes: Math.max(0, ownBytes) + ((await imageBytes(imageId)) ?? 0),
      };
    }),
  );
}
