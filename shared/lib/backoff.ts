/**
 * Time to wait before attempt `attempt` (from 0): doubles from `baseMs` up to `maxMs`, with full jitter in the upper
 * half so that many waiters spread. `random` is a fraction in [0, 1).
 */
export function backoffMs(attempt: number, baseMs: number, maxMs: number, random: number): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(ceiling / 2 + (ceiling / 2) * random);
}
