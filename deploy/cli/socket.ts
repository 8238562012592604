/** Which cluster a command is for: --socket, --name or --host, else SHOAL_HOST, else the manager of this machine. */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { InvalidError } from '../../shared/errors/index.ts';
import { DEFAULT_NAME } from '../local/layout.ts';
import { ApiClient } from './client.ts';
import { parseHostPort, parseName } from './options.ts';
import { type TcpCredentials, TcpTransport } from './tcp-transport.ts';

export interface SocketFlags {
  socket?: string;
  name?: string;
  host?: string;
  tlsDir?: string;
  tokenFile?: string;
}

export function addSocketOptions(command: Command): Command {
  return command
    .option('--socket <path>', "the cluster's unix socket (default: that of --name)")
    .option('--name <name>', `a cluster that 'up' made (default: ${DEFAULT_NAME})`, parseName)
    .option('--host <hosts>', 'managers that serve the API over TCP: HOST:PORT[,HOST:PORT...] (SHOAL_HOST)')
    .option(
      '--tls-dir <dir>',
      'with ca.pem, cert.pem and key.pem of `shoal user add` (SHOAL_TLS_DIR; ~/.shoal)',
    )
    .option('--token-file <file>', 'a token of a user, in place of the certificate (SHOAL_TOKEN_FILE)');
}

/** Throws InvalidError for files that are not there. */
export function clientOf(flags: SocketFlags, env: NodeJS.ProcessEnv = process.env): ApiClient {
  if (flags.socket !== undefined) return new ApiClient(flags.socket.replace(/^unix:\/\//, ''));
  const hosts = flags.host ?? (flags.name === undefined ? env['SHOAL_HOST'] : undefined);
  if (hosts !== undefined && hosts !== '')
    return new ApiClient(new TcpTransport(hostsOf(hosts), files(flags, env)));
  const name = flags.name ?? DEFAULT_NAME;
  return new ApiClient(name === DEFAULT_NAME ? '/run/shoal/shoal.sock' : `/run/shoal-${name}/shoal.sock`);
}

function hostsOf(text: string): { host: string; port: number }[] {
  const hosts = text.split(',').filter((one) => one !== '');
  try {
    return hosts.map((one) => parseHostPort(one.replace(/^tcp:\/\//, '')));
  } catch (cause) {
    throw new InvalidError(`'${text}': HOST:PORT[,HOST:PORT...] is wanted for --host or SHOAL_HOST`, {
      cause,
    });
  }
}

function files(flags: SocketFlags, env: NodeJS.ProcessEnv): TcpCredentials {
  const directory = flags.tlsDir ?? env['SHOAL_TLS_DIR'] ?? path.join(homedir(), '.shoal');
  const read = (name: string): string => readText(path.join(directory, name));
  const tokenFile = flags.tokenFile ?? env['SHOAL_TOKEN_FILE'];
  const ca = read('ca.pem');
  if (tokenFile !== undefined) return { ca, token: readText(tokenFile).trim() };
  return { ca, certificate: { cert: read('cert.pem'), key: read('key.pem') } };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new InvalidError(`${file} can not be read: see --tls-dir, --token-file and 'shoal user add'`, {
      cause,
    });
  }
}
