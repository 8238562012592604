/**
 * create + start of a container that runs busybox `true`, through the native runtime and through runc, in turns, with the
 * same config (ours also mounts the overlay, which runc leaves to its caller). Needs root.
 * Run: node dist/test/bench/start-container.js   Prints one JSON line a figure: {bench, ours, peer, ratio, unit}.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DEFAULT_SECCOMP } from '../../agent/container/seccomp-default.ts';
import {
  createContainer,
  deleteContainer,
  type OciConfig,
  readState,
  startContainer,
  waitContainer,
} from '../../agent/native/container.ts';
import { ensurePeers } from '../harness/peers.ts';
import { DEADLINE_MS, Fixture } from '../unit/native/fixture.ts';
import { quantile, report } from './report.ts';

const ROUNDS = 200;
const PEER_ROUNDS = 30;
const WARM_UP = 10;

const run = promisify(execFile);
const fixture = new Fixture('bench');
const peers = await ensurePeers();

function limited(config: OciConfig): void {
  config.linux.seccomp = DEFAULT_SECCOMP;
  config.linux.resources = {
    memory: { limit: 64 << 20 },
    cpu: { quota: 50_000, period: 100_000 },
    pids: { limit: 64 },
  };
}

async function startOurs(): Promise<number> {
  const request = fixture.request(['true'], limited);
  const begin = performance.now();
  await createContainer(request);
  await startContainer(request.runDir);
  const tookMs = performance.now() - begin;
  const state = await waitContainer(request.runDir, AbortSignal.timeout(DEADLINE_MS));
  if (state.exitCode !== 0) throw new Error(JSON.stringify(state));
  await deleteContainer(request.runDir);
  return tookMs;
}

async function startPeer(): Promise<number> {
  const { id, config } = fixture.request(['true'], limited);
  const bundle = join(fixture.directory, id, 'bundle');
  mkdirSync(bundle);
  config.root = { path: fixture.layer };
  config.ociVersion = '1.0.2';
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
  const runc = (...args: string[]) =>
    run(peers.runc, ['--root', join(fixture.runRoot, 'runc'), ...args], { env: peers.env });
  const begin = performance.now();
  // Not piped: runc create ends, but the container would hold the pipes open.
  await run(
    '/bin/sh',
    [
      '-c',
      '"$0" "$@" </dev/null >/dev/null 2>&1',
      peers.runc,
      '--root',
      join(fixture.runRoot, 'runc'),
      'create',
      '--bundle',
      bundle,
      id,
    ],
    { env: peers.env },
  );
  await runc('start', id);
  const tookMs = performance.now() - begin;
  await runc('delete', '--force', id);
  return tookMs;
}

async function monitorKiB(): Promise<number> {
  const request = fixture.request(['sleep', '1000'], limited);
  await createContainer(request);
  await startContainer(request.runDir);
  const { monitorPid } = await readState(request.runDir);
  const rollup = await readFile(`/proc/${monitorPid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1]);
}

try {
  for (let i = 0; i < WARM_UP; i++) await startOurs();
  const [ours, peer]: [number[], number[]] = [[], []];
  for (let i = 0; i < ROUNDS; i++) {
    ours.push(await startOurs());
    if (i % Math.ceil(ROUNDS / PEER_ROUNDS) === 0) peer.push(await startPeer());
  }
  report('container-start-p50', quantile(ours, 0.5), quantile(peer, 0.5), 'ms');
  report('container-start-p99', quantile(ours, 0.99), quantile(peer, 0.99), 'ms');
  report('monitor-pss', await monitorKiB(), undefined, 'KiB');
} finally {
  await fixture.close();
}
