/** An etcd of three members for a test, as an administrator would run it beside Shoal; gone at the end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createEtcdClient } from '../../manager/store/etcd-client.ts';
import {
  chooseFreePorts,
  clientUrl,
  etcdArguments,
  type EtcdSettings,
  findEtcd,
  LOOPBACK,
  openLog,
  prepareDirectory,
} from '../../manager/store/etcd-process.ts';
import { delay } from '../../shared/lib/abort.ts';

const MEMBERS = ['m1', 'm2', 'm3'];
const START_TIMEOUT_MS = 60_000;
const PROBE_TIMEOUT_MS = 1_000;

interface Member {
  readonly name: string;
  readonly settings: EtcdSettings;
  process: ChildProcess | undefined;
}

export class EtcdMembers implements AsyncDisposable {
  readonly endpoints: readonly string[];
  readonly #members: readonly Member[];
  readonly #directory: string;
  readonly #onExit = (): void => {
    for (const { process: child } of this.#members) child?.kill('SIGKILL');
    rmSync(this.#directory, { recursive: true, force: true });
  };

  private constructor(directory: string, members: readonly Member[]) {
    this.#directory = directory;
    this.#members = members;
    this.endpoints = members.map(({ settings }) => clientUrl(settings.ports));
    process.once('exit', this.#onExit);
  }

  /** Resolves when they have a leader. */
  static async start(): Promise<EtcdMembers> {
    const binary = await findEtcd(undefined);
    const directory = await mkdtemp(join(tmpdir(), 'shoal-etcd-'));
    const members: Member[] = [];
    for (const name of MEMBERS) {
      const own = join(directory, name);
      await prepareDirectory(own);
      const settings = { binary, directory: own, ports: await chooseFreePorts(), quotaBytes: 1024 ** 3 };
      members.push({ name, settings, process: undefined });
    }
    const all = new EtcdMembers(directory, members);
    await all.startAll();
    return all;
  }

  /** Starts those that are dead; resolves when the whole has a leader. */
  async startAll(): Promise<void> {
    for (const member of this.#members) if (member.process === undefined) await this.#spawn(member);
    await this.leader();
  }

  /** Name of the member that leads. */
  async leader(): Promise<string> {
    const deadline = AbortSignal.timeout(START_TIMEOUT_MS);
    for (;;) {
      for (const member of this.#members) if (await leads(member)) return member.name;
      await delay(100, deadline);
    }
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(name: string): Promise<void> {
    const member = this.#members.find((candidate) => candidate.name === name);
    const child = member?.process;
    if (member === undefined || child === undefined) throw new Error(`no etcd ${name} runs`);
    member.process = undefined;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async killAll(): Promise<void> {
    const alive = this.#members.filter((member) => member.process !== undefined);
    await Promise.all(alive.map(({ name }) => this.kill(name)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#onExit);
    await this.killAll();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #spawn(member: Member): Promise<void> {
    const peers = this.#members.map(
      ({ name, settings }) => `${name}=http://${LOOPBACK}:${settings.ports.peer}`,
    );
    // Of a flag that is given twice the last one counts.
    const own = [`--name=${member.name}`, `--initial-cluster=${peers.join(',')}`];
    const log = await openLog(member.settings.directory);
    const args = ['--pdeathsig=KILL', member.settings.binary, ...etcdArguments(member.settings), ...own];
    member.process = spawn('setpriv', args, { stdio: ['ignore', log.fd, log.fd] });
    await log.close();
  }
}

async function leads({ settings, process: child }: Member): Promise<boolean> {
  if (child === undefined) return false;
  const client = createEtcdClient({
    endpoints: [clientUrl(settings.ports)],
    callTimeoutMs: PROBE_TIMEOUT_MS,
  });
  try {
    const { leader, header } = await client.maintenance.status();
    return leader !== '0' && leader === header.member_id;
  } catch {
    return false;
  } finally {
    client.close();
  }
}
