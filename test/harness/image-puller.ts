/** A process of its own that pulls one image, to be killed meanwhile: `image-puller.js DIR REFERENCE`. */
import { ImageService } from '../../agent/image/image-service.ts';
import { silentLogger } from './silent-logger.ts';

const [dir, reference] = process.argv.slice(2);
if (dir === undefined || reference === undefined) throw new Error('usage: image-puller.js DIR REFERENCE');
const service = await ImageService.open({ dir, logger: silentLogger });
process.stdout.write('open\n');
await service.ensure(reference, undefined, AbortSignal.timeout(60_000));
process.stdout.write('done\n');
