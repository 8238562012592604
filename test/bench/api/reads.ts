/**
 * Reads over the unix socket while the store holds 1,000 services and 10,000 tasks. No node fits the services'
 * constraint, so that the tasks are there and no container is: both sides hold the very same objects on one node.
 */
import { quantile, report, reportRate } from '../report.ts';
import { Connection } from './connection.ts';
import { cpuMs, type Side, VERSION } from './side.ts';

const SERVICES = 1_000;
const REPLICAS = 10;
const CREATING = 32;
/** Connections that read at the same time. */
const CLIENTS = 4;
const WARM_UP_MS = 500;
const MEASURE_MS = 4_000;

type Read = (turn: number) => string;

interface Measured {
  readonly perSecond: number;
  readonly p99Ms: number;
  /** Of the processor, of all daemons: what other work on the machine does not change. */
  readonly cpuMsPerRead: number;
}

export type ReadFigures = ReadonlyMap<string, Measured>;

export async function measureReads(side: Side): Promise<ReadFigures> {
  const ids = await fill(side);
  const one = (turn: number): string => ids[(turn * 7) % ids.length] ?? '';
  const tasksOf = (turn: number): string =>
    `/tasks?filters=${encodeURIComponent(JSON.stringify({ service: { [one(turn)]: true } }))}`;
  const reads: Record<string, Read> = {
    'service-list': () => '/services',
    'service-list-status': () => '/services?status=true',
    'service-inspect': (turn) => `/services/${one(turn)}`,
    'service-inspect-by-name': (turn) => `/services/read${(turn * 7) % SERVICES}`,
    'task-list-of-a-service': tasksOf,
    'task-list-whole': () => '/tasks',
    'node-list': () => '/nodes',
  };
  const figures = new Map<string, Measured>();
  for (const [name, read] of Object.entries(reads)) figures.set(name, await measure(side, read));
  return figures;
}

export function reportReads(ours: ReadFigures, peer: ReadFigures): void {
  for (const [name, we] of ours) {
    const they = peer.get(name);
    reportRate(`api-${name}`, we.perSecond, they?.perSecond, 'reads/s');
    report(`api-${name}-p99`, we.p99Ms, they?.p99Ms, 'ms');
    report(`api-${name}-cpu`, we.cpuMsPerRead, they?.cpuMsPerRead, 'ms/read');
  }
}

/** The ids of the services, once all of their tasks are there. */
async function fill(side: Side): Promise<string[]> {
  const ids: string[] = [];
  let next = 0;
  const placement = { Placement: { Constraints: ['node.labels.bench == none'] } };
  const creator = async (): Promise<void> => {
    while (next < SERVICES) {
      const name = `read${next}`;
      next += 1;
      ids.push(await side.createService(name, REPLICAS, placement));
    }
  };
  await Promise.all(Array.from({ length: CREATING }, creator));
  const all = SERVICES * REPLICAS;
  await side.until(`${all} tasks`, async () => ((await side.get('/tasks')) as unknown[]).length === all);
  return ids;
}

async function measure(side: Side, read: Read): Promise<Measured> {
  const clients = Array.from({ length: CLIENTS }, () => new Connection(side.socket));
  await during(WARM_UP_MS, clients, read);
  const pids = Object.values(await side.daemons()).flat();
  const cpuBefore = await cpuMs(pids);
  const begin = performance.now();
  const took = await during(MEASURE_MS, clients, read);
  const seconds = (performance.now() - begin) / 1_000;
  const cpuMsPerRead = ((await cpuMs(pids)) - cpuBefore) / took.length;
  for (const client of clients) client.close();
  return { perSecond: took.length / seconds, p99Ms: quantile(took, 0.99), cpuMsPerRead };
}

/** Milliseconds of each read. */
async function during(ms: number, clients: readonly Connection[], read: Read): Promise<number[]> {
  const end = performance.now() + ms;
  const took: number[] = [];
  let turn = 0;
  const work = async (client: Connection): Promise<void> => {
    while (performance.now() < end) {
      turn += 1;
      const begin = performance.now();
      await client.get(`${VERSION}${read(turn)}`);
      took.push(performance.now() - begin);
    }
  };
  await Promise.all(clients.map(work));
  return took;
}
