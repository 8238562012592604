/** What a container uses, from its control groups (v1 and v2), /proc/stat and its own /proc/<pid>/net/dev. */
import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus, totalmem } from 'node:os';
import type {
  ContainerSample,
  NetworkCounters,
  PressureResource,
} from '../../shared/model/node-methods/index.ts';
import { cgroupDirectories, type CgroupDirectories, readCgroup } from '../native/cgroup-files.ts';
import {
  flatNumbers,
  parseBlockIo,
  parseBlockIoV1,
  parseNetDev,
  parsePressure,
  parseSystemCpuNs,
} from './stats-parse.ts';

/** `pid` is of the container's init. What the kernel does not count is 0 or absent. */
export async function readSample(runDir: string, pid: number, atMs: number): Promise<ContainerSample> {
  const directories = await cgroupDirectories(runDir);
  const v1 = directories.has('memory');
  const [cpu, memory, pids, blockIo, networks, pressure] = await Promise.all([
    v1 ? cpuV1(directories) : cpuV2(directories),
    v1 ? memoryV1(directories) : memoryV2(directories),
    readPids(directories, v1 ? 'pids' : 'unified'),
    v1 ? blockIoV1(directories) : blockIoV2(directories),
    readNetworks(pid),
    readPressure(directories),
  ]);
  const systemNs = parseSystemCpuNs(await readFile('/proc/stat', 'utf8'));
  const onlineCpus = cpus().length || availableParallelism();
  const told = pressure === undefined ? {} : { pressure };
  return { atMs, cpu: { ...cpu, systemNs, onlineCpus }, memory, pids, blockIo, networks, ...told };
}

type Cpu = Omit<ContainerSample['cpu'], 'systemNs' | 'onlineCpus'>;

/** cpuacct.stat counts in ticks of USER_HZ, which is 100 on all that Linux runs on. */
const TICK_NS = 10_000_000;

async function cpuV1(directories: CgroupDirectories): Promise<Cpu> {
  const usage = await readCgroup(directories, 'cpuacct', 'cpuacct.usage');
  const split = flatNumbers(await readCgroup(directories, 'cpuacct', 'cpuacct.stat'));
  const quota = flatNumbers(await readCgroup(directories, 'cpu', 'cpu.stat'));
  return {
    totalNs: Number(usage ?? 0),
    userNs: (split['user'] ?? 0) * TICK_NS,
    kernelNs: (split['system'] ?? 0) * TICK_NS,
    periods: quota['nr_periods'] ?? 0,
    throttledPeriods: quota['nr_throttled'] ?? 0,
    throttledNs: quota['throttled_time'] ?? 0,
  };
}

async function cpuV2(directories: CgroupDirectories): Promise<Cpu> {
  const stat = flatNumbers(await readCgroup(directories, 'unified', 'cpu.stat'));
  return {
    totalNs: (stat['usage_usec'] ?? 0) * 1000,
    userNs: (stat['user_usec'] ?? 0) * 1000,
    kernelNs: (stat['system_usec'] ?? 0) * 1000,
    periods: stat['nr_periods'] ?? 0,
    throttledPeriods: stat['nr_throttled'] ?? 0,
    throttledNs: (stat['throttled_usec'] ?? 0) * 1000,
  };
}

async function memoryV1(directories: CgroupDirectories): Promise<ContainerSample['memory']> {
  const read = (file: string) => readCgroup(directories, 'memory', file);
  return {
    usageBytes: Number((await read('memory.usage_in_bytes')) ?? 0),
    maxUsageBytes: Number((await read('memory.max_usage_in_bytes')) ?? 0),
    limitBytes: Math.min(Number((await read('memory.limit_in_bytes')) ?? Infinity), totalmem()),
    stats: flatNumbers(await read('memory.stat')),
  };
}

async function memoryV2(directories: CgroupDirectories): Promise<ContainerSample['memory']> {
  const read = (file: string) => readCgroup(directories, 'unified', file);
  const peak = await read('memory.peak');
  const limit = Number(await read('memory.max'));
  return {
    usageBytes: Number((await read('memory.current')) ?? 0),
    ...(peak === undefined ? {} : { maxUsageBytes: Number(peak) }),
    // "max", or no such file
    limitBytes: Number.isNaN(limit) ? totalmem() : Math.min(limit, totalmem()),
    stats: flatNumbers(await read('memory.stat')),
  };
}

async function readPids(
  directories: CgroupDirectories,
  controller: string,
): Promise<ContainerSample['pids']> {
  const current = Number((await readCgroup(directories, controller, 'pids.current')) ?? 0);
  const limit = Number(await readCgroup(directories, controller, 'pids.max'));
  return Number.isNaN(limit) ? { current } : { current, limit };
}

/** Under v1 a container has a blkio group only when it has limits of its own there: else it is not counted. */
async function blockIoV1(directories: CgroupDirectories): Promise<ContainerSample['blockIo']> {
  return parseBlockIoV1((await readCgroup(directories, 'blkio', 'blkio.throttle.io_service_bytes')) ?? '');
}

async function blockIoV2(directories: CgroupDirectories): Promise<ContainerSample['blockIo']> {
  return parseBlockIo((await readCgroup(directories, 'unified', 'io.stat')) ?? '');
}

async function readNetworks(pid: number): Promise<Readonly<Record<string, NetworkCounters>>> {
  return parseNetDev(await readFile(`/proc/${pid}/net/dev`, 'utf8').catch(() => ''));
}

const RESOURCES: readonly PressureResource[] = ['cpu', 'memory', 'io'];

/** Also beside v1's controllers, where cgroup2 is mounted. */
async function readPressure(directories: CgroupDirectories): Promise<ContainerSample['pressure']> {
  const texts = await Promise.all(
    RESOURCES.map(
      async (resource) =>
        [resource, await readCgroup(directories, 'unified', `${resource}.pressure`)] as const,
    ),
  );
  const told = texts.flatMap(([resource, text]) =>
    text === undefined ? [] : [[resource, parsePressure(text)] as const],
  );
  return told.length === 0 ? undefined : Object.fromEntries(told);
}
