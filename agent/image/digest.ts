import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';

/** `sha256:` and the hexadecimal digest. */
export function sha256Of(bytes: Buffer | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The same of what a stream gives. */
export async function sha256OfStream(stream: Readable): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream) hash.update(chunk as Buffer);
  return `sha256:${hash.digest('hex')}`;
}

/** The digits of `sha256:...`. */
export function hexOf(digest: string): string {
  return digest.slice('sha256:'.length);
}

/**
 * The chain id of each layer: of the layer on top of all those below it (OCI image-spec, config.md). Two images share
 * a layer exactly if they share its chain id.
 */
export function chainIdsOf(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : sha256Of(`${below} ${diffId}`));
  }
  return chain;
}
