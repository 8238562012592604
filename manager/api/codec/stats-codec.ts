/** What a container uses -> the Docker Engine API's statistics (ContainerStatsResponse). */
import type { ContainerSample, NetworkCounters, Pressure } from '../../../shared/model/node-methods/index.ts';
import type { PlacedContainer } from './container-codec.ts';
import { defined, timeText } from './common.ts';

/** No sample: the container does not run, and everything is zero. `previous` gives what shares are counted from. */
export function encodeStats(
  container: PlacedContainer,
  sample: ContainerSample | undefined,
  previous: ContainerSample | undefined,
): object {
  return {
    id: container.id,
    name: `/${container.name}`,
    read: timeText(sample?.atMs),
    preread: timeText(previous?.atMs),
    num_procs: 0,
    storage_stats: {},
    pids_stats: defined({ current: sample?.pids.current, limit: sample?.pids.limit }),
    cpu_stats: encodeCpu(sample),
    precpu_stats: encodeCpu(previous),
    memory_stats: sample === undefined ? {} : encodeMemory(sample),
    blkio_stats: encodeBlockIo(sample),
    networks: encodeNetworks(sample),
    // Not Docker's. The names are those of runc's events.
    ...(sample?.pressure === undefined ? {} : { pressure_stats: encodePressure(sample.pressure) }),
  };
}

function encodeCpu(sample: ContainerSample | undefined): object {
  const cpu = sample?.cpu;
  return {
    cpu_usage: {
      total_usage: cpu?.totalNs ?? 0,
      usage_in_kernelmode: cpu?.kernelNs ?? 0,
      usage_in_usermode: cpu?.userNs ?? 0,
    },
    ...(cpu === undefined ? {} : { system_cpu_usage: cpu.systemNs, online_cpus: cpu.onlineCpus }),
    throttling_data: {
      periods: cpu?.periods ?? 0,
      throttled_periods: cpu?.throttledPeriods ?? 0,
      throttled_time: cpu?.throttledNs ?? 0,
    },
  };
}

function encodeMemory({ memory }: ContainerSample): object {
  return defined({
    usage: memory.usageBytes,
    max_usage: memory.maxUsageBytes,
    limit: memory.limitBytes,
    stats: memory.stats,
  });
}

function encodeBlockIo(sample: ContainerSample | undefined): object {
  const bytes = sample?.blockIo.map(({ major, minor, op, bytes: value }) => ({ major, minor, op, value }));
  return {
    io_service_bytes_recursive: bytes ?? null,
    io_serviced_recursive: null,
    io_queue_recursive: null,
    io_service_time_recursive: null,
    io_wait_time_recursive: null,
    io_merged_recursive: null,
    io_time_recursive: null,
    sectors_recursive: null,
  };
}

function encodeNetworks(sample: ContainerSample | undefined): object {
  const all = Object.entries(sample?.networks ?? {});
  return Object.fromEntries(all.map(([name, counters]) => [name, encodeCounters(counters)]));
}

function encodeCounters(counters: NetworkCounters): object {
  return {
    rx_bytes: counters.rxBytes,
    rx_packets: counters.rxPackets,
    rx_errors: counters.rxErrors,
    rx_dropped: counters.rxDropped,
    tx_bytes: counters.txBytes,
    tx_packets: counters.txPackets,
    tx_errors: counters.txErrors,
    tx_dropped: counters.txDropped,
  };
}

function encodePressure(pressure: NonNullable<ContainerSample['pressure']>): object {
  return Object.fromEntries(
    Object.entries(pressure).map(([resource, { some, full }]) => [
      resource,
      defined({ some: encodeStall(some), full: encodeStall(full) }),
    ]),
  );
}

function encodeStall(stall: Pressure['some']): object | undefined {
  if (stall === undefined) return undefined;
  const { totalUs, ...averages } = stall;
  return { ...averages, total: totalUs };
}
