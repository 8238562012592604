/** Processors and memory nodes that a container is to be kept to: those that this machine has. */
import { readFile } from 'node:fs/promises';
import { InvalidError } from '../../shared/errors/index.ts';
import type { RuntimeOptions } from '../../shared/model/index.ts';

const ONLINE = {
  cpuset: { what: 'processors', path: '/sys/devices/system/cpu/online' },
  cpusetMems: { what: 'memory nodes', path: '/sys/devices/system/node/has_memory' },
} as const;

/** Rejects with InvalidError for those that are not on this node. `online` is where the kernel says what there is. */
export async function requireProcessors(
  options: Pick<RuntimeOptions, 'cpuset' | 'cpusetMems'>,
  online: Readonly<Record<'cpuset' | 'cpusetMems', { what: string; path: string }>> = ONLINE,
): Promise<void> {
  for (const field of ['cpuset', 'cpusetMems'] as const) {
    const asked = options[field] ?? '';
    const { what, path } = online[field];
    // A kernel that does not say refuses by itself.
    const there = asked === '' ? '' : (await readFile(path, 'utf8').catch(() => '')).trim();
    if (there === '') continue;
    const missing = rangesOf(asked).filter(({ first, last }) => !covered(first, last, rangesOf(there)));
    if (missing.length === 0) continue;
    const names = missing.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`));
    throw new InvalidError(`${field}: ${what} ${names.join()} are not on this node, which has ${there}`);
  }
}

interface Range {
  readonly first: number;
  readonly last: number;
}

/** Of `0-2,4`. */
function rangesOf(list: string): Range[] {
  return list.split(',').map((part) => {
    const [first = 0, last = first] = part.split('-').map(Number);
    return { first, last };
  });
}

/** The kernel's ranges are in order and do not touch one another. */
function covered(first: number, last: number, ranges: readonly Range[]): boolean {
  return ranges.some((range) => range.first <= first && last <= range.last);
}
