/** Archives of images go to and fro between Shoal and Docker's own daemon. */
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import test from 'ava';
import { saveImages } from '../../../agent/image/image-save.ts';
import { ImageService } from '../../../agent/image/image-service.ts';
import { startDockerd } from '../../harness/dockerd.ts';
import { pushImage, startRegistry } from '../../harness/registry.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { busyboxImage } from '../../images/images.ts';

test('what Shoal saves docker loads under the same id, and the other way round', async (t) => {
  const signal = AbortSignal.timeout(180_000);
  const directory = await mkdtemp(join(tmpdir(), 'shoal-archives-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  await using registry = await startRegistry();
  const image = await busyboxImage();
  const reference = await pushImage(registry, image);
  const first = await ImageService.open({ dir: join(directory, 'first'), logger: silentLogger });
  await first.ensure(reference, undefined, signal);

  const archive = join(directory, 'ours.tar');
  await pipeline(Readable.from(saveImages(first.catalog, [reference], signal)), createWriteStream(archive));
  await using dockerd = await startDockerd();
  t.regex(await dockerd.docker('load', '-i', archive), new RegExp(`Loaded image: ${reference}`));
  const [shown] = JSON.parse(await dockerd.docker('image', 'inspect', reference)) as {
    readonly Id: string;
    readonly RootFS: { readonly Layers: readonly string[] };
  }[];
  t.is(shown?.Id, image.id);
  const diffIds = image.layers.map((layer) => layer.diffId);
  t.deepEqual(shown?.RootFS.Layers, diffIds);

  const back = join(directory, 'theirs.tar');
  await dockerd.docker('tag', reference, 'from-docker:1');
  await dockerd.docker('save', '-o', back, 'from-docker:1');
  const second = await ImageService.open({ dir: join(directory, 'second'), logger: silentLogger });
  const [loaded] = await second.importTar(createReadStream(back), signal);
  t.is(loaded?.id, image.id);
  t.deepEqual(loaded?.repoTags, ['from-docker:1']);
});
