/**
 * The distribution's docker daemon as the peer of a benchmark: in mount and network namespaces of its own, under a cgroup
 * parent of its own, so that it leaves nothing behind.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { removeCgroup } from '../../deploy/local/cgroups.ts';
import { leftoverName } from './leftovers.ts';
import { ensurePeers, type Peers } from './peers.ts';

const run = promisify(execFile);
const APPLETS = ['sh', 'sleep', 'true', 'httpd', 'cat', 'echo', 'hostname'];
const READY_MS = 60_000;

export interface Dockerd extends AsyncDisposable {
  readonly socket: string;
  /** Runs the stock client against it; its standard output. */
  docker(...args: string[]): Promise<string>;
  /** dockerd and its containerd. */
  pids(): Promise<number[]>;
}

/** options: more of them for the daemon's command line. `hostname`: one of its own, for a second daemon. */
export async function startDockerd(options: readonly string[] = [], hostname?: string): Promise<Dockerd> {
  const peers = await ensurePeers();
  const directory = await mkdtemp(join(tmpdir(), 'shoal-test-dockerd-'));
  const parent = `/${leftoverName('dockerd')}${hostname ?? '0'}`;
  const socket = join(directory, 'docker.sock');
  const daemon = launch(peers, directory, socket, { parent, options, hostname });
  const docker = async (...args: string[]): Promise<string> =>
    (await run(peers.docker, ['-H', `unix://${socket}`, ...args], { env: peers.env })).stdout;
  const dispose = async (): Promise<void> => {
    await stop(daemon, docker);
    await rm(directory, { recursive: true, force: true });
    await removeCgroup(parent);
  };
  try {
    await ready(daemon, docker, join(directory, 'log'));
    return { socket, docker, pids: () => daemonPids(daemon.pid ?? 0), [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** An image of busybox alone, known to the daemon as `name`. */
export async function importBusybox(dockerd: Dockerd, name: string): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-test-image-'));
  try {
    await mkdir(join(directory, 'root', 'bin'), { recursive: true });
    await cp('/bin/busybox', join(directory, 'root', 'bin', 'busybox'));
    for (const applet of APPLETS) await symlink('busybox', join(directory, 'root', 'bin', applet));
    await run('tar', ['-C', join(directory, 'root'), '-cf', join(directory, 'image.tar'), '.']);
    await dockerd.docker('import', join(directory, 'image.tar'), name);
  } finally {
    await rm(directory, { recursive: true });
  }
}

interface Launch {
  readonly parent: string;
  readonly options: readonly string[];
  readonly hostname: string | undefined;
}

function launch(
  peers: Peers,
  directory: string,
  socket: string,
  { parent, options, hostname }: Launch,
): ChildProcess {
  const args = [
    ...['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec')],
    ...['--pidfile', join(directory, 'pid'), '-H', `unix://${socket}`, '--cgroup-parent', parent, ...options],
  ];
  const command = ['--mount', '--net', '--uts', '--propagation', 'private', '--', 'sh', '-c'];
  const name = hostname === undefined ? '' : `hostname ${hostname} && `;
  const script = `${name}ip link set lo up && exec "$@"`;
  const log = openSync(join(directory, 'log'), 'a');
  return spawn('setpriv', ['--pdeathsig=TERM', 'unshare', ...command, script, 'sh', peers.dockerd, ...args], {
    env: peers.env,
    stdio: ['ignore', log, log],
  });
}

async function ready(daemon: ChildProcess, docker: Dockerd['docker'], log: string): Promise<void> {
  for (const deadline = Date.now() + READY_MS; Date.now() < deadline; ) {
    if (daemon.exitCode !== null) break;
    const answered = await docker('version', '--format', '{{.Server.Version}}').then(
      () => true,
      () => false,
    );
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const { stdout } = await run('tail', ['-n', '5', log]);
  throw new Error(`dockerd did not start:\n${stdout}`);
}

/** Containers first: their shims would outlive the daemon. */
async function stop(daemon: ChildProcess, docker: Dockerd['docker']): Promise<void> {
  if (daemon.exitCode !== null || daemon.pid === undefined) return;
  await docker('swarm', 'leave', '--force').catch(() => '');
  const ids = (await docker('ps', '-aq').catch(() => '')).split('\n').filter((id) => id !== '');
  if (ids.length > 0) await docker('rm', '-f', ...ids).catch(() => '');
  const ended = new Promise<void>((resolve) => daemon.once('exit', () => resolve()));
  daemon.kill('SIGTERM');
  await ended;
}

/** `unshare` became dockerd itself; containerd is its child. */
async function daemonPids(pid: number): Promise<number[]> {
  const { stdout } = await run('ps', ['--ppid', String(pid), '-o', 'pid=']);
  return [pid, ...stdout.split('\n').map(Number)].filter((one) => one > 0);
}
