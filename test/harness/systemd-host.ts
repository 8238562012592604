/** A host that systemd has booted, in namespaces: see systemd-host.sh. For cgroups v1 as this machine mounts them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, readFile, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { PROJECT_ROOT } from '../../deploy/local/project.ts';
import { delay } from '../../shared/lib/abort.ts';

const CGROUPS = '/sys/fs/cgroup';
const BOOT_TRIES = 300;
const POLL_MS = 100;

export interface HostResult {
  readonly code: number | null;
  readonly output: string;
}

/** Why there can be no such host here; undefined: there can. */
export function noSystemdHost(): string | undefined {
  if (!existsSync('/lib/systemd/systemd')) return 'systemd is not installed';
  const needed = ['systemd', 'unified', 'memory', 'pids', 'cpuset'].map((name) => path.join(CGROUPS, name));
  return needed.every((directory) => existsSync(directory)) ? undefined : 'cgroups v1 are not mounted';
}

export class SystemdHost implements AsyncDisposable {
  readonly #name: string;
  readonly #directory: string;
  readonly #child: ChildProcess;
  #said = '';
  /** Of systemd, as this machine numbers it. */
  #pid = 0;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#name = randomBytes(4).toString('hex');
    const script = path.join(PROJECT_ROOT, 'test/harness/systemd-host.sh');
    this.#child = spawn(script, [this.#name, directory], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => (this.#said += chunk.toString('utf8')));
    }
  }

  /** `directory` is empty but for `share`, which the host sees as /share. */
  static async boot(directory: string): Promise<SystemdHost> {
    const host = new SystemdHost(directory);
    for (let tries = 0; tries < BOOT_TRIES; tries += 1) {
      if (host.#child.exitCode !== null) break;
      host.#pid = await host.#firstProcess();
      if (host.#pid !== 0 && (await host.sh('systemctl is-system-running')).code === 0) return host;
      await delay(POLL_MS, new AbortController().signal);
    }
    await host[Symbol.asyncDispose]();
    throw new Error(`systemd did not come up in its namespaces: ${host.#said}`);
  }

  /** Runs a shell's command in it as root. */
  async sh(command: string): Promise<HostResult> {
    const clean = [
      'env',
      '-i',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'HOME=/root',
    ];
    const node = `PATH=$PATH:${path.dirname(process.execPath)}`;
    const args = [
      '--target',
      String(this.#pid),
      '--all',
      '--',
      ...clean,
      'bash',
      '-c',
      `${node}; ${command}`,
    ];
    const child = spawn('nsenter', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, output };
  }

  /** Resolves, once systemd has ended all units and itself, with how long that took. */
  async shutDown(): Promise<number> {
    const beganMs = performance.now();
    await this.sh('systemctl --no-block poweroff');
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'close');
    return performance.now() - beganMs;
  }

  async #firstProcess(): Promise<number> {
    const file = path.join(CGROUPS, 'systemd', `shoal-host-${this.#name}`, 'init.scope/cgroup.procs');
    return Number((await readFile(file, 'utf8').catch(() => '')).split('\n')[0] ?? '');
  }

  /** With its first process all others end, and its mounts go. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const closed = once(this.#child, 'close');
      this.#child.kill('SIGKILL');
      await closed;
    }
    for (const hierarchy of await readdir(CGROUPS)) {
      await removeCgroups(path.join(CGROUPS, hierarchy, `shoal-host-${this.#name}`));
    }
    await rm(path.join(this.#directory, 'tmp'), { recursive: true, force: true });
  }
}

/** The deepest first; what is still ending is waited for. */
async function removeCgroups(directory: string): Promise<void> {
  if (!existsSync(directory)) return;
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeCgroups(path.join(directory, entry.name));
  }
  for (let tries = 0; tries < BOOT_TRIES; tries += 1) {
    const error = await rmdir(directory).catch((cause: NodeJS.ErrnoException) => cause);
    if (error?.code !== 'EBUSY') return;
    await delay(POLL_MS, new AbortController().signal);
  }
  throw new Error(`${directory} does not go`);
}
