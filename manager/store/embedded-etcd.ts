/**
 * The manager's own etcd: Debian's program as a child process, started again whenever it dies. Its clients are on loopback,
 * the etcds of other managers on the network; both need a certificate of an authority that is etcd's alone.
 *
 * When a manager is killed its etcd goes on by itself. The next manager finds it (by its data directory), ends it and
 * starts its own: an etcd that is not our child could only be polled, and may run with the arguments of an older
 * version. It costs a second at a time when no manager serves; everything acknowledged is on disk.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join, resolve as resolvePath } from 'node:path';
import type { Logger } from '../../shared/model/options.ts';
import { ConflictError, describeError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import { backoffMs } from '../../shared/lib/backoff.ts';
import type { RootMaterial } from '../ca/authority.ts';
import {
  etcdTlsFiles,
  prepareClientTls,
  preparePeerTls,
  readEtcdRoots,
  rootName,
  writeEtcdRoots,
} from '../ca/etcd-authority.ts';
import { createEtcdClient, type EtcdTls } from './etcd-client.ts';
import { explainExit, MemberRemovedError } from './etcd-failure.ts';
import {
  checkPortsFree,
  chooseFreePorts,
  clientUrl,
  findEtcd,
  findRunning,
  livingManagerOf,
  LOOPBACK,
  logPath,
  openLog,
  prepareDirectory,
  spawnEtcd,
  stopProcess,
} from './etcd-process.ts';
import type { EtcdMember, EtcdPorts, EtcdSettings } from './etcd-process.ts';

export interface EmbeddedEtcdOptions {
  /** Holds all that belongs to this etcd; made if absent. */
  readonly directory: string;
  /** Default: `etcd` on the PATH. */
  readonly binary?: string;
  /** Default: the only member, on loopback. */
  readonly member?: EtcdMember;
  /** See EtcdSettings. */
  readonly forceNewCluster?: boolean;
  /** Default: free ports, chosen once and kept in the directory. */
  readonly ports?: EtcdPorts;
  /** Size of the database at which etcd refuses writes. Default 2 GiB. */
  readonly quotaBytes?: number;
  readonly logger: Logger;
  /** Stops waiting until it serves; a running etcd is ended by `stop()`. */
  readonly signal: AbortSignal;
}

/** Of etcd's database. */
export const DEFAULT_QUOTA_BYTES = 2 * 1024 ** 3;
/** How often somebody who waits is told for what. */
const STILL_WAITING_MS = 5_000;
const READY_POLL_MS = 50;
const STOP_GRACE_MS = 5_000;
const BACKOFF_BASE_MS = 100;
const BACKOFF_MAX_MS = 5_000;
/** One that ran this long did not fail at its start. */
const STABLE_MS = 10_000;

/**
 * Starts etcd and resolves once it serves: one of several waits for a majority, one that joins until it is made a voter.
 * Rejects with NotFoundError (no program), ConflictError (a port is taken),
 * InvalidError (directory not writable, or damaged data), UnavailableError. From then on it is kept running.
 */
export async function startEmbeddedEtcd(options: EmbeddedEtcdOptions): Promise<EmbeddedEtcd> {
  const directory = resolvePath(options.directory);
  const binary = await findEtcd(options.binary);
  await prepareDirectory(directory);
  await endLeftover(directory, options.logger);
  const ports = options.ports ?? (await keptPorts(directory));
  const { quotaBytes = DEFAULT_QUOTA_BYTES, logger, signal, member, forceNewCluster = false } = options;
  await checkPortsFree(ports, member?.listenHost);
  const hosts = memberHosts(member);
  const tls = await prepareClientTls(directory, hosts, Date.now());
  const roots = await preparePeerTls(directory, hosts, Date.now());
  const files = etcdTlsFiles(directory);
  const which = member === undefined ? {} : { member };
  const settings = { binary, directory, ports, quotaBytes, tls: files, forceNewCluster, ...which };
  const etcd = new EmbeddedEtcd(settings, tls, roots.map(rootName), logger);
  await etcd.start(signal);
  return etcd;
}

