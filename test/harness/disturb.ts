/** What tests do to processes besides killing them. */
import { delay } from '../../shared/lib/abort.ts';

/** Stands still for so long: SIGSTOP, then SIGCONT. */
export async function stall(pid: number | undefined, ms: number, signal: AbortSignal): Promise<void> {
  if (pid === undefined) throw new Error('there is no process to stall');
  process.kill(pid, 'SIGSTOP');
  try {
    await delay(ms, signal);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

/**
 * Variables that make a process see a time of day that is off, e.g. by `-2h`, by libfaketime, which prerequisites.sh --dev
 * installs. Its steady clock is right, as on a real machine.
 */
export function wrongClock(offset: string | undefined): Readonly<Record<string, string>> {
  if (offset === undefined) return {};
  // $LIB: the directory of the architecture's libraries, see ld.so(8)
  const library = '/usr/$LIB/faketime/libfaketimeMT.so.1';
  return { LD_PRELOAD: library, FAKETIME: offset, FAKETIME_DONT_FAKE_MONOTONIC: '1' };
}
