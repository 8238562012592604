/** PURE. Docker's health states (docs.docker.com, reference/dockerfile#healthcheck). */
import type { Health, HealthCheck } from '../../shared/model/index.ts';
import type { ProbeResult } from '../../shared/model/node-methods/index.ts';

export interface HealthState {
  readonly health: Health;
  /** Consecutive failures that count. */
  readonly failures: number;
  readonly startedAtMs: number;
  /** The last probes, the newest last. */
  readonly log: readonly ProbeResult[];
}

/** As many as Docker shows. */
const LOG_LENGTH = 5;

export const DEFAULT_HEALTH = {
  intervalNs: 30_000_000_000,
  timeoutNs: 30_000_000_000,
  startPeriodNs: 0,
  startIntervalNs: 5_000_000_000,
  retries: 3,
};

export function initialHealth(startedAtMs: number): HealthState {
  return { health: 'starting', failures: 0, startedAtMs, log: [] };
}

/** A failure during the start period of a container that was never healthy does not count. */
export function afterProbe(before: HealthState, check: HealthCheck, probe: ProbeResult): HealthState {
  const state = { ...before, log: [...before.log, probe].slice(-LOG_LENGTH) };
  if (probe.exitCode === 0) return { ...state, health: 'healthy', failures: 0 };
  if (state.health === 'starting' && inStartPeriod(state, check, probe.endMs)) return state;
  const failures = state.failures + 1;
  const retries = check.retries || DEFAULT_HEALTH.retries;
  return { ...state, failures, health: failures >= retries ? 'unhealthy' : state.health };
}

/** Time until the next probe. */
export function nextProbeMs(state: HealthState, check: HealthCheck, nowMs: number): number {
  const early = state.health === 'starting' && inStartPeriod(state, check, nowMs);
  const ns = early
    ? check.startIntervalNs || DEFAULT_HEALTH.startIntervalNs
    : check.intervalNs || DEFAULT_HEALTH.intervalNs;
  return ns / 1e6;
}

function inStartPeriod(state: HealthState, check: HealthCheck, nowMs: number): boolean {
  return nowMs - state.startedAtMs < check.startPeriodNs / 1e6;
}
