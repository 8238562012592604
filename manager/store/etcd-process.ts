/** The etcd program: how it is called, found, watched and stopped. Knows nothing of supervision. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, open, readdir, readFile, rename, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { ConflictError, InvalidError, NotFoundError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import type { EtcdTlsFiles } from '../ca/etcd-authority.ts';

export interface EtcdPorts {
  readonly client: number;
  readonly peer: number;
}

export interface EtcdSettings {
  /** Absolute path of the program. */
  readonly binary: string;
  /** Holds etcd's own data in `data/` and its log in `etcd.log`. */
  readonly directory: string;
  readonly ports: EtcdPorts;
  readonly quotaBytes: number;
  /** Without: plain HTTP, for tests of what an external etcd does. */
  readonly tls?: EtcdTlsFiles;
  /** Default: the only member, on loopback. */
  readonly member?: EtcdMember;
  /** Makes a cluster of this member alone out of its data. */
  readonly forceNewCluster?: boolean;
  /** A command and its arguments that etcd is started through, and that becomes it (setpriv, nice, ...). */
  readonly wrapper?: readonly string[];
  /** Default MAX_TXN_OPS. */
  readonly maxTxnOps?: number;
  /** Default MAX_REQUEST_BYTES. */
  readonly maxRequestBytes?: number;
}

/** How one member of several is found by the others. */
export interface EtcdMember {
  readonly name: string;
  /** Where others reach it. */
  readonly peerUrl: string;
  /** Address that its peers' port is bound to. */
  readonly listenHost: string;
  /** For one that joins: all members, as `--initial-cluster` has them. Matters only while there is no data. */
  readonly joins?: string;
}

export const LOOPBACK = '127.0.0.1';
export const MAX_TXN_OPS = 10_000;
export const MAX_REQUEST_BYTES = 16 * 1024 * 1024;
const SNAPSHOT_COUNT = 10_000;
const LOG_KEEP_BYTES = 16 * 1024 * 1024;
const POLL_MS = 20;
/** Tells whose child an etcd was when it was started. */
const MANAGER_PID = 'SHOAL_MANAGER_PID';

export function dataDirectory(directory: string): string {
  return join(directory, 'data');
}

export function logPath(directory: string): string {
  return join(directory, 'etcd.log');
}

export function clientUrl(ports: EtcdPorts, scheme: 'http' | 'https' = 'http'): string {
  return `${scheme}://${LOOPBACK}:${ports.client}`;
}

/** host:port with the brackets that an IPv6 address needs. */
export function urlHost(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** For etcd 3.4 and 3.5: every flag exists in both. */
export function etcdArguments(settings: EtcdSettings): string[] {
  const { ports, tls, member } = settings;
  const scheme = tls === undefined ? 'http' : 'https';
  const client = clientUrl(ports, scheme);
  const name = member?.name ?? 'shoal';
  const peerUrl = member?.peerUrl ?? `${scheme}://${LOOPBACK}:${ports.peer}`;
  return [
    `--name=${name}`,
    `--data-dir=${dataDirectory(settings.directory)}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${scheme}://${urlHost(member?.listenHost ?? LOOPBACK, ports.peer)}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=${member?.joins ?? `${name}=${peerUrl}`}`,
    `--initial-cluster-state=${member?.joins === undefined ? 'new' : 'existing'}`,
    ...(tls === undefined ? [] : tlsArguments(tls)),
    ...(settings.forceNewCluster === true ? ['--force-new-cluster'] : []),
    `--max-txn-ops=${settings.maxTxnOps ?? MAX_TXN_OPS}`,
    `--max-request-bytes=${settings.maxRequestBytes ?? MAX_REQUEST_BYTES}`,
    `--quota-backend-bytes=${settings.quotaBytes}`,
    `--snapshot-count=${SNAPSHOT_COUNT}`,
    // A second net below the manager's own compaction (maintenance.ts).
    '--auto-compaction-mode=periodic',
    '--auto-compaction-retention=1h',
    // Half of etcd's patience: a lost leader is replaced, and a single member serves after a restart, in half the time.
    '--heartbeat-interval=100',
    '--election-timeout=500',
    // A member that was away, or stood still, does not depose a leader that the others hear.
    '--pre-vote=true',
    '--logger=zap',
    '--log-outputs=stderr',
    '--log-level=warn',
  ];
}

/**
 * Each port asks for a certificate of its own authority, and speaks TLS 1.3. For that etcd has no setting, but this does it: the
 * one suite that is left to TLS 1.2 is for RSA, and the certificates are of elliptic curves. It has no say in those of TLS 1.3.
 */
function tlsArguments({ client, peer }: EtcdTlsFiles): string[] {
  const ports = [
    ['', client],
    ['peer-', peer],
  ] as const;
  const files = ports.flatMap(([port, { ca, cert, key }]) => [
    `--${port}cert-file=${cert}`,
    `--${port}key-file=${key}`,
    `--${port}trusted-ca-file=${ca}`,
    `--${port}client-cert-auth=true`,
  ]);
  return [...files, '--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'];
}

/** The path of the program; NotFoundError says how to get it. */
export async function findEtcd(binary: string | undefined): Promise<string> {
  const candidates =
    binary === undefined
      ? (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'etcd'))
      : [binary];
  for (const path of candidates) {
    const runs = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs) return path;
  }
  const what =
    binary === undefined ? 'no etcd program on the PATH' : `${binary} is no program that can be run`;
  throw new NotFoundError(`${what}; deploy/prerequisites.sh installs it (Debian: etcd-server)`);
}

