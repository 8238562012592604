/** Runs a container's health check on its schedule and tells what came of it. */
import { describeError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import type { HealthCheck } from '../../shared/model/index.ts';
import { NativeError, type ExecResult, type OciProcess } from '../native/container.ts';
import { afterProbe, DEFAULT_HEALTH, type HealthState, nextProbeMs } from './health-state.ts';

/** Docker's maxOutputLen, and its exit code of a probe that did not end by itself. */
const MAX_OUTPUT_BYTES = 4096;
const NO_EXIT = -1;

export type RunProbe = (
  process: OciProcess,
  options: { timeoutMs: number; maxOutputBytes: number },
) => Promise<ExecResult>;

/** PURE. The probe's arguments; undefined for ['NONE'] and for no check. */
export function probeArgs(check: HealthCheck | undefined): string[] | undefined {
  const [kind, ...rest] = check?.test ?? [];
  if (kind === 'CMD') return rest;
  if (kind === 'CMD-SHELL') return ['/bin/sh', '-c', rest.join(' ')];
  return undefined;
}

/** Probes until the signal aborts, or the container is gone. `probed` hears the state after each probe. */
export async function watchHealth(
  check: HealthCheck,
  process: OciProcess,
  first: HealthState,
  run: RunProbe,
  probed: (state: HealthState) => void,
  signal: AbortSignal,
): Promise<void> {
  let state = first;
  const timeoutMs = (check.timeoutNs || DEFAULT_HEALTH.timeoutNs) / 1e6;
  for (;;) {
    await delay(nextProbeMs(state, check, Date.now()), signal);
    const startMs = Date.now();
    const result = await probe(process, run, timeoutMs);
    signal.throwIfAborted();
    state = afterProbe(state, check, { startMs, endMs: Date.now(), ...result });
    probed(state);
  }
}

/** A probe that can not be run has failed, as one that was too slow has. */
async function probe(process: OciProcess, run: RunProbe, timeoutMs: number) {
  try {
    const { exitCode, timedOut, output } = await run(process, {
      timeoutMs,
      maxOutputBytes: MAX_OUTPUT_BYTES,
    });
    if (!timedOut) return { exitCode, output };
    return { exitCode: NO_EXIT, output: `health check exceeded its timeout of ${timeoutMs} ms` };
  } catch (error) {
    if (!(error instanceof NativeError) || error.code === 'ESRCH') throw error;
    return { exitCode: NO_EXIT, output: `the health check could not be run: ${describeError(error)}` };
  }
}
