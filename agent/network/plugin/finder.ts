/** Where the network plugins of this machine are: sockets and files in Docker's directories. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PLUGIN_NAME } from '../../../shared/lib/network-outside.ts';
import type { PluginAddress } from './client.ts';

/** The first that has a name counts. */
export const PLUGIN_DIRECTORIES: readonly string[] = [
  '/run/docker/plugins',
  '/etc/docker/plugins',
  '/usr/lib/docker/plugins',
];

export interface FoundPlugin {
  readonly address: PluginAddress;
  /** Another one when it was started anew. */
  readonly version: string;
}

/** By name. What can not be read is left out. */
export async function findPlugins(directories: readonly string[]): Promise<Map<string, FoundPlugin>> {
  const found = new Map<string, FoundPlugin>();
  for (const directory of directories) {
    for (const file of (await readdir(directory).catch(() => [])).toSorted()) {
      const one = await readEntry(directory, file).catch(() => undefined);
      if (one !== undefined && PLUGIN_NAME.test(one.name) && !found.has(one.name)) found.set(one.name, one);
    }
  }
  return found;
}

async function readEntry(
  directory: string,
  file: string,
): Promise<(FoundPlugin & { readonly name: string }) | undefined> {
  const [, name = file, kind] = /^(.+)\.(sock|spec|json)$/.exec(file) ?? [];
  const path = join(directory, file);
  // NAME/NAME.sock is Docker's other way.
  const socket = kind === undefined ? join(path, `${file}.sock`) : path;
  const { ino, mtimeMs, size, ...entry } = await stat(kind === 'spec' || kind === 'json' ? path : socket);
  const version = `${ino} ${mtimeMs}`;
  if (kind !== 'spec' && kind !== 'json')
    return entry.mode !== undefined && (entry.mode & 0o170000) === 0o140000
      ? { name, version, address: { socketPath: socket } }
      : undefined;
  if (size > 64 * 1024) return undefined;
  const address = addressOf(await readFile(path, 'utf8'), kind);
  return address === undefined ? undefined : { name, version, address };
}

/** A plugin that wants TLS is left out. */
function addressOf(text: string, kind: 'spec' | 'json'): PluginAddress | undefined {
  const description =
    kind === 'json' ? (JSON.parse(text) as { Addr?: unknown; TLSConfig?: unknown }) : { Addr: text };
  if (typeof description.Addr !== 'string' || ('TLSConfig' in description && description.TLSConfig))
    return undefined;
  const address = description.Addr.trim();
  const [, socketPath] = /^unix:\/\/(\/.+)$/.exec(address) ?? [];
  if (socketPath !== undefined) return { socketPath };
  const [, host, port] = /^(?:tcp|http):\/\/([^/:\s]+):(\d{1,5})\/?$/.exec(address) ?? [];
  return host === undefined ? undefined : { host, port: Number(port) };
}
