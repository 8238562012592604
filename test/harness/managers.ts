/** Further managers of a test's cluster, each a host of its own with its own etcd. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ApiClient } from '../../deploy/cli/client.ts';
import { Child } from '../../deploy/local/child.ts';
import { run } from '../../deploy/local/command.ts';
import type { LocalNode } from '../../deploy/local/layout.ts';
import type { LocalCluster } from '../../deploy/local/local-cluster.ts';
import { clusterProcesses, type ProcessInfo, signalProcess, waitGone } from '../../deploy/local/proc.ts';
import { CLI_PATH } from '../../deploy/local/project.ts';
import { poll, readManagerFile } from '../../deploy/local/run-files.ts';
import { createHost } from '../../deploy/local/underlay.ts';

/** Host numbers of managers begin here, those of nodes at 1. */
const FIRST_INDEX = 100;
const UP_WITHIN_MS = 60_000;

export class TestManager {
  readonly #local: LocalCluster;
  readonly #host: LocalNode;
  readonly process: Child;
  readonly client: ApiClient;
  /** host:port */
  readonly address: string;
  /** host:port where users reach the API. */
  readonly apiAddress: string;

  constructor(
    local: LocalCluster,
    number: number,
    environment: Readonly<Record<string, string>>,
    onExit: (text: string) => void,
    program: (title: string) => string = () => CLI_PATH,
  ) {
    const { layout } = local;
    this.#local = local;
    const index = FIRST_INDEX + number;
    const netns = `${layout.netnsPrefix}host_${index}`;
    this.#host = {
      index,
      hostname: `m${number}`,
      address: `${local.subnet}.${index}`,
      netns: { name: netns, path: `/run/netns/${netns}` },
      stateDir: path.join(layout.stateDir, `manager-${number}`),
      runDir: path.join(layout.runDir, `manager-${number}`),
    };
    this.address = `${this.#host.address}:${layout.managerPort}`;
    this.apiAddress = `${this.#host.address}:2376`;
    const socket = path.join(layout.runDir, `m${number}.sock`);
    this.client = new ApiClient(socket);
    const title = this.#host.hostname;
    const args = this.#args(socket);
    const spec = {
      title,
      get args() {
        return [program(title), ...args];
      },
      logFile: path.join(layout.logDir, `${this.#host.hostname}.log`),
      netns: `/run/netns/${netns}`,
      stateDir: layout.stateDir,
      environment,
    };
    this.process = new Child(spec, onExit);
  }

  get stateDir(): string {
    return this.#host.stateDir;
  }

  get hostname(): string {
    return this.#host.hostname;
  }

  get pid(): number | undefined {
    return this.process.pid;
  }

  /** Makes the host and begins to join; `ready` waits for it. */
  async join(signal: AbortSignal): Promise<void> {
    const { layout, subnet } = this.#local;
    await createHost(layout, subnet, this.#host, signal);
    await this.#writeToken(signal);
    this.process.start();
  }

  async #writeToken(signal: AbortSignal): Promise<void> {
    await mkdir(this.#host.stateDir, { recursive: true, mode: 0o700 });
    const { Manager } = await this.#local.tokens(signal);
    await writeFile(path.join(this.#host.stateDir, 'token'), Manager, { mode: 0o600 });
  }

  /** Resolves once the present process serves. */
  async ready(): Promise<void> {
    const until = AbortSignal.timeout(UP_WITHIN_MS);
    await poll(async () => {
      const file = await readManagerFile(this.#host.runDir);
      if (file === undefined || file.pid !== this.pid) return undefined;
      const answer = await this.client.send('GET', '/_ping', undefined, until).catch(() => undefined);
      return answer?.status === 200 ? true : undefined;
    }, until);
  }

  /** The machine dies: manager and etcd at once, until `start`. */
  async die(): Promise<void> {
    await this.process.kill({ hold: true });
    await killEtcd(this.#host.stateDir);
  }

  /** Runs a program of the system on its host. */
  run(program: string, ...args: readonly string[]): Promise<string> {
    return run(program, args, AbortSignal.timeout(UP_WITHIN_MS), { netns: this.#host.netns?.path });
  }

  /** Pulls its cable, or plugs it in again. */
  setCable(state: 'up' | 'down', signal: AbortSignal): Promise<void> {
    return this.#local.setCable(this.#host, state, signal);
  }

  /** SIGKILL of the manager alone; its supervisor starts it again. */
  crash(): Promise<void> {
    return this.process.kill({ hold: false });
  }

  start(): void {
    this.process.release();
  }

  #args(socket: string): string[] {
    const { layout, subnet } = this.#local;
    const { stateDir, runDir } = this.#host;
    return [
      ...['manager', '--name', layout.name, '--socket', socket],
      ...['--join-file', path.join(stateDir, 'token'), `${subnet}.1:${layout.managerPort}`],
      ...['--state-dir', path.join(stateDir, 'state'), '--run-dir', runDir],
      ...['--listen', this.address, '--advertise', this.address, '--api', this.apiAddress],
      ...['--etcd-client-port', String(layout.etcdClientPort)],
      ...['--etcd-peer-port', String(layout.etcdPeerPort)],
    ];
  }
}

/** The etcd below this directory. */
export async function etcdsOf(directory: string): Promise<ProcessInfo[]> {
  const all = await clusterProcesses(directory, directory);
  return all.filter((info) => path.basename(info.command.split(' ')[0] ?? '') === 'etcd');
}

/** Kills the etcd below this directory. */
export async function killEtcd(directory: string): Promise<void> {
  const own = await etcdsOf(directory);
  for (const info of own) await signalProcess(info, 'SIGKILL');
  await waitGone(own, 10_000);
}
