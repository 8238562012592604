/** DeviceRequests of HostConfig (`docker run --gpus`, `--device vendor.com/class=name`) <-> ours. */
import { z } from 'zod';
import { InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import { deviceRequests, gpuDriver } from '../../../shared/lib/cdi.ts';
import type { DeviceRequest } from '../../../shared/model/index.ts';
import { given, zLabels, zText, zTexts } from './common.ts';

export const zDeviceRequests = z
  .array(
    z.object({
      Driver: zText,
      Count: z.number().int().nullish(),
      DeviceIDs: zTexts,
      Capabilities: z.array(z.array(z.string())).nullish(),
      Options: zLabels,
    }),
  )
  .nullish();

export function decodeDeviceRequests(raw: z.output<typeof zDeviceRequests>): DeviceRequest[] | undefined {
  return given(raw)?.flatMap((request) => {
    const [option] = Object.keys(request.Options ?? {});
    if (option !== undefined)
      throw new UnsupportedError(
        `HostConfig.DeviceRequests: not supported by Shoal: the option '${option}' (drivers are CDI files, which take none)`,
      );
    try {
      return deviceRequests({
        driver: request.Driver ?? '',
        count: request.Count ?? undefined,
        ids: request.DeviceIDs ?? [],
        capabilities: request.Capabilities ?? [],
      });
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw new InvalidError(`HostConfig.DeviceRequests: ${error.message}`, { cause: error });
    }
  });
}

export function encodeDeviceRequests(requests: readonly DeviceRequest[] | undefined): object[] | undefined {
  return requests?.map(({ kinds, names, count = 0 }) => {
    const [kind = ''] = kinds;
    if (names !== undefined && kinds.length === 1)
      return {
        Driver: 'cdi',
        Count: 0,
        DeviceIDs: names.map((name) => `${kind}=${name}`),
        Capabilities: [],
        Options: {},
      };
    return {
      Driver: gpuDriver(kinds),
      Count: count,
      DeviceIDs: names ?? [],
      Capabilities: [['gpu']],
      Options: {},
    };
  });
}
