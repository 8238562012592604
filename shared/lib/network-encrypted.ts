/** The driver option by which a network's traffic between nodes is encrypted. */
import type { NetworkSpec } from '../model/network.ts';
import type { Labels } from '../model/service.ts';

export const ENCRYPTED_OPTION = 'encrypted';

/** As Docker reads it: the option alone is enough. A text is what is wrong with it. */
export function readEncrypted(options: Labels): boolean | string {
  const text = options[ENCRYPTED_OPTION];
  if (text === undefined || /^(0|f|false)$/i.test(text)) return false;
  return /^(|1|t|true)$/i.test(text) ? true : `'${text}': true, false or nothing is expected`;
}

/** Only overlays are: what other drivers do with an option of that name is theirs. */
export function isEncrypted({ driver, driverOptions }: NetworkSpec): boolean {
  return driver === 'overlay' && readEncrypted(driverOptions) === true;
}
