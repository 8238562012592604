/**
 * 50 clients follow the logs of one service that writes 10,000 lines a second for 10 s. Each line is numbered, and every
 * follower checks that it gets all of them in order.
 */
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { quantile, report, reportRate } from '../report.ts';
import { cpuMs, residentMiB, type Side, VERSION } from './side.ts';

const FOLLOWERS = 50;
const RATE = 10_000;
const LINES = 100_000;
/** The time of arrival is looked at for one line in so many. */
const SAMPLE = 500;
const DEADLINE_MS = 120_000;
const HEADER_BYTES = 8;
const [SPACE, NEWLINE, ZERO] = [0x20, 0x0a, 0x30];

/** Paced by the clock of /proc/uptime, which the shell reads without a process. The start waits for the followers. */
const WRITER = `
  sleep 8
  read now rest < /proc/uptime; start=\${now%.*}\${now#*.}; written=0
  while [ $written -lt ${LINES} ]; do
    read now rest < /proc/uptime
    to=$(( (\${now%.*}\${now#*.} - start) * ${RATE / 100} ))
    [ $to -gt ${LINES} ] && to=${LINES}
    [ $to -gt $written ] && busybox seq $((written + 1)) $to
    written=$to
    sleep 0.02
  done
  trap 'exit 0' TERM; while :; do sleep 1 & wait; done`;

export interface LogFigures {
  readonly deliveredPerSecond: number;
  /** Of all that all followers should have got. */
  readonly missing: number;
  readonly disordered: number;
  readonly lagP99Ms: number;
  /** Milliseconds of processor time for a million lines delivered. */
  readonly cpuMsByDaemon: ReadonlyMap<string, number>;
  readonly residentMiBByDaemon: ReadonlyMap<string, number>;
}

export async function measureLogs(side: Side): Promise<LogFigures> {
  const id = await side.createService('talk', 1, {}, { Command: ['/bin/sh', '-c', WRITER] });
  await side.until('the writer runs', async () => {
    const filters = encodeURIComponent(JSON.stringify({ service: [id] }));
    const tasks = (await side.get(`/tasks?filters=${filters}`)) as { Status: { State: string } }[];
    return tasks.some((task) => task.Status.State === 'running');
  });
  const daemons = await side.daemons();
  const before = await usage(daemons, cpuMs);
  const followers = Array.from({ length: FOLLOWERS }, () => new Follower(side.socket, id));
  const resident = new Map<string, number>();
  const sampling = setInterval(() => void highest(resident, daemons), 250);
  const timer = setTimeout(() => followers.forEach((one) => one.stop()), DEADLINE_MS);
  await Promise.all(followers.map((one) => one.ended));
  clearTimeout(timer);
  clearInterval(sampling);
  const after = await usage(daemons, cpuMs);
  await side.remove(`/services/${id}`);
  return figures(followers, before, after, resident);
}

export function reportLogs(ours: LogFigures, peer: LogFigures): void {
  const name = `logs-${FOLLOWERS}-followers`;
  reportRate(`${name}-delivered`, ours.deliveredPerSecond, peer.deliveredPerSecond, 'lines/s');
  report(`${name}-missing-after-${DEADLINE_MS / 1_000}s`, ours.missing, peer.missing, 'lines');
  report(`${name}-out-of-order`, ours.disordered, peer.disordered, 'lines');
  report(`${name}-lag-p99`, ours.lagP99Ms, peer.lagP99Ms, 'ms');
  const sum = (map: ReadonlyMap<string, number>): number => [...map.values()].reduce((a, b) => a + b, 0);
  report(`${name}-cpu`, sum(ours.cpuMsByDaemon), sum(peer.cpuMsByDaemon), 'ms/Mline');
  for (const [daemon, ms] of ours.cpuMsByDaemon)
    report(`${name}-cpu-of-${daemon}`, ms, undefined, 'ms/Mline');
  report(`${name}-rss`, sum(ours.residentMiBByDaemon), sum(peer.residentMiBByDaemon), 'MiB');
  for (const [daemon, mib] of ours.residentMiBByDaemon)
    report(`${name}-rss-of-${daemon}`, mib, undefined, 'MiB');
}

