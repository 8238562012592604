/**
 * Pull and unpack of an image of seven layers from a registry of this machine, against dockerd's pull of the same from the
 * same storage, in turns. Every round has an image of its own and nothing is removed in between: ext4 is slow where files
 * were removed a moment ago, and that is not what is measured. Needs root.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BuiltImage, buildImage, buildLayer, type LayerEntry } from '../../agent/image/build-tar.ts';
import { busyboxLayer } from '../../agent/image/busybox-layer.ts';
import { ImageService } from '../../agent/image/image-service.ts';
import { UndoStack } from '../../shared/lib/undo-stack.ts';
import { type Dockerd, startDockerd } from '../harness/dockerd.ts';
import { pushImage, startRegistry } from '../harness/registry.ts';
import { silentLogger } from '../harness/silent-logger.ts';
import { quantile, report } from './report.ts';

const ROUNDS = 5;
const WARM_UP = 1;
const MIB = 1024 * 1024;
const never = new AbortController().signal;

/** Bytes that compress to about half, as programs do; a different key stream for each seed. */
function content(seed: number, bytes: number): Buffer {
  const block = Buffer.alloc(bytes);
  const noise = createHash('shake256', { outputLength: Math.ceil(bytes / 2) })
    .update(String(seed))
    .digest();
  for (let at = 0; at < bytes; at += 64) noise.copy(block, at, at / 2, at / 2 + 32);
  return block;
}

/** A base, two layers of large files, three of many small ones as package managers make them, and a last one of one file. */
async function sampleImage(round: number): Promise<BuiltImage> {
  const large = (seed: number): LayerEntry[] => [
    {
      kind: 'file',
      path: `usr/lib/large${seed}`,
      content: content(seed + round * 1000, 24 * MIB),
      mode: 0o755,
    },
    { kind: 'file', path: `usr/lib/medium${seed}`, content: content(seed + 100 + round * 1000, 8 * MIB) },
  ];
  const small = (seed: number): LayerEntry[] =>
    Array.from({ length: 2_000 }, (_, i) => ({
      kind: 'file',
      path: `app/modules${seed}/m${i % 100}/f${i}.js`,
      content: content(seed * 10_000 + i + round * 1e6, 4_000),
    }));
  const layers = [
    await busyboxLayer(),
    await buildLayer(large(1)),
    await buildLayer(small(2)),
    await buildLayer(large(3)),
    await buildLayer(small(4)),
    await buildLayer(small(5)),
    await buildLayer([{ kind: 'file', path: 'app/main.js', content: `main(${round})` }]),
  ];
  return buildImage(`bench${round}:1`, layers, {});
}

interface Cost {
  readonly wallMs: number;
  /** User and system time of all processes that the pull took. */
  readonly cpuMs: number;
}

async function costOfOurs(service: ImageService, reference: string): Promise<Cost> {
  const cpu = process.cpuUsage();
  const begin = performance.now();
  await service.ensure(reference, undefined, never);
  const wallMs = performance.now() - begin;
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs, cpuMs: (user + system) / 1000 };
}

/** By its API: the client's own start does not count. */
async function costOfPeer(dockerd: Dockerd, reference: string): Promise<Cost> {
  const cpu = await cpuMsOf(dockerd);
  const begin = performance.now();
  const lines = await post(dockerd.socket, `/images/create?fromImage=${encodeURIComponent(reference)}`);
  const wallMs = performance.now() - begin;
  if (!lines.includes('Downloaded newer image')) throw new Error(`docker did not pull: ${lines.slice(-500)}`);
  return { wallMs, cpuMs: (await cpuMsOf(dockerd)) - cpu };
}

/** Of the daemon and its ended children (proc(5), stat: utime, stime, cutime and cstime in ticks of 10 ms). */
async function cpuMsOf(dockerd: Dockerd): Promise<number> {
  let ticks = 0;
  for (const pid of await dockerd.pids()) {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    for (const field of fields.slice(11, 15)) ticks += Number(field);
  }
  return ticks * 10;
}

function post(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath, path, method: 'POST' }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (part: string) => (text += part));
      res.on('end', () => resolve(text)).on('error', reject);
    });
    req.on('error', reject).end();
  });
}

const undo = new UndoStack();
try {
  const registry = await startRegistry();
  undo.defer(() => registry[Symbol.asyncDispose]());
  const dir = await mkdtemp(join(tmpdir(), 'shoal-test-bench-'));
  undo.defer(() => rm(dir, { recursive: true, force: true }));
  const service = await ImageService.open({ dir, logger: silentLogger });
  const dockerd = await startDockerd();
  undo.defer(() => dockerd[Symbol.asyncDispose]());
  // The daemon's network has nothing but itself: a registry of its own shows the same storage there.
  const [pid = 0] = await dockerd.pids();
  const beside = await startRegistry('127.0.0.1', 0, { besidePid: pid, storageDir: registry.storageDir });
  undo.defer(() => beside[Symbol.asyncDispose]());
  const driver = (await dockerd.docker('info', '--format', '{{.Driver}}')).trim();
  const [ours, peer]: [Cost[], Cost[]] = [[], []];
  for (let i = 0; i < ROUNDS + WARM_UP; i += 1) {
    const image = await sampleImage(i);
    const reference = await pushImage(registry, image);
    const bytes = image.layers.reduce((sum, layer) => sum + layer.bytes.length, 0);
    if (i === 0)
      process.stderr.write(`${image.layers.length} layers, ${Math.round(bytes / MIB)} MiB; ${driver}\n`);
    const own = await costOfOurs(service, reference);
    const theirs = await costOfPeer(dockerd, reference.replace(registry.address, beside.address));
    const told = [own, theirs].map(
      ({ wallMs, cpuMs }) => `${Math.round(wallMs)} ms (${Math.round(cpuMs)} of CPU)`,
    );
    process.stderr.write(`ours ${told[0]}, docker ${told[1]}\n`);
    if (i < WARM_UP) continue;
    ours.push(own);
    peer.push(theirs);
  }
  for (const [name, of] of [
    ['pull-p50', 'wallMs'],
    ['pull-cpu-p50', 'cpuMs'],
  ] as const) {
    const median = (costs: readonly Cost[]): number =>
      quantile(
        costs.map((cost) => cost[of]),
        0.5,
      );
    report(name, median(ours), median(peer), 'ms');
  }
} finally {
  await undo[Symbol.asyncDispose]();
}
