/** Weights and limits of block devices: the same fields in HostConfig of a container and of a service. */
import { z } from 'zod';
import type { BlockIo, DeviceAmount } from '../../../shared/model/index.ts';
import { defined, given, zWhole } from './common.ts';

const zWeights = z.array(z.object({ Path: z.string(), Weight: z.number().int() })).nullish();
const zRates = z.array(z.object({ Path: z.string(), Rate: z.number().int() })).nullish();

export const zBlockIo = {
  BlkioWeight: zWhole,
  BlkioWeightDevice: zWeights,
  BlkioDeviceReadBps: zRates,
  BlkioDeviceWriteBps: zRates,
  BlkioDeviceReadIOps: zRates,
  BlkioDeviceWriteIOps: zRates,
};

const zAll = z.object(zBlockIo);
type RawBlockIo = z.output<typeof zAll>;

export function decodeBlockIo(raw: RawBlockIo): BlockIo | undefined {
  const weights = given(raw.BlkioWeightDevice)?.map(({ Path, Weight }) => ({ path: Path, amount: Weight }));
  const rates = (list: z.output<typeof zRates>): DeviceAmount[] | undefined =>
    given(list)?.map(({ Path, Rate }) => ({ path: Path, amount: Rate }));
  const found = defined({
    weight: given(raw.BlkioWeight),
    weights,
    readBps: rates(raw.BlkioDeviceReadBps),
    writeBps: rates(raw.BlkioDeviceWriteBps),
    readIops: rates(raw.BlkioDeviceReadIOps),
    writeIops: rates(raw.BlkioDeviceWriteIOps),
  });
  return given(found) as BlockIo | undefined;
}

export function encodeBlockIo(blockIo: BlockIo | undefined): RawBlockIo {
  const rates = (list: readonly DeviceAmount[] | undefined) =>
    list?.map(({ path, amount }) => ({ Path: path, Rate: amount }));
  return {
    BlkioWeight: blockIo?.weight,
    BlkioWeightDevice: blockIo?.weights?.map(({ path, amount }) => ({ Path: path, Weight: amount })),
    BlkioDeviceReadBps: rates(blockIo?.readBps),
    BlkioDeviceWriteBps: rates(blockIo?.writeBps),
    BlkioDeviceReadIOps: rates(blockIo?.readIops),
    BlkioDeviceWriteIOps: rates(blockIo?.writeIops),
  };
}
