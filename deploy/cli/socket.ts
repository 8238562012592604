/** Which cluster a command is for: --socket, else --name, else the default one. */
import type { Command } from 'commander';
import { DEFAULT_NAME } from '../local/layout.ts';
import { ApiClient } from './client.ts';
import { parseName } from './options.ts';

export interface SocketFlags {
  socket?: string;
  name?: string;
}

export function addSocketOptions(command: Command): Command {
  return command
    .option('--socket <path>', "the cluster's unix socket (default: that of --name)")
    .option('--name <name>', `a cluster that 'up' made (default: ${DEFAULT_NAME})`, parseName);
}

export function clientOf(flags: SocketFlags): ApiClient {
  if (flags.socket !== undefined) return new ApiClient(flags.socket.replace(/^unix:\/\//, ''));
  const name = flags.name ?? DEFAULT_NAME;
  return new ApiClient(name === DEFAULT_NAME ? '/run/shoal/shoal.sock' : `/run/shoal-${name}/shoal.sock`);
}
