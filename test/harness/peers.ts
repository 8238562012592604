import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** Programs of the distribution that are clients, workloads or rivals; unpacked below `root`, not installed. */
export interface Peers {
  /** The directory that the packages were unpacked into; a package's /usr/bin is its usr/bin. */
  readonly root: string;
  readonly docker: string;
  /** A newer docker client than the distribution's; undefined where it could not be had. */
  readonly newerDocker: string | undefined;
  readonly dockerd: string;
  readonly containerd: string;
  readonly runc: string;
  readonly crun: string;
  readonly registry: string;
  readonly nginx: string;
  readonly redisServer: string;
  readonly redisCli: string;
  /** process.env with PATH and LD_LIBRARY_PATH such that each of them runs. */
  readonly env: NodeJS.ProcessEnv;
}

let ensured: Promise<Peers> | undefined;

/** The peers, unpacked on first use into .cache/peers of the checkout, or into SHOAL_PEERS_DIR. */
export function ensurePeers(): Promise<Peers> {
  ensured ??= unpackPeers();
  return ensured;
}

export interface Podman {
  readonly podman: string;
  readonly conmon: string;
  /** process.env with PATH and LD_LIBRARY_PATH such that both run. */
  readonly env: NodeJS.ProcessEnv;
}

/** Unpacked on first use into .cache/podman of the checkout, or into SHOAL_PODMAN_DIR. */
export async function ensurePodman(): Promise<Podman> {
  const directory = process.env['SHOAL_PODMAN_DIR'] ?? join(checkoutDir(), '.cache', 'podman');
  await promisify(execFile)(join(checkoutDir(), 'deploy', 'prerequisites.sh'), ['--podman', directory]);
  const binaries = join(directory, 'root', 'usr', 'bin');
  const libraries = await libraryDirs(join(directory, 'root'));
  return {
    podman: join(binaries, 'podman'),
    conmon: join(binaries, 'conmon'),
    env: {
      ...process.env,
      PATH: `${binaries}:${process.env['PATH'] ?? ''}`,
      LD_LIBRARY_PATH: libraries.join(':'),
    },
  };
}

/** The checkout: where package.json is, above dist/. */
export function checkoutDir(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  return directory;
}

async function unpackPeers(): Promise<Peers> {
  const directory = process.env['SHOAL_PEERS_DIR'] ?? join(checkoutDir(), '.cache', 'peers');
  // quick when all is there; it checks its own stamp
  await promisify(execFile)(join(checkoutDir(), 'deploy', 'prerequisites.sh'), ['--peers', directory]);
  const root = join(directory, 'root');
  const binaries = ['usr/sbin', 'usr/bin', 'sbin', 'bin'].map((path) => join(root, path));
  // distributions do not agree on sbin or bin
  const program = (name: string): string => {
    const found = binaries.map((path) => join(path, name)).find(existsSync);
    if (found === undefined) throw new Error(`${directory} holds no ${name}`);
    return found;
  };
  const libraries = await libraryDirs(root);
  return {
    root,
    docker: program('docker'),
    newerDocker: [join(directory, 'newer', 'docker')].find(existsSync),
    dockerd: program('dockerd'),
    containerd: program('containerd'),
    runc: program('runc'),
    crun: program('crun'),
    registry: program('docker-registry'),
    nginx: program('nginx'),
    redisServer: program('redis-server'),
    redisCli: program('redis-cli'),
    env: {
      ...process.env,
      PATH: [...binaries, process.env['PATH'] ?? ''].join(':'),
      LD_LIBRARY_PATH: libraries.join(':'),
      XTABLES_LIBDIR: libraries.map((path) => join(path, 'xtables')).find(existsSync) ?? '',
    },
  };
}

/** lib and usr/lib, and the architecture's directories in them. */
export async function libraryDirs(root: string): Promise<string[]> {
  const found: string[] = [];
  for (const base of ['usr/lib', 'lib'].map((path) => join(root, path))) {
    if (!existsSync(base)) continue;
    const names = await readdir(base);
    found.push(base, ...names.filter((name) => name.endsWith('-linux-gnu')).map((name) => join(base, name)));
  }
  return found;
}
