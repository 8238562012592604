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

/** $LIB: the directory of the architecture's libraries, see ld.so(8). */
const LIBRARY = '/usr/$LIB/faketime/libfaketimeMT.so.1';

/**
 * Variables that make a process see a time of day that is off, e.g. by `-2h`, by libfaketime, which prerequisites.sh --dev
 * installs. Its steady clock is right, as on a real machine.
 */
export function wrongClock(offset: string | undefined): Readonly<Record<string, string>> {
  if (offset === undefined) return {};
  return { LD_PRELOAD: LIBRARY, FAKETIME: offset, FAKETIME_DONT_FAKE_MONOTONIC: '1' };
}

/** The same with an offset that is in a file (`+0s`, `-20m`): it is looked at every second. */
export function movableClock(file: string): Readonly<Record<string, string>> {
  return {
    LD_PRELOAD: LIBRARY,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_CACHE_DURATION: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  };
}
