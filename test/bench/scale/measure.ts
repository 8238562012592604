/** What is measured on a simulated cluster of one size. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { report, reportRate } from '../report.ts';
import { readTimes, readTimesDuring } from './reads.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

const KIB = 1024;
const MIB = KIB * KIB;
const IDLE_MS = 8_000;
/** A service that is created after a restart, to see that the manager plans. */
const AFTERWARDS = 100;

export interface Shape {
  readonly nodes: number;
  readonly services: number;
  readonly replicas: number;
  /** Silence after which a node is down, which says how often it beats. */
  readonly patienceMs: number;
  /** The same while it is measured what idling costs. */
  readonly idlePatienceMs: number;
  /** A directory for profiles of the manager's processor use, a file a phase. */
  readonly profiles?: string;
}

export async function measure(shape: Shape): Promise<void> {
  await using cluster = await SimulatedCluster.start(shape.nodes);
  const name = (what: string): string => `scale-${shape.nodes}-nodes-${what}`;
  await cluster.setPatience(shape.patienceMs);
  await measureSessions(cluster, shape, name);
  await measureIdle(cluster, shape, name);
  await cluster.setPatience(shape.patienceMs);
  await cluster.connected();
  await settled(cluster);
  const ids = await measurePlacing(cluster, shape, name);
  for (const [read, ms] of await readTimes(cluster.socket, ids))
    report(name(`${read}-p99`), ms, undefined, 'ms');
  await measureRestart(cluster, shape, name);
}

/** Undefined when none was asked for. */
function profileOf(shape: Shape, phase: string): string | undefined {
  return shape.profiles === undefined
    ? undefined
    : join(shape.profiles, `${phase}-${shape.nodes}.cpuprofile`);
}

type Name = (what: string) => string;

async function measureSessions(cluster: SimulatedCluster, shape: Shape, name: Name): Promise<void> {
  const before = await cluster.usage({ collect: true });
  const begin = performance.now();
  await cluster.profiled(profileOf(shape, 'connecting'), () => cluster.connect());
  report(name('first-connect'), (performance.now() - begin) / 1000, undefined, 's');
  await settled(cluster);
  const after = await cluster.usage({ collect: true });
  report(
    name('first-connect-manager-cpu-an-agent'),
    (after.cpuMs - before.cpuMs) / cluster.nodes,
    undefined,
    'ms',
  );
  const perAgent = (bytes: number): number => bytes / cluster.nodes / KIB;
  report(name('memory-an-agent'), perAgent(after.rssBytes - before.rssBytes), undefined, 'KiB');
  report(name('heap-an-agent'), perAgent(after.heapBytes - before.heapBytes), undefined, 'KiB');
}

async function measureIdle(cluster: SimulatedCluster, shape: Shape, name: Name): Promise<void> {
  await cluster.setPatience(shape.idlePatienceMs);
  await settled(cluster);
  const [before, stored, begin] = [
    await cluster.usage({ collect: true }),
    await cluster.etcd(),
    performance.now(),
  ];
  await cluster.profiled(profileOf(shape, 'idle'), () => sleep(IDLE_MS));
  const [after, storedAfter] = [await cluster.usage({ collect: false }), await cluster.etcd()];
  const seconds = (performance.now() - begin) / 1000;
  report(name('idle-manager-cpu'), (after.cpuMs - before.cpuMs) / seconds / 10, undefined, '% of a core');
  report(name('idle-etcd-writes'), (storedAfter.revision - stored.revision) / seconds, undefined, 'writes/s');
}

/** Until etcd is written no more: what sessions and tasks have started is over. */
async function settled(cluster: SimulatedCluster): Promise<void> {
  let last = -1;
  for (;;) {
    const { revision } = await cluster.etcd();
    if (revision === last) return;
    last = revision;
    await sleep(500);
  }
}

async function measurePlacing(
  cluster: SimulatedCluster,
  shape: Shape,
  name: Name,
): Promise<readonly string[]> {
  const { services, replicas } = shape;
  const tasks = services * replicas;
  const { running } = await cluster.counts();
  await cluster.usage({ collect: true });
  const before = await snapshot(cluster);
  const begin = performance.now();
  const { created: ids, reads } = await cluster.profiled(profileOf(shape, 'placing'), async () => {
    const created = await cluster.createServices('scale', services, replicas);
    const all = cluster.running(running + tasks);
    const reads = await readTimesDuring(cluster.socket, created, all);
    return { created, reads };
  });
  const seconds = (performance.now() - begin) / 1000;
  const after = await snapshot(cluster);
  reportRate(name(`${tasks}-tasks-placed-and-running`), tasks / seconds, undefined, 'tasks/s');
  report(name(`${tasks}-tasks-took`), seconds, undefined, 's');
  report(
    name('placing-manager-cpu-a-task'),
    ((after.managerMs - before.managerMs) * 1000) / tasks,
    undefined,
    'us',
  );
  report(name('placing-etcd-cpu-a-task'), ((after.etcdMs - before.etcdMs) * 1000) / tasks, undefined, 'us');
  report(
    name('placing-agents-cpu-a-task'),
    ((after.agentsMs - before.agentsMs) * 1000) / tasks,
    undefined,
    'us',
  );
  report(name('placing-loop-held-longest'), after.heldMs, undefined, 'ms');
  for (const [read, ms] of reads) report(name(`placing-${read}-p99`), ms, undefined, 'ms');
  await settled(cluster);
  const usage = await cluster.usage({ collect: true });
  report(name('full-manager-rss'), usage.rssBytes / MIB, undefined, 'MiB');
  report(name('full-manager-heap'), usage.heapBytes / MIB, undefined, 'MiB');
  report(name('full-etcd-file'), (await cluster.etcd()).bytes / MIB, undefined, 'MiB');
  return ids;
}

async function snapshot(
  cluster: SimulatedCluster,
): Promise<{ managerMs: number; etcdMs: number; agentsMs: number; heldMs: number }> {
  const { cpuMs, heldMs } = await cluster.usage({ collect: false });
  return {
    managerMs: cpuMs,
    heldMs,
    etcdMs: await processorMs(cluster.etcdPid()),
    agentsMs: (await cluster.counts()).cpuMs,
  };
}

/** Of a process since it started; a tick is 10 ms on every Linux. */
async function processorMs(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function measureRestart(cluster: SimulatedCluster, shape: Shape, name: Name): Promise<void> {
  const tasks = shape.services * shape.replicas;
  const begin = performance.now();
  const elapsed = (): number => (performance.now() - begin) / 1000;
  await cluster.restartManager();
  await cluster.serves();
  const served = elapsed();
  report(name('restart-until-it-serves'), served, undefined, 's');
  const planned = (async () => {
    await cluster.createServices('afterwards', 1, AFTERWARDS);
    await cluster.running(tasks + AFTERWARDS);
    return elapsed();
  })();
  await cluster.profiled(profileOf(shape, 'restarting'), () => cluster.connected());
  const connected = elapsed();
  report(name('restart-until-all-agents-are-back'), connected, undefined, 's');
  report(name('serving-until-all-agents-are-back'), connected - served, undefined, 's');
  report(name('restart-until-a-new-service-runs'), await planned, undefined, 's');
}
