/**
 * The metrics of a manager. What happens is observed by the parts that do it, through the observers here; what is, is read
 * when /metrics is asked for, so that nothing is counted along on every change.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { ApiMetrics } from '../api/context.ts';
import type { DispatcherCounts } from '../dispatcher/counts.ts';
import type { LeaderObserver } from '../leader/leader.ts';
import type { Store, StoreObserver } from '../store/store.ts';
import { readCluster, readRepairs } from './cluster-series.ts';
import { SeriesSet } from './series.ts';

/** Known once all parts run; until then /metrics has what there is. */
export interface MetricSources {
  readonly store: Store & { readonly current?: boolean };
  readonly connected: (nodeId: string) => boolean;
  readonly dispatcher: () => DispatcherCounts;
  readonly leads: () => boolean;
  /** What was refused on the API's TCP port, by reason. */
  readonly apiRefused?: Readonly<Record<string, number>>;
  /** Undefined when etcd does not answer. */
  readonly database: () => Promise<{ readonly bytes: number; readonly usedBytes: number } | undefined>;
}

export interface Metrics {
  readonly store: StoreObserver;
  readonly leader: LeaderObserver;
  readonly api: ApiMetrics;
  /** From now on what these say is shown too. */
  read(sources: MetricSources): void;
  close(): void;
}

/** `version`: Shoal's own. One a process: the metrics of the process itself are among them. */
export function createMetrics(version: string): Metrics {
  const registry = new Registry();
  const series = new SeriesSet(registry);
  collectDefaultMetrics({ register: registry });
  series.gauge('shoal_build_info').set({ version }, 1);
  let sources: MetricSources | undefined;
  return {
    store: storeObserver(series),
    leader: leaderObserver(series),
    api: {
      ...requestObserver(series),
      contentType: registry.contentType,
      scrape: async () => {
        if (sources !== undefined) await readSources(series, sources);
        return registry.metrics();
      },
    },
    read: (now) => {
      sources = now;
    },
    close: () => registry.clear(),
  };
}

async function readSources(series: SeriesSet, sources: MetricSources): Promise<void> {
  const { store, connected, leads } = sources;
  readCluster(series, store, connected);
  series.gauge('shoal_store_current').set(store.current === false ? 0 : 1);
  series.gauge('shoal_leader').set(leads() ? 1 : 0);
  const dispatched = sources.dispatcher();
  readDispatcher(series, dispatched);
  readRepairs(series, store, dispatched.repairs);
  setAll(series, 'shoal_api_refused_total', 'reason', sources.apiRefused ?? {});
  const [bytes, used] = [
    series.gauge('shoal_etcd_database_bytes'),
    series.gauge('shoal_etcd_database_used_bytes'),
  ];
  const database = await sources.database();
  bytes.remove();
  used.remove();
  if (database === undefined) return;
  bytes.set(database.bytes);
  used.set(database.usedBytes);
}

/** The dispatcher counts by itself, in plain numbers. */
function readDispatcher(series: SeriesSet, counts: DispatcherCounts): void {
  series.gauge('shoal_dispatcher_sessions').set(counts.sessions);
  series.gauge('shoal_dispatcher_strangers').set(counts.strangers);
  const parts = [
    ['shoal_dispatcher_assignments_total', 'kind', counts.assignments],
    ['shoal_dispatcher_statuses_total', 'verdict', counts.statuses],
    ['shoal_dispatcher_usages_total', 'verdict', counts.usages],
    ['shoal_dispatcher_nodes_down_total', 'reason', counts.nodesDown],
    ['shoal_dispatcher_certificates_total', 'outcome', counts.certificates],
    ['shoal_dispatcher_refused_total', 'reason', counts.refused],
  ] as const;
  for (const [name, label, values] of parts) setAll(series, name, label, values);
}

function setAll(
  series: SeriesSet,
  name: Parameters<SeriesSet['counter']>[0],
  label: string,
  values: Readonly<Record<string, number>>,
): void {
  const counter = series.counter(name);
  counter.reset();
  for (const [key, count] of Object.entries(values)) counter.inc({ [label]: key }, count);
}

function storeObserver(series: SeriesSet): StoreObserver {
  const commits = series.histogram('shoal_store_commit_seconds');
  const conflicts = series.counter('shoal_store_conflicts_total');
  const lag = series.histogram('shoal_store_watch_lag_seconds');
  return {
    committed: (seconds, outcome) => {
      commits.observe({ outcome }, seconds);
      if (outcome === 'stale') conflicts.inc();
    },
    mirrored: (seconds) => lag.observe(seconds),
  };
}

function leaderObserver(series: SeriesSet): LeaderObserver {
  const plans = series.histogram('shoal_plan_seconds');
  const writes = series.counter('shoal_plan_writes_total');
  const retries = series.counter('shoal_plan_retries_total');
  for (const reason of ['conflict', 'failed']) retries.inc({ reason }, 0);
  return {
    planned: (seconds, count) => {
      plans.observe(seconds);
      writes.inc(count);
    },
    retried: (reason) => retries.inc({ reason }),
  };
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE']);

function requestObserver(series: SeriesSet): Pick<ApiMetrics, 'began' | 'ended'> {
  const requests = series.counter('shoal_api_requests_total');
  const times = series.histogram('shoal_api_request_seconds');
  const open = series.gauge('shoal_api_requests_open');
  return {
    began: () => open.inc(),
    ended: ({ route, method, status, seconds }) => {
      open.dec();
      const labels = { route: route ?? 'none', method: METHODS.has(method) ? method : 'other' };
      requests.inc({ ...labels, code: status });
      times.observe(labels, seconds);
    },
  };
}