/** What its certificate is for: others compare the address that they connect to, and the one that a peer comes from. */
function memberHosts(member: EtcdMember | undefined): string[] {
  const own = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const addresses = own.filter((entry) => !entry.address.startsWith('fe80:')).map((entry) => entry.address);
  const named = member === undefined ? [] : [new URL(member.peerUrl).hostname.replace(/^\[|\]$/g, '')];
  return ['localhost', LOOPBACK, ...addresses, ...named];
}

/** Ends the etcd of this directory that goes on without its manager; ConflictError when it still has one. */
async function endLeftover(directory: string, logger: Logger): Promise<void> {
  const left = await findRunning(directory);
  if (left === undefined) return;
  const manager = await livingManagerOf(left);
  if (manager !== undefined && manager !== process.pid) {
    throw new ConflictError(`${directory} is in use by another manager, process ${manager}`);
  }
  logger.info({ pid: left }, 'ending the etcd that an earlier manager left running');
  await stopProcess(left, STOP_GRACE_MS);
}

/** The ports of the last time; others when somebody else has taken one since (nobody but this manager knows them). */
async function keptPorts(directory: string): Promise<EtcdPorts> {
  const path = join(directory, 'ports.json');
  try {
    const { client, peer } = JSON.parse(await readFile(path, 'utf8')) as EtcdPorts;
    const kept = { client, peer };
    await checkPortsFree(kept);
    return kept;
  } catch {
    const ports = await chooseFreePorts();
    await writeFile(path, `${JSON.stringify(ports)}\n`, { mode: 0o600 });
    return ports;
  }
}

export interface EtcdReach {
  readonly endpoints: readonly string[];
  readonly tls: EtcdTls;
}

interface Running {
  readonly child: ChildProcess;
  readonly startedAtMs: number;
  /** Size of the log before it started: what follows is its own. */
  readonly logOffset: number;
  /** Exit code or signal, once it has ended. */
  readonly ended: Promise<string>;
}

export class EmbeddedEtcd implements AsyncDisposable {
  readonly endpoints: readonly string[];
  /** What a client needs. */
  readonly reach: EtcdReach;
  readonly directory: string;
  /** Resolves when the others have removed this member: it does not come back by itself. */
  readonly removed: Promise<void>;
  readonly #settings: EtcdSettings;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  #running: Running | undefined;
  #supervising: Promise<void> = Promise.resolve();
  #wasRemoved: () => void = () => undefined;
  #trusted: readonly string[];
  /** It ends because it is told to, and starts again at once. */
  #restarting = false;

  constructor(settings: EtcdSettings, tls: EtcdTls, trusted: readonly string[], logger: Logger) {
    this.#settings = settings;
    this.#trusted = trusted;
    this.#logger = logger;
    this.directory = settings.directory;
    this.endpoints = [clientUrl(settings.ports, 'https')];
    // An address is no name for TLS (RFC 6066, 3).
    this.reach = { endpoints: this.endpoints, tls: { ...tls, serverName: 'localhost' } };
    this.removed = new Promise((resolve) => {
      this.#wasRemoved = resolve;
    });
  }

  /** Of the present process; undefined between two. */
  get pid(): number | undefined {
    return this.#running?.child.pid;
  }

  /** Names of the roots that it believes other members by; the first one signs what it shows them. */
  get trusted(): readonly string[] {
    return this.#trusted;
  }

  /** All roots of the directory; those that were added are believed from the next `believe` or start on. */
  async roots(): Promise<readonly RootMaterial[]> {
    return (await readEtcdRoots(this.directory)) ?? [];
  }

  /** Writes these down without any effect on what runs. */
  keepRoots(roots: readonly RootMaterial[]): Promise<void> {
    return writeEtcdRoots(this.directory, roots);
  }

