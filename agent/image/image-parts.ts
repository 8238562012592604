/** An image as a manifest and blobs: what is saved and what is pushed. */
import { type LayerArchive } from './content-store.ts';
import { sha256Of } from './digest.ts';
import type { ImageCatalog } from './image-catalog.ts';
import { CONFIG_TYPE, MANIFEST_TYPE } from './manifest.ts';
import { NotFoundError } from '../../shared/errors/index.ts';

export interface ImageParts {
  readonly id: string;
  readonly config: Buffer;
  /** Lowest first. */
  readonly layers: readonly LayerArchive[];
  readonly manifest: { readonly bytes: Buffer; readonly digest: string; readonly mediaType: string };
}

/** With layers as they came, so that whoever gets the image has the same layers under the same digests. */
export async function partsOf(catalog: ImageCatalog, id: string): Promise<ImageParts> {
  const image = catalog.index.images.get(id);
  if (image === undefined) throw new NotFoundError(`No such image: ${id}`);
  const config = await catalog.configOf(id);
  const layers = await Promise.all(image.chainIds.map((chainId) => catalog.store.layerArchive(chainId)));
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: { mediaType: CONFIG_TYPE, digest: id, size: config.length },
      layers: layers.map(({ mediaType, digest, sizeBytes }) => ({ mediaType, digest, size: sizeBytes })),
    }),
  );
  const described = { bytes: manifest, digest: sha256Of(manifest), mediaType: MANIFEST_TYPE };
  return { id, config, layers, manifest: described };
}

/** Keeps the layers of images from removal until it is disposed. */
export function pinImages(catalog: ImageCatalog, ids: readonly string[]): Promise<Disposable> {
  const chainIds = ids.flatMap((id) => catalog.index.images.get(id)?.chainIds ?? []);
  return catalog.store.pin([...chainIds, ...ids]);
}
