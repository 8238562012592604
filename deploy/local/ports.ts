/** Whether a port is free, and who has it. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { tryRun } from './command.ts';

export interface Port {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  /** For people: what it is for. */
  readonly purpose: string;
  /** How to choose another. */
  readonly remedy: string;
}

/** True when it can be bound on all addresses of the machine. */
export async function portIsFree(protocol: 'tcp' | 'udp', port: number): Promise<boolean> {
  return new Promise((resolve) => {
    if (protocol === 'udp') {
      const socket = createSocket('udp4');
      socket.once('error', () => resolve(false));
      socket.bind(port, () => socket.close(() => resolve(true)));
      return;
    }
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '0.0.0.0' }, () => server.close(() => resolve(true)));
  });
}

/** The program that has a port, as ss(8) tells it: `nginx, pid 12`; undefined when it does not. */
export async function portHolder(
  protocol: 'tcp' | 'udp',
  port: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  const flag = protocol === 'tcp' ? '-Hltnp' : '-Hlunp';
  const text = await tryRun('ss', [flag, `sport = :${port}`], signal);
  const match = /users:\(\("([^"]+)",pid=(\d+)/.exec(text ?? '');
  return match === null ? undefined : `${match[1]}, pid ${match[2]}`;
}

/** A base of `count` consecutive free ports (both protocols), at or after `from`. */
export async function freePortBase(from: number, count: number): Promise<number> {
  for (let base = from; base < 32_000; base += count) {
    const checks = Array.from({ length: count }, async (_, offset) => {
      const [tcp, udp] = await Promise.all([
        portIsFree('tcp', base + offset),
        portIsFree('udp', base + offset),
      ]);
      return tcp && udp;
    });
    if ((await Promise.all(checks)).every(Boolean)) return base;
  }
  throw new Error(`no ${count} free ports in a row from ${from} on`);
}