  /**
   * Other members are believed by these roots, and the first signs what this one shows. What it shows is changed as it runs; for
   * others whom it believes it is started again. Resolves once it serves; rejects when the signal aborts before.
   */
  async believe(roots: readonly RootMaterial[], signal: AbortSignal): Promise<void> {
    const names = roots.map(rootName);
    await writeEtcdRoots(this.directory, roots);
    await preparePeerTls(this.directory, memberHosts(this.#settings.member), Date.now());
    if (names.toSorted().join() !== this.#trusted.toSorted().join()) await this.#restart(signal);
    this.#trusted = names;
  }

  async #restart(signal: AbortSignal): Promise<void> {
    const running = this.#running;
    if (running !== undefined) {
      this.#restarting = true;
      await this.#end(running);
    }
    await this.#answers(AbortSignal.any([signal, this.#stop.signal]));
  }

  /** First start, then supervision. Call once. */
  async start(signal: AbortSignal): Promise<void> {
    const first = await this.#spawn();
    try {
      await this.#ready(first, signal);
    } catch (error) {
      await this.#end(first);
      throw error;
    }
    this.#supervising = this.#supervise(first);
  }

  /** Ends etcd in an orderly way; resolves when it is gone. */
  async stop(): Promise<void> {
    this.#stop.abort();
    if (this.#running !== undefined) await this.#end(this.#running);
    await this.#supervising;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #spawn(): Promise<Running> {
    const log = await openLog(this.#settings.directory);
    try {
      const logOffset = (await log.stat()).size;
      const child = spawnEtcd(this.#settings, log);
      const ended = new Promise<string>((resolve) => {
        child.once('exit', (code, name) => resolve(name ?? `exit code ${code}`));
        child.once('error', (error) => resolve(describeError(error)));
      });
      const running = { child, startedAtMs: Date.now(), logOffset, ended };
      this.#running = running;
      void ended.then(() => {
        if (this.#running === running) this.#running = undefined;
      });
      if (child.pid === undefined) await once(child, 'error').catch(() => undefined);
      return running;
    } finally {
      await log.close();
    }
  }

  async #end(running: Running): Promise<void> {
    const { child, ended } = running;
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
      await ended;
      clearTimeout(timer);
    }
  }

  /** Resolves when etcd answers; rejects with the reason when it ends instead. */
  async #ready(running: Running, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const waiting = setInterval(() => {
      const log = logPath(this.directory);
      this.#logger.warn({ log }, 'etcd does not serve yet: one of several members needs a majority of them');
    }, STILL_WAITING_MS);
    const died = running.ended.then(async (status) => {
      throw await this.#explain(running, status);
    });
    try {
      await Promise.race([this.#answers(AbortSignal.any([signal, over.signal])), died]);
    } finally {
      clearInterval(waiting);
      over.abort();
    }
  }

  async #answers(signal: AbortSignal): Promise<void> {
    const client = createEtcdClient({ ...this.reach, callTimeoutMs: 1_000 });
    try {
      for (;;) {
        signal.throwIfAborted();
        // A range goes through consensus: it is answered by a leader only.
        const serves = await client.kv.range({ key: Buffer.from('/'), limit: 1 }).then(
          () => true,
          () => false,
        );
        if (serves) return;
        await delay(READY_POLL_MS, signal);
      }
    } finally {
      client.close();
    }
  }

  async #explain(running: Running, status: string): Promise<Error> {
    const path = logPath(this.directory);
    const all = await readFile(path).catch(() => Buffer.alloc(0));
    const log = all.subarray(running.logOffset).toString();
    return explainExit({ log, status, directory: this.directory, logPath: path });
  }

  /** Starts etcd again whenever it has ended, for as long as nobody calls `stop`. Never rejects. */
  async #supervise(first: Running): Promise<void> {
    const { signal } = this.#stop;
    let running: Running | undefined = first;
    let attempt = 0;
    while (!signal.aborted) {
      if (running !== undefined) {
        const status = await running.ended;
        if (signal.aborted) return;
        const reason = await this.#explain(running, status);
        if (reason instanceof MemberRemovedError) return this.#wasRemoved();
        if (this.#restarting) this.#logger.info({}, 'etcd is started again, as it was told');
        else this.#logger.error({ status, reason: reason.message }, 'etcd ended and is started again');
        if (this.#restarting || Date.now() - running.startedAtMs > STABLE_MS) attempt = 0;
        this.#restarting = false;
      }
      await delay(backoffMs(attempt, BACKOFF_BASE_MS, BACKOFF_MAX_MS, Math.random()), signal).catch(
        () => undefined,
      );
      attempt += 1;
      running = await this.#again(signal);
    }
    if (running !== undefined) await this.#end(running);
  }

  async #again(signal: AbortSignal): Promise<Running | undefined> {
    if (signal.aborted) return undefined;
    try {
      return await this.#spawn();
    } catch (error) {
      this.#logger.error({ error: describeError(error) }, 'etcd can not be started; trying again');
      return undefined;
    }
  }
}
