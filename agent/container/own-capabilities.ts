/** What the agent may itself: it can give no other capabilities. */
import { readFileSync } from 'node:fs';
import { ALL_CAPABILITIES, capabilitiesOf } from './capabilities.ts';

let known: readonly string[] | undefined;

/** They are looked up once: the agent does not drop any. */
export function availableCapabilities(): readonly string[] {
  known ??= read();
  return known;
}

function read(): readonly string[] {
  const mask = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return mask === undefined ? ALL_CAPABILITIES : capabilitiesOf(mask);
}
