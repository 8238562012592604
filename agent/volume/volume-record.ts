/** What the agent keeps of a volume: volume.json beside the volume's contents. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { replaceFile } from '../files/replace-file.ts';

const texts = z.record(z.string(), z.string());
const schema = z.object({
  name: z.string(),
  /** Version 0.1.0 had none. */
  options: texts.default({}),
  labels: texts,
  createdAtMs: z.number(),
});

export type VolumeRecord = Readonly<z.output<typeof schema>>;

/** Durable: what is in the volume matters longer than the machine is up. */
export function writeVolumeRecord(directory: string, record: VolumeRecord): Promise<void> {
  return replaceFile(join(directory, 'volume.json'), JSON.stringify(record), { durable: true });
}

/** Undefined when there is none that can be read. */
export async function readVolumeRecord(directory: string): Promise<VolumeRecord | undefined> {
  try {
    return schema.parse(JSON.parse(await readFile(join(directory, 'volume.json'), 'utf8')));
  } catch {
    return undefined;
  }
}
