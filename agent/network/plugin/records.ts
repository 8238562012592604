/** What this node has asked plugins for and not given back: on disk, as nothing in the kernel tells it. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { replaceFile } from '../../files/replace-file.ts';

const zJoined = z.object({
  device: z.string(),
  mac: z.string().exactOptional(),
  gateway: z.string().exactOptional(),
  routes: z.array(z.object({ dst: z.string(), via: z.string().exactOptional() })),
});
const zNetwork = z.object({
  networkId: z.string(),
  name: z.string(),
  plugin: z.string(),
  created: z.boolean(),
});
const zEndpoint = z.object({
  taskId: z.string(),
  networkId: z.string(),
  plugin: z.string(),
  endpointId: z.string(),
  address: z.string(),
  joined: zJoined.exactOptional(),
});
const zRecords = z.object({ networks: z.array(zNetwork), endpoints: z.array(zEndpoint) });

export type PluginNetwork = z.output<typeof zNetwork>;
export type PluginEndpoint = z.output<typeof zEndpoint>;

export function endpointKey({ taskId, networkId }: Pick<PluginEndpoint, 'taskId' | 'networkId'>): string {
  return `${taskId}/${networkId}`;
}

export class PluginRecords {
  /** By network id. */
  readonly networks = new Map<string, PluginNetwork>();
  /** By `endpointKey`. */
  readonly endpoints = new Map<string, PluginEndpoint>();
  readonly #path: string;
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string) {
    this.#path = path;
  }

  /** Without a file, or with one that can not be read, there are none. */
  static async open(path: string, unreadable: (error: unknown) => void): Promise<PluginRecords> {
    const records = new PluginRecords(path);
    try {
      const { networks, endpoints } = zRecords.parse(JSON.parse(await readFile(path, 'utf8')));
      for (const one of networks) records.networks.set(one.networkId, one);
      for (const one of endpoints) records.endpoints.set(endpointKey(one), one);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) unreadable(error);
    }
    return records;
  }

  /** Resolves when what is here now is on disk. */
  save(): Promise<void> {
    const write = async (): Promise<void> => {
      const text = JSON.stringify({
        networks: [...this.networks.values()],
        endpoints: [...this.endpoints.values()],
      });
      await replaceFile(this.#path, text, { durable: true });
    };
    this.#writing = this.#writing.then(write, write);
    return this.#writing;
  }
}
