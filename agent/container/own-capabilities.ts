/** What the agent may itself: it can give no other capabilities. */
import { readFileSync } from 'node:fs';
import { ALL_CAPABILITIES, capabilitiesOf } from './capabilities.ts';

export function availableCapabilities(): string[] {
  const mask = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return mask === undefined ? ALL_CAPABILITIES : capabilitiesOf(mask);
}
