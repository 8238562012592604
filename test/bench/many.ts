/**
 * Many containers that are kept running, each on an overlay network and with limits: how long until all run, what each
 * costs in memory while it sleeps, how long until all are gone. Beside it fewer of the distribution's docker, whose figures
 * are taken for as many. Needs root. SHOAL_MANY=N for another number.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { UndoStack } from '../../shared/lib/undo-stack.ts';
import { importBusybox, startDockerd } from '../harness/dockerd.ts';
import { startLab } from './agent/lab.ts';
import { report } from './report.ts';

const COUNT = Number(process.env['SHOAL_MANY'] ?? 1000);
const PEER_COUNT = Math.min(COUNT, 40);
const AT_ONCE = 8;

async function forEach<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  const left = [...items];
  const worker = async (): Promise<void> => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return performance.now() - begin;
}

/** Of all processes that run one of these programs, proportional. */
async function pssKiB(...programs: readonly string[]): Promise<number> {
  let sum = 0;
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const program = await readlink(`/proc/${pid}/exe`).catch(() => '');
    // A monitor is run from memory: memfd:shoal-monitor (deleted).
    if (!programs.includes(/[/:]([\w.-]+)(?: \(deleted\))?$/.exec(program)?.[1] ?? '')) continue;
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    sum += Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0);
  }
  return sum;
}

interface Figures {
  readonly startMs: number;
  readonly removeMs: number;
  readonly eachKiB: number;
}

async function ours(undo: UndoStack): Promise<Figures> {
  const lab = await startLab(COUNT, undo);
  await forEach(lab.tasks, lab.prepare);
  const before = await pssKiB('shoal-monitor');
  const startMs = await forEach(lab.tasks, lab.start);
  const eachKiB = ((await pssKiB('shoal-monitor')) - before) / COUNT;
  return { startMs, eachKiB, removeMs: await forEach(lab.tasks, lab.remove) };
}

async function peers(undo: UndoStack): Promise<Figures> {
  const dockerd = await startDockerd();
  undo.defer(() => dockerd[Symbol.asyncDispose]());
  await importBusybox(dockerd, 'busybox:bench');
  const options = ['--memory', '64m', '--cpus', '0.5', '--pids-limit', '64', '--stop-signal', 'KILL'];
  const names = Array.from({ length: PEER_COUNT }, (_, number) => `many${number}`);
  const daemons = ['dockerd', 'containerd', 'containerd-shim-runc-v2', 'docker-proxy'];
  const before = await pssKiB(...daemons);
  const startMs = await forEach(names, (name) =>
    dockerd.docker('run', '-d', '--name', name, ...options, 'busybox:bench', 'sleep', '1000'),
  );
  const eachKiB = ((await pssKiB(...daemons)) - before) / PEER_COUNT;
  const removeMs = await forEach(names, (name) => dockerd.docker('rm', '-f', name));
  const scale = COUNT / PEER_COUNT;
  return { startMs: startMs * scale, removeMs: removeMs * scale, eachKiB };
}

await using undo = new UndoStack();
const [our, peer] = [await ours(undo), await peers(undo)];
report(`many-${COUNT}-started`, our.startMs / 1000, peer.startMs / 1000, 's');
report(`many-${COUNT}-removed`, our.removeMs / 1000, peer.removeMs / 1000, 's');
report('many-idle-memory', our.eachKiB, peer.eachKiB, 'KiB each');
