/** How long API reads take, one after the other, over one connection. */
import { Connection } from '../api/connection.ts';
import { quantile } from '../report.ts';

const LEAST_MS = 2_000;
const LEAST_READS = 20;

/** 99th percentile in milliseconds by the name of the read. */
export async function readTimes(
  socket: string,
  serviceIds: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const one = (turn: number): string => serviceIds[(turn * 7) % serviceIds.length] ?? '';
  const filters = (turn: number): string =>
    encodeURIComponent(JSON.stringify({ service: { [one(turn)]: true } }));
  const paths: Record<string, (turn: number) => string> = {
    'service-list': () => '/services',
    'service-inspect': (turn) => `/services/${one(turn)}`,
    'task-list-of-a-service': (turn) => `/tasks?filters=${filters(turn)}`,
    'node-list': () => '/nodes',
  };
  const times = new Map<string, number>();
  const connection = new Connection(socket);
  for (const [name, path] of Object.entries(paths)) times.set(name, await p99(connection, path));
  connection.close();
  return times;
}

async function p99(connection: Connection, path: (turn: number) => string): Promise<number> {
  const took: number[] = [];
  const end = performance.now() + LEAST_MS;
  while (performance.now() < end || took.length < LEAST_READS) {
    const begin = performance.now();
    await connection.get(`/v1.41${path(took.length)}`);
    took.push(performance.now() - begin);
  }
  return quantile(took, 0.99);
}
