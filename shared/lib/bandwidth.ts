/** PURE. How much a container may send and get over each of its interfaces: labels of the container. */
import type { Labels } from '../model/index.ts';

/** Bytes a second. */
export interface Bandwidth {
  readonly into?: number;
  readonly outOf?: number;
}

const LABELS = { into: 'shoal.bandwidth-in', outOf: 'shoal.bandwidth-out' } as const;
export const BANDWIDTH_LABELS: readonly string[] = Object.values(LABELS);

const BITS: Readonly<Record<string, number>> = { kbit: 1e3, mbit: 1e6, gbit: 1e9 };
const MIN_BITS = 64_000;
const MAX_BITS = 100e9;

/** Never throws: what can not be read is no limit, and a problem. */
export function readBandwidth(labels: Labels): { bandwidth: Bandwidth; problems: readonly string[] } {
  const problems: string[] = [];
  const bandwidth: { into?: number; outOf?: number } = {};
  for (const way of ['into', 'outOf'] as const) {
    const text = labels[LABELS[way]];
    if (text === undefined) continue;
    const bytes = bytesOf(text);
    if (bytes === undefined)
      problems.push(
        `${LABELS[way]}: '${text}': such as 500kbit, 10mbit or 1.5gbit is expected, from 64kbit to 100gbit`,
      );
    else bandwidth[way] = bytes;
  }
  return { bandwidth, problems };
}

function bytesOf(text: string): number | undefined {
  const match = /^(\d{1,6}(?:\.\d{1,3})?)(kbit|mbit|gbit)$/i.exec(text.trim());
  const bits = Number(match?.[1]) * (BITS[match?.[2]?.toLowerCase() ?? ''] ?? Number.NaN);
  return bits >= MIN_BITS && bits <= MAX_BITS ? Math.round(bits / 8) : undefined;
}
