/** PURE. The kernel's texts that count what a container uses (cgroups(7), proc(5)). */
import type { ContainerSample, NetworkCounters, Pressure } from '../../shared/model/node-methods/index.ts';

const TICK_NS = 10_000_000;

/** Lines of `key number`; {} for a file that is not there. */
export function flatNumbers(text: string | undefined): Record<string, number> {
  const numbers: Record<string, number> = {};
  for (const line of (text ?? '').split('\n')) {
    const [key, value] = line.split(' ');
    if (key && value !== undefined && /^\d+$/.test(value)) numbers[key] = Number(value);
  }
  return numbers;
}

/** First line of /proc/stat: user to softirq and steal; guest time is in user time already. */
export function parseSystemCpuNs(stat: string): number {
  const fields = stat.split('\n', 1)[0]?.trim().split(/\s+/).slice(1, 9) ?? [];
  return fields.reduce((sum, field) => sum + Number(field), 0) * TICK_NS;
}

/** io.stat: `8:0 rbytes=1 wbytes=2 rios=...` */
export function parseBlockIo(text: string): ContainerSample['blockIo'] {
  return text.split('\n').flatMap((line) => {
    const [, major, minor, rest] = /^(\d+):(\d+) (.*)$/.exec(line) ?? [];
    if (rest === undefined) return [];
    const bytes = (key: string): number => Number(new RegExp(`(?:^| )${key}=(\\d+)`).exec(rest)?.[1] ?? 0);
    const device = { major: Number(major), minor: Number(minor) };
    return [
      { ...device, op: 'read' as const, bytes: bytes('rbytes') },
      { ...device, op: 'write' as const, bytes: bytes('wbytes') },
    ];
  });
}

/** blkio.throttle.io_service_bytes: `8:0 Read 1` */
export function parseBlockIoV1(text: string): ContainerSample['blockIo'] {
  return text.split('\n').flatMap((line) => {
    const [, major, minor, op, bytes] = /^(\d+):(\d+) (Read|Write) (\d+)$/.exec(line) ?? [];
    if (bytes === undefined) return [];
    const kind = op === 'Read' ? ('read' as const) : ('write' as const);
    return [{ major: Number(major), minor: Number(minor), op: kind, bytes: Number(bytes) }];
  });
}

/** /proc/<pid>/net/dev: a line an interface, eight numbers each way. */
export function parseNetDev(text: string): Record<string, NetworkCounters> {
  const found: Record<string, NetworkCounters> = {};
  for (const line of text.split('\n').slice(2)) {
    const [, name, rest] = /^\s*([^:]+):(.*)$/.exec(line) ?? [];
    if (name === undefined || rest === undefined || name === 'lo') continue;
    const fields = rest.trim().split(/\s+/).map(Number);
    const at = (i: number): number => fields[i] ?? 0;
    found[name] = {
      rxBytes: at(0),
      rxPackets: at(1),
      rxErrors: at(2),
      rxDropped: at(3),
      txBytes: at(8),
      txPackets: at(9),
      txErrors: at(10),
      txDropped: at(11),
    };
  }
  return found;
}

/** cpu.pressure and its like: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` (Linux Documentation/accounting/psi.rst). */
export function parsePressure(text: string): Pressure {
  const lines = text.split('\n').flatMap((line) => {
    const [, kind, ...numbers] =
      /^(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)$/.exec(line) ?? [];
    const [avg10 = 0, avg60 = 0, avg300 = 0, totalUs = 0] = numbers.map(Number);
    return kind === undefined ? [] : [[kind, { avg10, avg60, avg300, totalUs }] as const];
  });
  return Object.fromEntries(lines);
}
