/**
 * Commits through the committer against direct puts of the etcd3 library, on the same etcd, in turns, 256 in flight.
 * Run: node dist/test/bench/store.js   Prints one JSON line a figure: {bench, ours, peer, ratio, unit}.
 */
import { pino } from 'pino';
import { openStore } from '../../manager/store/open-store.ts';
import type { Task } from '../../shared/model/index.ts';
import { startEtcd } from '../harness/etcd.ts';

const IN_FLIGHT = 256;
const COUNT = 20_000;
const ROUNDS = 3;
const IN_TURN = 500;

const never = new AbortController().signal;
const logger = pino({ level: 'warn' });

function task(id: string): Task {
  const addresses = [{ network: 'n'.repeat(25), address: '10.0.1.7' }];
  const at = 1_790_000_000_000;
  const names = { id, serviceId: 's'.repeat(25), nodeId: 'n'.repeat(25) };
  return { ...names, revision: 1, slot: 1, desired: 'running', createdAtMs: at, desiredAtMs: at, addresses };
}

/** Operations a second, so many at the same time. */
async function rate(
  count: number,
  work: (i: number) => Promise<unknown>,
  inFlight = IN_FLIGHT,
): Promise<number> {
  let next = 0;
  const start = performance.now();
  const worker = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      await work(next);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (count * 1_000) / (performance.now() - start);
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

function report(bench: string, ours: number, peer: number, unit: string): void {
  const line = {
    bench,
    ours: Math.round(ours),
    peer: Math.round(peer),
    ratio: +(ours / peer).toFixed(2),
    unit,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

await using etcd = await startEtcd();
const store = await openStore({ endpoints: etcd.endpoints, logger, signal: never });
const [ours, guarded, peer]: [number[], number[], number[]] = [[], [], []];
for (let round = 0; round < ROUNDS; round += 1) {
  const id = (i: number): string => `r${round}-${i}`;
  ours.push(
    await rate(COUNT, (i) =>
      store.commit([{ table: 'tasks', key: id(i), value: task(id(i)) }], { signal: never }),
    ),
  );
  guarded.push(
    await rate(COUNT, (i) =>
      store.commit([{ table: 'tasks', key: `g${id(i)}`, value: task(id(i)), expect: 0 }], { signal: never }),
    ),
  );
  peer.push(
    await rate(COUNT, (i) =>
      etcd.client
        .put(`/elsewhere/${id(i)}`)
        .value(JSON.stringify(task(id(i))))
        .exec(),
    ),
  );
}
report('store-commits', median(ours), median(peer), 'commits/s');
report('store-guarded-commits', median(guarded), median(peer), 'commits/s');
const inTurn = (work: (i: number) => Promise<unknown>): Promise<number> => rate(IN_TURN, work, 1);
const single = await inTurn((i) =>
  store.commit([{ table: 'tasks', key: `s${i}`, value: task(`s${i}`) }], { signal: never }),
);
const singlePeer = await inTurn((i) =>
  etcd.client
    .put(`/elsewhere/s${i}`)
    .value(JSON.stringify(task(`s${i}`)))
    .exec(),
);
report('store-commits-in-turn', single, singlePeer, 'commits/s');
const total = store.all('tasks').size;
await store[Symbol.asyncDispose]();

const start = performance.now();
const again = await openStore({ endpoints: etcd.endpoints, logger, signal: never });
const loadRate = (total * 1_000) / (performance.now() - start);
const peerStart = performance.now();
const all = await etcd.client.getAll().prefix('/shoal/v1/').json();
const peerRate = (Object.keys(all).length * 1_000) / (performance.now() - peerStart);
report('store-load', loadRate, peerRate, 'keys/s');
await again[Symbol.asyncDispose]();
