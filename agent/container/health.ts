/** Runs a container's health check on its schedule and tells of changes. */
import { delay } from '../../shared/lib/abort.ts';
import type { Health, HealthCheck } from '../../shared/model/index.ts';
import type { OciProcess } from '../native/container.ts';
import { afterProbe, DEFAULT_HEALTH, initialHealth, nextProbeMs } from './health-state.ts';

const MAX_OUTPUT_BYTES = 4096;

export interface Probe {
  readonly exitCode: number;
  readonly timedOut: boolean;
  readonly output: string;
}

export type RunProbe = (
  process: OciProcess,
  options: { timeoutMs: number; maxOutputBytes: number },
) => Promise<Probe>;

/** PURE. The probe's arguments; undefined for ['NONE'] and for no check. */
export function probeArgs(check: HealthCheck | undefined): string[] | undefined {
  const [kind, ...rest] = check?.test ?? [];
  if (kind === 'CMD') return rest;
  if (kind === 'CMD-SHELL') return ['/bin/sh', '-c', rest.join(' ')];
  return undefined;
}

/** Probes until the signal aborts. `changed` hears each new state with the last probe's output. */
export async function watchHealth(
  check: HealthCheck,
  process: OciProcess,
  startedAtMs: number,
  run: RunProbe,
  changed: (health: Health, output: string) => void,
  signal: AbortSignal,
): Promise<void> {
  let state = initialHealth(startedAtMs);
  const timeoutMs = (check.timeoutNs || DEFAULT_HEALTH.timeoutNs) / 1e6;
  for (;;) {
    await delay(nextProbeMs(state, check, Date.now()), signal);
    const probe = await run(process, { timeoutMs, maxOutputBytes: MAX_OUTPUT_BYTES });
    signal.throwIfAborted();
    const next = afterProbe(state, check, probe.exitCode === 0 && !probe.timedOut, Date.now());
    const output = probe.timedOut
      ? `health check exceeded its timeout of ${timeoutMs} ms`
      : probe.output.trim();
    if (next.health !== state.health) changed(next.health, output);
    state = next;
  }
}
