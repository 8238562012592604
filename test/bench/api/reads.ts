/**
 * Reads over the unix socket while the store holds 1,000 services and 10,000 tasks. No node fits the services'
 * constraint, so that the tasks are there and no container is: both sides hold the very same objects on one node.
 */
import { Agent, request } from 'node:http';
import { quantile, report, reportRate } from '../report.ts';
import { type Side, VERSION } from './side.ts';

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
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  await during(WARM_UP_MS, side.socket, agent, read);
  const begin = performance.now();
  const took = await during(MEASURE_MS, side.socket, agent, read);
  const seconds = (performance.now() - begin) / 1_000;
  agent.destroy();
  return { perSecond: took.length / seconds, p99Ms: quantile(took, 0.99) };
}

/** Milliseconds of each read. */
async function during(ms: number, socket: string, agent: Agent, read: Read): Promise<number[]> {
  const end = performance.now() + ms;
  const took: number[] = [];
  let turn = 0;
  const client = async (): Promise<void> => {
    while (performance.now() < end) {
      turn += 1;
      const begin = performance.now();
      await fetchWhole(socket, agent, `${VERSION}${read(turn)}`);
      took.push(performance.now() - begin);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return took;
}

/** Reads the answer to its end and forgets it: what is measured is not this process's JSON parser. */
function fetchWhole(socketPath: string, agent: Agent, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, agent, path }, (answer) => {
      answer.on('error', reject);
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve();
        else reject(new Error(`${path}: status ${answer.statusCode}`));
      });
      answer.resume();
    });
    asked.on('error', reject);
    asked.end();
  });
}
