/**
 * A service on a network, in the Docker Engine API. What that API has no field for is said by driver options of the
 * attachment, which clients bring back as they are: `docker service create --network name=front,driver-opt=KEY=VALUE`.
 */
import { z } from 'zod';
import { InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import { isAddress } from '../../../shared/lib/cidr.ts';
import type { NetworkAttachment } from '../../../shared/model/index.ts';
import { defined, given, zLabels, zTexts } from './common.ts';

export const ADDRESS_OPTION = 'shoal.address';
export const WAY_OUT_OPTION = 'shoal.gw-priority';
const OPTIONS: readonly string[] = [ADDRESS_OPTION, WAY_OUT_OPTION];

export const zAttachments = z
  .array(z.object({ Target: z.string(), Aliases: zTexts, DriverOpts: zLabels }))
  .nullish();

/** Throws InvalidError and UnsupportedError. */
export function decodeAttachment(raw: NonNullable<z.output<typeof zAttachments>>[number]): NetworkAttachment {
  const options = raw.DriverOpts ?? {};
  const unknown = Object.keys(options).find((key) => !OPTIONS.includes(key));
  if (unknown !== undefined)
    throw new UnsupportedError(
      `Networks.DriverOpts: not supported by Shoal: ${unknown} (${OPTIONS.join(' and ')} are)`,
    );
  const priority = options[WAY_OUT_OPTION];
  if (priority !== undefined && !/^-?\d{1,9}$/.test(priority))
    throw new InvalidError(
      `Networks.DriverOpts: ${WAY_OUT_OPTION}: '${priority}': a whole number is expected`,
    );
  const address = options[ADDRESS_OPTION];
  if (address !== undefined && !isAddress(address))
    throw new InvalidError(
      `Networks.DriverOpts: ${ADDRESS_OPTION}: '${address}': an IPv4 address such as 10.0.0.9 is expected`,
    );
  return {
    network: raw.Target,
    aliases: raw.Aliases ?? [],
    ...defined({
      address,
      wayOutPriority: priority === undefined ? undefined : given(Number(priority)),
    }),
  };
}

export function encodeAttachment({ network, aliases, address, wayOutPriority }: NetworkAttachment): object {
  const options = defined({
    [ADDRESS_OPTION]: address,
    [WAY_OUT_OPTION]: wayOutPriority === undefined ? undefined : String(wayOutPriority),
  });
  return defined({ Target: network, Aliases: given(aliases), DriverOpts: given(options) });
}
