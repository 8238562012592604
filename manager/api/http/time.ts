import { parseDuration } from '../../stack/units.ts';
import { parseTime } from '../logs/options.ts';

/** A time as `until` filters have it: as `parseTime`, or how long ago (`24h`). Milliseconds. Throws InvalidError. */
export function parseTimeOrAge(text: string, name: string, nowMs: number): number {
  const ageNs = /^[\d.]+$/.test(text) ? undefined : parseDuration(text);
  return ageNs === undefined ? (parseTime(text, name) ?? 0) : nowMs - ageNs / 1e6;
}