type Usage = (pids: readonly number[]) => Promise<number>;

async function usage(daemons: Awaited<ReturnType<Side['daemons']>>, of: Usage): Promise<Map<string, number>> {
  const entries = Object.entries(daemons).map(async ([name, pids]) => [name, await of(pids)] as const);
  return new Map(await Promise.all(entries));
}

async function highest(
  seen: Map<string, number>,
  daemons: Awaited<ReturnType<Side['daemons']>>,
): Promise<void> {
  for (const [name, mib] of await usage(daemons, residentMiB))
    seen.set(name, Math.max(mib, seen.get(name) ?? 0));
}

function figures(
  followers: readonly Follower[],
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
  residentMiBByDaemon: ReadonlyMap<string, number>,
): LogFigures {
  const received = followers.reduce((sum, one) => sum + one.received, 0);
  const seconds =
    (Math.max(...followers.map((one) => one.lastAtMs)) - Math.min(...followers.map((one) => one.firstAtMs))) /
    1_000;
  const perMillion = (name: string): number =>
    ((after.get(name) ?? 0) - (before.get(name) ?? 0)) / (received / 1e6);
  return {
    deliveredPerSecond: received / seconds,
    missing: FOLLOWERS * LINES - received,
    disordered: followers.reduce((sum, one) => sum + one.disordered, 0),
    lagP99Ms: quantile(
      followers.flatMap((one) => one.lagsMs),
      0.99,
    ),
    cpuMsByDaemon: new Map([...after.keys()].map((name) => [name, perMillion(name)])),
    residentMiBByDaemon,
  };
}

/** Reads frames `[stream,0,0,0,len32be]<time> <number>\n` and forgets them. */
class Follower {
  readonly lagsMs: number[] = [];
  readonly ended: Promise<void>;
  received = 0;
  disordered = 0;
  firstAtMs = Infinity;
  lastAtMs = 0;
  #expected = 1;
  #rest: Buffer = Buffer.alloc(0);
  readonly #request: ClientRequest;

  constructor(socketPath: string, id: string) {
    const path = `${VERSION}/services/${id}/logs?follow=1&stdout=1&timestamps=1`;
    this.#request = request({ socketPath, path });
    this.ended = new Promise((resolve) => {
      this.#request.on('error', () => resolve());
      this.#request.on('close', () => resolve());
      this.#request.on('response', (answer) => this.#read(answer));
    });
    this.#request.end();
  }

  stop(): void {
    this.#request.destroy();
  }

  #read(answer: IncomingMessage): void {
    answer.on('error', () => undefined);
    answer.on('data', (data: Buffer) => {
      this.#rest = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
      let at = 0;
      while (at + HEADER_BYTES <= this.#rest.length) {
        const end = at + HEADER_BYTES + this.#rest.readUInt32BE(at + 4);
        if (end > this.#rest.length) break;
        this.#line(this.#rest, at + HEADER_BYTES, end);
        at = end;
      }
      this.#rest = this.#rest.subarray(at);
      if (this.received >= LINES) this.stop();
    });
  }

  #line(data: Buffer, start: number, end: number): void {
    let number = 0;
    const space = data.indexOf(SPACE, start);
    for (let at = space + 1; at < end && data[at] !== NEWLINE; at += 1)
      number = number * 10 + (data[at] ?? 0) - ZERO;
    if (number !== this.#expected) this.disordered += 1;
    this.#expected = number + 1;
    this.received += 1;
    this.lastAtMs = Date.now();
    if (this.firstAtMs === Infinity) this.firstAtMs = this.lastAtMs;
    if (this.received % SAMPLE === 0) {
      this.lagsMs.push(this.lastAtMs - Date.parse(data.toString('latin1', start, space)));
    }
  }
}
