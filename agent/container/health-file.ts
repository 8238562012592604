/** What a container's health check found so far, kept for an agent that takes the container over. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { replaceFile } from '../files/replace-file.ts';
import { type HealthState, initialHealth } from './health-state.ts';

const zState = z.object({
  health: z.enum(['starting', 'healthy', 'unhealthy']),
  failures: z.number(),
  startedAtMs: z.number(),
  log: z.array(
    z.object({ startMs: z.number(), endMs: z.number(), exitCode: z.number(), output: z.string() }),
  ),
});

/** `directory` is the container's. */
export function writeHealth(directory: string, state: HealthState): Promise<void> {
  return replaceFile(join(directory, 'health.json'), JSON.stringify(state));
}

/** Of the run that started then; a run of which nothing is known has not been probed. */
export async function readHealth(directory: string, startedAtMs: number): Promise<HealthState> {
  try {
    const state = zState.parse(JSON.parse(await readFile(join(directory, 'health.json'), 'utf8')));
    if (state.startedAtMs === startedAtMs) return state;
  } catch {
    // There is none, or a crash of the machine left part of one.
  }
  return initialHealth(startedAtMs);
}
