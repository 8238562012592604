import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { type BuiltImage, type BuiltLayer, buildImage, buildLayer } from '../../../agent/image/build-tar.ts';
import { ImageService } from '../../../agent/image/image-service.ts';
import { checkoutDir } from '../../harness/peers.ts';
import { pushImage, startRegistry } from '../../harness/registry.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const FILES = 150;
const LAYERS = 6;

async function manyFilesImage(reference: string): Promise<BuiltImage> {
  const layers: BuiltLayer[] = [];
  for (let layer = 0; layer < LAYERS; layer += 1) {
    const entries = Array.from({ length: FILES }, (_, i) => {
      return {
        kind: 'file',
        path: `l${layer}/f${i}`,
        content: `${reference} ${layer} ${i} `.repeat(200),
      } as const;
    });
    layers.push(await buildLayer(entries));
  }
  return buildImage(reference, layers, {});
}

/** Lets a process pull, and kills it `ms` after its store was open, or later than it would need. */
async function killAfter(dir: string, reference: string, ms: number): Promise<void> {
  const puller = join(checkoutDir(), 'dist/test/harness/image-puller.js');
  const child = spawn(process.execPath, [puller, dir, reference], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  await Promise.race([once(child.stdout, 'data'), ended]);
  await Promise.race([sleep(ms), ended]);
  child.kill('SIGKILL');
  await ended;
}

test('killed at any moment of a pull, the store lists only what is whole, and goes on', async (t) => {
  t.timeout(120_000);
  await using registry = await startRegistry();
  const dir = await mkdtemp(join(tmpdir(), 'shoal-crash-'));
  try {
    const references = [];
    for (let i = 0; i < 3; i += 1)
      references.push(await pushImage(registry, await manyFilesImage(`crash${i}:1`)));
    for (const [i, ms] of [0, 3, 8, 15, 25, 40, 60, 90].entries()) {
      await killAfter(dir, references[i % 3] ?? '', ms);
      const service = await ImageService.open({ dir, logger: silentLogger });
      t.deepEqual(await readdir(join(dir, 'tmp')), []);
      for (const { id } of await service.catalog.list()) await assertWhole(service, id);
    }
    const service = await ImageService.open({ dir, logger: silentLogger });
    for (const reference of references) {
      const { id } = await service.ensure(reference, undefined, AbortSignal.timeout(60_000));
      await assertWhole(service, id);
    }
    t.is((await service.catalog.list()).length, 3);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }

  async function assertWhole(service: ImageService, id: string): Promise<void> {
    const image = await service.resolveLocal(id);
    const name = image?.repoTags[0]?.split('/').pop();
    for (const [i, layer] of (image?.layers ?? []).entries()) {
      const number = LAYERS - 1 - i;
      t.is((await readdir(join(layer, `l${number}`))).length, FILES);
      const last = await readFile(join(layer, `l${number}/f${FILES - 1}`), 'utf8');
      t.is(last, `${name} ${number} ${FILES - 1} `.repeat(200));
    }
    t.is(image?.layers.length, LAYERS);
  }
});