/** Makes the directories, private, and checks that they can be written. */
export async function prepareDirectory(directory: string): Promise<void> {
  try {
    await mkdir(dataDirectory(directory), { recursive: true, mode: 0o700 });
    await access(directory, constants.W_OK | constants.X_OK);
    await access(dataDirectory(directory), constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new InvalidError(`etcd's data directory ${directory} can not be written`, { cause: error });
  }
}

/** Rejects with ConflictError, naming the port, when somebody listens on one of them. */
export async function checkPortsFree(ports: EtcdPorts, peerHost: string = LOOPBACK): Promise<void> {
  for (const [use, port] of Object.entries(ports) as [keyof EtcdPorts, number][]) {
    const host = use === 'peer' ? peerHost : LOOPBACK;
    const taken = await bindPort(port, host).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (taken === undefined) continue;
    throw new ConflictError(`etcd's ${use} port ${port} on ${host} can not be used: is it taken?`, {
      cause: taken,
    });
  }
}

/** Two ports that nobody uses at the moment. */
export async function chooseFreePorts(): Promise<EtcdPorts> {
  const client = await bindPort(0);
  let peer = await bindPort(0);
  while (peer === client) peer = await bindPort(0);
  return { client, peer };
}

function bindPort(port: number, host: string = LOOPBACK): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      server.close(() => resolve(bound));
    });
  });
}

/** Opens the log for appending; a large one is put aside first, and one older one is kept. */
export async function openLog(directory: string): Promise<FileHandle> {
  const path = logPath(directory);
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  );
  if (size > LOG_KEEP_BYTES) await rename(path, `${path}.1`);
  return open(path, 'a', 0o600);
}

/**
 * Starts the program in a session of its own: a Ctrl-C at the manager's terminal is for the manager, which stops etcd
 * when it needs it no more. Its environment is empty but for what it must have: etcd takes ETCD_* variables as flags
 * and refuses to start when they contradict.
 */
export function spawnEtcd(settings: EtcdSettings, log: FileHandle): ChildProcess {
  const env: Record<string, string> = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    [MANAGER_PID]: `${process.pid}`,
  };
  if (process.arch !== 'x64') env['ETCD_UNSUPPORTED_ARCH'] = process.arch;
  const [command, ...args] = [...(settings.wrapper ?? []), settings.binary];
  return spawn(command, [...args, ...etcdArguments(settings)], {
    cwd: settings.directory,
    detached: true,
    env,
    stdio: ['ignore', log.fd, log.fd],
  });
}

/**
 * The running etcd of this data directory, if there is one: left over from a manager that was killed. Found by its
 * command line, so there is no pid file that could be stale or missing.
 */
export async function findRunning(directory: string): Promise<number | undefined> {
  const mark = `--data-dir=${dataDirectory(directory)}`;
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const commandLine = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
    if (commandLine.split('\0').includes(mark)) return Number(entry);
  }
  return undefined;
}

/**
 * The process that started this etcd, while it lives: it is then still its parent, for a process whose parent dies
 * gets another one (proc(5), prctl(2) PR_SET_CHILD_SUBREAPER).
 */
export async function livingManagerOf(pid: number): Promise<number | undefined> {
  const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
  const mark = environment.split('\0').find((entry) => entry.startsWith(`${MANAGER_PID}=`));
  const manager = Number(mark?.slice(MANAGER_PID.length + 1));
  const parent = Number((await statFields(pid))[1]);
  return manager === parent ? manager : undefined;
}

/** The fields of /proc/pid/stat from the third on: state, parent, ... Empty when there is no such process. */
async function statFields(pid: number): Promise<string[]> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The second field is the name in parentheses and may hold anything.
  return line.slice(line.lastIndexOf(')') + 2).split(' ');
}

/** Asks the process to end, and makes it after `graceMs` (etcd loses nothing: what it acknowledged is on disk). */
export async function stopProcess(pid: number, graceMs: number): Promise<void> {
  signalProcess(pid, 'SIGTERM');
  const killAtMs = Date.now() + graceMs;
  let killed = false;
  while (await isAlive(pid)) {
    if (!killed && Date.now() >= killAtMs) {
      signalProcess(pid, 'SIGKILL');
      killed = true;
    }
    await delay(POLL_MS, AbortSignal.timeout(60_000));
  }
}

function signalProcess(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** False for a zombie too: it holds neither ports nor files. */
async function isAlive(pid: number): Promise<boolean> {
  const [state = ''] = await statFields(pid);
  return state !== '' && state !== 'Z' && state !== 'X';
}
