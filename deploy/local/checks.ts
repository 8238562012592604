/** What a machine must have before a cluster is made on it: each check says what is missing and how to mend it. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, statfs } from 'node:fs/promises';
import path from 'node:path';
import { cgroupRoots } from './cgroups.ts';
import { CommandError, findProgram, run, tryRun } from './command.ts';
import type { Layout } from './layout.ts';
import { portHolder, portIsFree, type Port } from './ports.ts';
import { PREREQUISITES, PROJECT_ROOT } from './project.ts';

/** What is wrong and what to do about it; undefined: all is well. */
export type Problem = string | undefined;

export function checkRoot(): Problem {
  if (process.platform !== 'linux') return `this needs Linux, and this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'this needs root: run it again with sudo (sudo npm run up)';
  return undefined;
}

const PROGRAMS = ['etcd', 'nft', 'ip', 'nsenter', 'mount', 'umount'] as const;

export function checkPrograms(): Problem {
  const missing = PROGRAMS.filter((program) => findProgram(program) === undefined);
  if (missing.length === 0) return undefined;
  return `not installed: ${missing.join(', ')}. Run: sudo ${PREREQUISITES}`;
}

export function checkNative(): Problem {
  const files = ['libshoal.so', 'shoal-monitor', 'shoal-init', 'shoal-files'].map(
    (name) => `native/build/${name}`,
  );
  const missing = files.filter((file) => !existsSync(path.join(PROJECT_ROOT, file)));
  if (missing.length === 0) return undefined;
  return `${missing.join(' and ')} not built. Run in ${PROJECT_ROOT}: npm run build`;
}

/** Mounts an overlay where the containers' file systems will be. */
export async function checkOverlay(stateDir: string, signal: AbortSignal): Promise<Problem> {
  await mkdir(stateDir, { recursive: true, mode: 0o711 });
  const trial = await mkdtemp(path.join(stateDir, 'check-'));
  try {
    const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((n) => path.join(trial, n));
    for (const directory of [lower, upper, work, merged]) await mkdir(directory as string);
    const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
    await run('mount', ['-t', 'overlay', 'overlay', '-o', options, merged as string], signal);
    await run('umount', [merged as string], signal);
    return undefined;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return (
      `overlayfs can not be used in ${stateDir} (${error.message}). If the kernel lacks it: modprobe overlay. If that ` +
      'directory is itself on an overlay, NFS or FUSE: choose one on ext4, xfs or tmpfs with --state-dir'
    );
  } finally {
    await rm(trial, { recursive: true, force: true });
  }
}

interface Feature {
  readonly name: string;
  readonly module: string;
  readonly program: 'ip' | 'nft';
  readonly text: string;
}

const FEATURES: readonly Feature[] = [
  {
    name: 'vxlan devices',
    module: 'vxlan',
    program: 'ip',
    text: 'link add vx0 type vxlan id 1 dstport 4789',
  },
  { name: 'veth devices', module: 'veth', program: 'ip', text: 'link add ve0 type veth peer name ve1' },
  { name: 'bridges', module: 'bridge', program: 'ip', text: 'link add br0 type bridge' },
  {
    name: 'nftables with NAT and connection marks',
    module: 'nft_chain_nat nft_masq nft_numgen nft_hash nft_fib_ipv4 nft_ct',
    program: 'nft',
    text: `table ip check {
      map backends { typeof ip daddr . numgen random mod 65536 : ip daddr; }
      chain pre {
        type nat hook prerouting priority dstnat;
        dnat ip to ip daddr . numgen random mod 2 map @backends
        dnat ip to ip daddr . jhash ip saddr mod 2 seed 0x1 map @backends
      }
      chain post {
        type nat hook postrouting priority srcnat;
        ct mark 1 masquerade
      }
    }`,
  },
];

/** Makes one of each kind in a namespace of its own, which is then thrown away. */
export async function checkKernel(layout: Layout, signal: AbortSignal): Promise<Problem> {
  const name = `${layout.netnsPrefix}check${process.pid}`;
  await tryRun('ip', ['netns', 'delete', name], signal);
  try {
    await run('ip', ['netns', 'add', name], signal);
    for (const feature of FEATURES) {
      const args = feature.program === 'ip' ? ['-batch', '-'] : ['-f', '-'];
      const options = { input: feature.text, netns: `/run/netns/${name}` };
      await run(feature.program, args, signal, options).catch((error: unknown) => {
        if (!(error instanceof CommandError)) throw error;
        throw new CommandError(
          `the kernel has no ${feature.name} (modprobe ${feature.module}): ${error.message}`,
          1,
        );
      });
    }
    return undefined;
  } catch (error) {
    if (error instanceof CommandError) return error.message;
    throw error;
  } finally {
    await tryRun('ip', ['netns', 'delete', name], signal);
  }
}

export async function checkCgroups(): Promise<Problem> {
  const roots = await cgroupRoots();
  if (roots.length === 0) return 'no cgroup file system is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup';
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '));
  const v1 = mounts
    .filter(([, , type]) => type === 'cgroup')
    .flatMap(([, , , options]) => options?.split(',') ?? []);
  const v2 = await Promise.all(
    roots.map((root) => readFile(path.join(root, 'cgroup.controllers'), 'utf8').catch(() => '')),
  );
  const controllers = new Set([...v1, ...v2.flatMap((text) => text.trim().split(' '))]);
  const missing = ['cpu', 'memory', 'pids'].filter((controller) => !controllers.has(controller));
  if (missing.length === 0) return undefined;
  const hint = missing.includes('memory') ? ' (kernel parameter cgroup_enable=memory)' : '';
  return `the kernel's cgroup controllers ${missing.join(', ')} are not available${hint}`;
}

export async function checkPorts(ports: readonly Port[], signal: AbortSignal): Promise<Problem> {
  const problems: string[] = [];
  for (const { protocol, port, purpose, remedy } of ports) {
    if (await portIsFree(protocol, port)) continue;
    const holder = await portHolder(protocol, port, signal);
    const by = holder === undefined ? 'another program' : holder;
    problems.push(`${protocol} port ${port} (${purpose}) is taken by ${by}: stop it, or ${remedy}`);
  }
  return problems.length === 0 ? undefined : problems.join('\n');
}

const NEEDED_BYTES = 512 * 1024 * 1024;

export async function checkSpace(stateDir: string): Promise<Problem> {
  const disk = await statfs(stateDir);
  const free = disk.bavail * disk.bsize;
  if (free >= NEEDED_BYTES) return undefined;
  return `only ${Math.floor(free / 1_048_576)} MiB are free in ${stateDir}, 512 MiB are needed: choose another --state-dir`;
}
