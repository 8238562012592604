/** How long API reads take, one after the other, over one connection. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '../api/connection.ts';
import { quantile } from '../report.ts';

const LEAST_MS = 2_000;
const LEAST_READS = 20;
/** Between two reads beside other work: to see what it does to them, not they to it. */
const PAUSE_MS = 100;

type Path = (turn: number) => string;

function pathsOf(serviceIds: readonly string[]): readonly (readonly [string, Path])[] {
  const one = (turn: number): string => serviceIds[(turn * 7) % serviceIds.length] ?? '';
  const filters = (turn: number): string =>
    encodeURIComponent(JSON.stringify({ service: { [one(turn)]: true } }));
  return [
    ['service-list', () => '/services'],
    ['service-inspect', (turn) => `/services/${one(turn)}`],
    ['task-list-of-a-service', (turn) => `/tasks?filters=${filters(turn)}`],
    ['node-list', () => '/nodes'],
  ];
}

/** 99th percentile in milliseconds by the name of the read; nothing else is asked meanwhile. */
export async function readTimes(
  socket: string,
  serviceIds: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const times = new Map<string, number>();
  const connection = new Connection(socket);
  for (const [name, path] of pathsOf(serviceIds)) {
    const took: number[] = [];
    const end = performance.now() + LEAST_MS;
    while (performance.now() < end || took.length < LEAST_READS)
      took.push(await timed(connection, path(took.length)));
    times.set(name, quantile(took, 0.99));
  }
  connection.close();
  return times;
}

/** The same of reads that are made now and then until `work` is done. */
export async function readTimesDuring(
  socket: string,
  serviceIds: readonly string[],
  work: Promise<unknown>,
): Promise<ReadonlyMap<string, number>> {
  const took = new Map<string, number[]>();
  const connection = new Connection(socket);
  const ended = new AbortController();
  const done = work.finally(() => ended.abort());
  for (let turn = 0; !ended.signal.aborted; turn += 1) {
    for (const [name, path] of pathsOf(serviceIds)) {
      const times = took.get(name) ?? [];
      times.push(await timed(connection, path(turn)));
      took.set(name, times);
      await sleep(PAUSE_MS);
    }
  }
  connection.close();
  await done;
  return new Map([...took].map(([name, times]) => [name, quantile(times, 0.99)]));
}

async function timed(connection: Connection, path: string): Promise<number> {
  const begin = performance.now();
  await connection.get(`/v1.41${path}`);
  return performance.now() - begin;
}
