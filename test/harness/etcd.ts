/** A private etcd for a test: on free ports, in a temporary directory, gone at the end. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Etcd3 } from 'etcd3';
import { etcdTlsFiles } from '../../manager/ca/etcd-authority.ts';
import { createEtcdClient, type EtcdTls } from '../../manager/store/etcd-client.ts';
import {
  chooseFreePorts,
  clientUrl,
  dataDirectory,
  findEtcd,
  openLog,
  prepareDirectory,
  spawnEtcd,
} from '../../manager/store/etcd-process.ts';
import type { EtcdSettings } from '../../manager/store/etcd-process.ts';
import { delay } from '../../shared/lib/abort.ts';

const START_TIMEOUT_MS = 60_000;
const ATTEMPTS = 3;

const living = new Set<TestEtcd>();
process.once('exit', () => {
  for (const etcd of living) etcd.endNow();
});

/** What a client of this port of the embedded etcd of this directory needs: its member's own certificate. */
export async function tlsOfEmbedded(
  directory: string,
  port: 'client' | 'peer' = 'client',
): Promise<Required<EtcdTls>> {
  const files = etcdTlsFiles(directory)[port];
  const [ca, cert, key] = await Promise.all(
    [files.ca, files.cert, files.key].map((file) => readFile(file, 'utf8')),
  );
  if (ca === undefined || cert === undefined || key === undefined) throw new Error('not three files');
  return { ca, cert, key, serverName: 'localhost' };
}

export interface TestEtcdOptions {
  readonly quotaBytes?: number;
  readonly maxTxnOps?: number;
  readonly maxRequestBytes?: number;
}

/** Starts one and resolves when it serves. */
export async function startEtcd(options: TestEtcdOptions = {}): Promise<TestEtcd> {
  const binary = await findEtcd(undefined);
  // A test that is killed takes its etcd along.
  const wrapper = ['setpriv', '--pdeathsig=KILL'];
  const limits = { quotaBytes: 1024 ** 3, wrapper, ...options };
  for (let attempt = 1; ; attempt += 1) {
    const directory = await mkdtemp(join(tmpdir(), 'shoal-etcd-'));
    await prepareDirectory(directory);
    const etcd = new TestEtcd({ binary, directory, ports: await chooseFreePorts(), ...limits });
    try {
      await etcd.start();
      return etcd;
    } catch (error) {
      await etcd[Symbol.asyncDispose]();
      // Another test may have taken a port between choosing and binding.
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

export class TestEtcd implements AsyncDisposable {
  readonly endpoints: readonly string[];
  /** A client of the test's own, to look at and to meddle with etcd's content. */
  readonly client: Etcd3;
  readonly #settings: EtcdSettings;
  #child: ChildProcess | undefined;

  constructor(settings: EtcdSettings) {
    this.#settings = settings;
    this.endpoints = [clientUrl(settings.ports)];
    this.client = createEtcdClient({ endpoints: this.endpoints });
    living.add(this);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts it (again) on the same ports and data; resolves when it serves. */
  async start(): Promise<void> {
    const log = await openLog(this.#settings.directory);
    const child = spawnEtcd(this.#settings, log);
    this.#child = child;
    await log.close();
    const deadline = AbortSignal.timeout(START_TIMEOUT_MS);
    for (;;) {
      if (child.exitCode !== null) throw new Error(`etcd ended with ${child.exitCode}`);
      const serves = await this.client.kv.range({ key: Buffer.from('/'), limit: 1 }).then(
        () => true,
        () => false,
      );
      if (serves) return;
      await delay(50, deadline);
    }
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** For a process that ends in the middle of a test: nothing asynchronous happens any more. */
  endNow(): void {
    this.#child?.kill('SIGKILL');
    rmSync(this.#settings.directory, { recursive: true, force: true });
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** Runs `work` while the clients of before have lost etcd: it serves on other ports meanwhile. */
  async detached(work: (client: Etcd3) => Promise<void>): Promise<void> {
    await this.kill();
    const aside = new TestEtcd({ ...this.#settings, ports: await chooseFreePorts() });
    try {
      await aside.start();
      await work(aside.client);
    } finally {
      await aside.kill();
      aside.client.close();
      living.delete(aside);
    }
    await this.start();
  }

  /** Loses all data and starts anew. */
  async wipe(): Promise<void> {
    await this.kill();
    await rm(dataDirectory(this.#settings.directory), { recursive: true, force: true });
    await prepareDirectory(this.#settings.directory);
    await this.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.client.close();
    living.delete(this);
    await rm(this.#settings.directory, { recursive: true, force: true });
  }
}
