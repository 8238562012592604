/**
 * One container through the agent: from a prepared task to its process running on an overlay network (OCI configuration,
 * files, overlay, namespaces, cgroups, seccomp, interface, routes), against `docker run -d` with the default bridge, in
 * turns. Both on a disk that this benchmark makes. Needs root.
 */
import { UndoStack } from '../../shared/lib/undo-stack.ts';
import { importBusybox, startDockerd } from '../harness/dockerd.ts';
import { startLab } from './agent/lab.ts';
import { useOwnDisk } from './agent/own-disk.ts';
import { quantile, report } from './report.ts';

const ROUNDS = 200;
const PEER_ROUNDS = 15;
const WARM_UP = 5;

async function startOurs(): Promise<() => Promise<number>> {
  const lab = await startLab(ROUNDS + WARM_UP, undo);
  const tasks = [...lab.tasks];
  return async () => {
    const task = tasks.pop();
    if (task === undefined) throw new Error('no task is left');
    await lab.prepare(task);
    const begin = performance.now();
    await lab.start(task);
    const took = performance.now() - begin;
    await lab.remove(task);
    return took;
  };
}

async function startPeer(): Promise<() => Promise<number>> {
  const dockerd = await startDockerd();
  undo.defer(() => dockerd[Symbol.asyncDispose]());
  await importBusybox(dockerd, 'busybox:bench');
  return async () => {
    const begin = performance.now();
    const limits = ['--memory', '64m', '--cpus', '0.5', '--pids-limit', '64'];
    const id = await dockerd.docker('run', '-d', ...limits, 'busybox:bench', 'sleep', '1000');
    const took = performance.now() - begin;
    await dockerd.docker('rm', '-f', id.trim());
    return took;
  };
}

const undo = new UndoStack();
try {
  await useOwnDisk(undo);
  const [startOne, startPeerOne] = [await startOurs(), await startPeer()];
  for (let i = 0; i < WARM_UP; i += 1) await startOne();
  const [ours, peer]: [number[], number[]] = [[], []];
  for (let i = 0; i < ROUNDS; i += 1) {
    ours.push(await startOne());
    if (i % Math.ceil(ROUNDS / PEER_ROUNDS) === 0) peer.push(await startPeerOne());
  }
  report('agent-start-p50', quantile(ours, 0.5), quantile(peer, 0.5), 'ms');
  report('agent-start-p99', quantile(ours, 0.99), quantile(peer, 0.99), 'ms');
} finally {
  await undo[Symbol.asyncDispose]();
}
