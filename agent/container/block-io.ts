/** Weights and limits of the node's block devices, as the OCI configuration wants them: by number. */
import { stat } from 'node:fs/promises';
import { InvalidError } from '../../shared/errors/index.ts';
import type { BlockIo, DeviceAmount } from '../../shared/model/index.ts';
import type { OciResources } from '../native/oci.ts';
import { deviceNumbers } from './devices.ts';

/** Rejects with InvalidError for what is no block device on this node. */
export async function resolveBlockIo(blockIo: BlockIo | undefined): Promise<OciResources['blockIO']> {
  if (blockIo === undefined) return undefined;
  const { weight, weights = [], readBps = [], writeBps = [], readIops = [], writeIops = [] } = blockIo;
  const rates = (list: readonly DeviceAmount[]) =>
    Promise.all(list.map(async ({ path, amount }) => ({ ...(await numbersOf(path)), rate: amount })));
  return {
    ...(weight === undefined ? {} : { weight }),
    weightDevice: await Promise.all(
      weights.map(async ({ path, amount }) => ({ ...(await numbersOf(path)), weight: amount })),
    ),
    throttleReadBpsDevice: await rates(readBps),
    throttleWriteBpsDevice: await rates(writeBps),
    throttleReadIOPSDevice: await rates(readIops),
    throttleWriteIOPSDevice: await rates(writeIops),
  };
}

async function numbersOf(path: string): Promise<{ major: number; minor: number }> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) throw new InvalidError(`device ${path} is not on this node`);
  if (!info.isBlockDevice()) throw new InvalidError(`${path} is no block device`);
  return deviceNumbers(info.rdev);
}
