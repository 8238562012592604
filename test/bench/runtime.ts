/**
 * `run` of /bin/true from a bundle: shoal-oci, runc and crun in turns, one config for all. Each round is a shell that
 * runs it several times, so that starting the shell does not count. crun starts only where it sees no cgroup v1: it gets
 * a mount namespace with cgroup2 alone, without controllers, so it sets up fewer cgroups than the others. Needs root.
 * Run: node dist/test/bench/runtime.js   Prints one JSON line a figure: {bench, ours, peer, ratio, unit}.
 */
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DEFAULT_SECCOMP } from '../../agent/container/seccomp-default.ts';
import { checkoutDir, ensurePeers } from '../harness/peers.ts';
import { Fixture } from '../unit/native/fixture.ts';
import { quantile, report } from './report.ts';

const ROUNDS = 9;
const RUNS = 10;
const LOOP = 'i=0; while [ $i -lt $0 ]; do "$@" bench$$-$i </dev/null || exit 1; i=$((i+1)); done';
const ONLY_CGROUP2 = 'umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"';

const run = promisify(execFile);
const fixture = new Fixture('bench-oci');
const peers = await ensurePeers();

function bundle(name: string, seccomp: boolean): string {
  const { config } = fixture.request(['true']);
  const directory = join(fixture.directory, name);
  mkdirSync(directory);
  chmodSync(fixture.layer, 0o755);
  config.root = { path: fixture.layer };
  config.ociVersion = '1.0.2';
  // each chooses its own, by the id
  const { cgroupsPath: _, ...linux } = config.linux;
  const filter = seccomp ? { seccomp: DEFAULT_SECCOMP } : {};
  writeFileSync(
    join(directory, 'config.json'),
    JSON.stringify({ ...config, linux: { ...linux, ...filter } }),
  );
  return directory;
}

/** ms a run */
async function round(command: readonly string[], prefix: readonly string[] = []): Promise<number> {
  const [file = '/bin/sh', ...args] = [...prefix, '/bin/sh', '-c', LOOP, String(RUNS), ...command];
  const begin = performance.now();
  await run(file, args, { env: peers.env });
  return (performance.now() - begin) / RUNS;
}

function rivals(directory: string) {
  const command = (program: string, name: string): string[] => [
    ...[program, '--root', join(fixture.runRoot, name), 'run', '--bundle', directory],
  ];
  const hidden = ['unshare', '--mount', '--', 'sh', '-c', ONLY_CGROUP2, 'sh'];
  return {
    ours: () => round(command(join(checkoutDir(), 'native', 'build', 'shoal-oci'), 'ours')),
    runc: () => round(command(peers.runc, 'runc')),
    crun: () => round(command(peers.crun, 'crun'), hidden),
  };
}

async function measure(name: string, directory: string): Promise<void> {
  const sides = rivals(directory);
  const [ours, runc, crun]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < ROUNDS; i++) {
    ours.push(await sides.ours());
    runc.push(await sides.runc());
    crun.push(await sides.crun());
  }
  report(`${name}-p50-runc`, quantile(ours, 0.5), quantile(runc, 0.5), 'ms');
  report(`${name}-p50-crun`, quantile(ours, 0.5), quantile(crun, 0.5), 'ms');
}

try {
  await measure('oci-run-true', bundle('plain', false));
  await measure('oci-run-true-seccomp', bundle('seccomp', true));
} finally {
  await fixture.close();
}
