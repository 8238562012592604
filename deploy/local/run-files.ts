/** What a manager and an agent write once they are ready. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { delay } from '../../shared/lib/abort.ts';

const managerFile = z.object({ pid: z.number(), address: z.string(), apiSocket: z.string() });
const agentFile = z.object({ pid: z.number(), nodeId: z.string() });

async function readJson<T>(schema: z.ZodType<T>, file: string): Promise<T | undefined> {
  try {
    return schema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return undefined; // absent, or half written
  }
}

export function readManagerFile(runDir: string): Promise<z.infer<typeof managerFile> | undefined> {
  return readJson(managerFile, path.join(runDir, 'manager.json'));
}

export function readAgentFile(runDir: string): Promise<z.infer<typeof agentFile> | undefined> {
  return readJson(agentFile, path.join(runDir, 'agent.json'));
}

/** Asks again and again until there is an answer; rejects when the signal aborts. */
export async function poll<T>(
  ask: () => Promise<T | undefined>,
  signal: AbortSignal,
  everyMs = 50,
): Promise<T> {
  for (;;) {
    signal.throwIfAborted();
    const answer = await ask();
    if (answer !== undefined) return answer;
    await delay(everyMs, signal);
  }
}
