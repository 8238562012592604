/** What /metrics costs the manager: 1,000 services and 10,000 tasks on 100 nodes. Nothing is counted along, so this is all. */
import { createMetrics } from '../../manager/metrics/metrics.ts';
import { Refusals } from '../../manager/dispatcher/refusals.ts';
import type { Write } from '../../manager/store/store.ts';
import { runningTask } from '../unit/api/fixture.ts';
import { MemoryStore } from '../harness/memory-store.ts';
import { silentLogger } from '../harness/silent-logger.ts';
import { cluster } from '../unit/plan/_cluster.ts';
import { quantile, report } from './report.ts';

const SERVICES = 1_000;
const TASKS_EACH = 10;
const NODES = 100;
const ROUNDS = 100;

/** Records as a planner's story makes them, and running tasks on all nodes. */
async function filledStore(): Promise<MemoryStore> {
  const story = cluster().nodes(NODES);
  for (let i = 0; i < SERVICES; i += 1) story.service(`service-${i}`, { replicas: TASKS_EACH });
  const store = new MemoryStore();
  const signal = new AbortController().signal;
  const writes: Write[] = [];
  for (const table of ['nodes', 'services', 'revisions'] as const)
    for (const [key, value] of story.store.all(table)) writes.push({ table, key, value } as Write);
  const nodeIds = [...story.store.all('nodes').keys()];
  let placed = 0;
  for (const service of story.store.all('services').values()) {
    for (let slot = 1; slot <= TASKS_EACH; slot += 1) {
      placed += 1;
      writes.push(...runningTask(service, slot, nodeIds[placed % nodeIds.length] ?? ''));
    }
  }
  await store.commit(writes, { signal });
  return store;
}

const metrics = createMetrics('0.1.0');
metrics.read({
  store: await filledStore(),
  connected: () => true,
  dispatcher: () => ({
    repairs: new Map(),
    sessions: NODES,
    assignments: { full: NODES, change: 0 },
    statuses: { write: SERVICES * TASKS_EACH, ignore: 0, refuse: 0 },
    usages: { keep: 0, refuse: 0 },
    nodesDown: { silent: 0, disconnected: 0, 'never-heard': 0 },
    certificates: { renewed: 0, failed: 0, expired: 0 },
    strangers: 0,
    refused: new Refusals(silentLogger).counts,
  }),
  leads: () => true,
  database: () => Promise.resolve({ bytes: 1, usedBytes: 1 }),
});
let text = '';
const tookMs: number[] = [];
for (let round = 0; round < ROUNDS + 10; round += 1) {
  const startedMs = performance.now();
  text = await metrics.api.scrape();
  // The first rounds compile.
  if (round >= 10) tookMs.push(performance.now() - startedMs);
}
const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
report('scrape of 1,000 services and 10,000 tasks, median', quantile(tookMs, 0.5), undefined, 'ms');
report('scrape of 1,000 services and 10,000 tasks, p99', quantile(tookMs, 0.99), undefined, 'ms');
report('series of that scrape', series, undefined, 'lines');
report('size of that scrape', text.length / 1024, undefined, 'KiB');
process.exit(0);
