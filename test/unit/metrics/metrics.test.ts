import { readFile, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import path from 'node:path';
import test from 'ava';
import { PROJECT_ROOT } from '../../../deploy/local/project.ts';
import { lead } from '../../../manager/leader/leader.ts';
import { Refusals } from '../../../manager/dispatcher/refusals.ts';
import { createMetrics, type MetricSources } from '../../../manager/metrics/metrics.ts';
import { isLoopback, listenForScrapes, scrapesOnly } from '../../../manager/metrics/listen.ts';
import { SERIES } from '../../../manager/metrics/series.ts';
import { StaleError, type Store } from '../../../manager/store/store.ts';
import { delay } from '../../../shared/lib/abort.ts';
import { startEtcd } from '../../harness/etcd.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { databaseSize } from '../../../manager/store/database-size.ts';
import { ApiFixture, type Json } from '../api/fixture.ts';
import { cluster } from '../plan/_cluster.ts';
import { addService, eventually, putTask, rig, status, task } from '../session/rig.ts';
import { open, put } from '../store/helpers.ts';
import { parseMetrics, sample, type Sample } from './scrape.ts';

const never = new AbortController().signal;
const NO_COUNTS = {
  sessions: 0,
  assignments: { full: 0, change: 0 },
  statuses: { write: 0, ignore: 0, refuse: 0 },
  usages: { keep: 0, refuse: 0 },
  repairs: new Map([['nodea1', { route: 2, nftables: 5 }]]),
  nodesDown: { silent: 0, disconnected: 0, 'never-heard': 0 },
  certificates: { renewed: 0, failed: 0, expired: 0 },
  strangers: 0,
  refused: new Refusals(silentLogger).counts,
};

function sources(store: Store, more: Partial<MetricSources> = {}): MetricSources {
  return {
    store,
    connected: () => false,
    dispatcher: () => NO_COUNTS,
    leads: () => false,
    database: () => Promise.resolve(undefined),
    ...more,
  };
}

const WEB = {
  Name: 'web',
  TaskTemplate: { ContainerSpec: { Image: 'busybox' } },
  Mode: { Replicated: { Replicas: 3 } },
};

test('the cluster as the API shows it, and the API’s own requests by route', async (t) => {
  const metrics = createMetrics('0.1.0');
  await using api = await ApiFixture.up(2, { metrics: metrics.api });
  metrics.read(sources(api.store, { connected: (id) => id === 'nodea1', leads: () => true }));
  await api.send('POST', '/services/create', WEB);
  await eventually('they run', () => api.store.all('statuses').size === 3);
  await api.get('/services/web');
  await api.send('GET', '/v1.47/services/none');
  await api.send('GET', '/no/such/page');
  const { status: code, headers, body } = await api.send('GET', '/metrics');
  t.is(code, 200);
  t.is(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  const got = parseMetrics(body.toString());
  t.is(sample(got, 'shoal_leader'), 1);
  const years = ((sample(got, 'shoal_ca_end_timestamp_seconds') ?? 0) - Date.now() / 1000) / 31_536_000;
  t.true(years > 19.9 && years < 20.1);
  t.is(sample(got, 'shoal_managers'), 1);
  t.is(sample(got, 'shoal_nodes', { role: 'worker', status: 'ready', availability: 'active' }), 1);
  t.is(sample(got, 'shoal_node_cpus', { node: 'a1' }), 2);
  t.is(sample(got, 'shoal_node_memory_bytes', { node: 'a2' }), 2 ** 31);
  t.is(sample(got, 'shoal_node_connected', { node: 'a1' }), 1);
  t.is(sample(got, 'shoal_node_connected', { node: 'a2' }), 0);
  t.is(sample(got, 'shoal_node_network_repairs_total', { node: 'a1', kind: 'nftables' }), 5);
  t.is(sample(got, 'shoal_node_ports_taken', { node: 'a1' }), 0);
  t.is(sample(got, 'shoal_node_tasks', { node: 'a1', state: 'running' }), 2);
  t.is(sample(got, 'shoal_service_replicas_desired', { service: 'web' }), 3);
  t.is(sample(got, 'shoal_service_replicas_running', { service: 'web' }), 3);
  t.is(sample(got, 'shoal_tasks', { state: 'running' }), 3);
  t.is(sample(got, 'shoal_store_objects', { table: 'tasks' }), 3);
  t.is(sample(got, 'shoal_store_revision'), api.store.revision);
  t.is(sample(got, 'shoal_api_requests_total', { route: '/services/:id', method: 'GET', code: '200' }), 1);
  t.is(sample(got, 'shoal_api_requests_total', { route: '/services/:id', method: 'GET', code: '404' }), 1);
  t.is(sample(got, 'shoal_api_requests_total', { route: 'none', code: '404' }), 1);
  t.is(sample(got, 'shoal_api_request_seconds_count', { route: '/services/:id' }), 2);
  t.is(sample(got, 'shoal_api_requests_open'), 1, 'the scrape itself');
  for (const name of [
    'nodejs_eventloop_lag_p99_seconds',
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
  ])
    t.true(sample(got, name) >= 0, name);
  t.false(
    got.some(({ name }) => name.startsWith('shoal_etcd_database')),
    'etcd does not answer here',
  );
  t.deepEqual(forbidden(got, api.store), []);
});

/** Label values that would grow without end: ids of tasks, of containers, of services' revisions. */
function forbidden(samples: readonly Sample[], store: Store): string[] {
  const ids = new Set<string>([...store.all('tasks').keys(), ...store.all('services').keys()]);
  for (const { container } of store.all('statuses').values()) ids.add(container?.containerId ?? '');
  return samples.flatMap(({ labels }) => Object.values(labels).filter((value) => ids.has(value)));
}

test('what is gone is gone from the next scrape', async (t) => {
  const metrics = createMetrics('0.1.0');
  await using api = await ApiFixture.up(1);
  metrics.read(sources(api.store));
  await api.send('POST', '/services/create', WEB);
  await eventually('they run', () => api.store.all('statuses').size === 3);
  t.true((await metrics.api.scrape()).includes('service="web"'));
  await api.send('DELETE', '/services/web');
  await eventually('they are gone', () => api.store.all('services').size === 0);
  await api.write([{ table: 'nodes', key: 'nodea1', value: null }]);
  const text = await metrics.api.scrape();
  t.notRegex(text, /service="web"|node="a1"|state="running"/);
  t.is(sample(parseMetrics(text), 'shoal_services'), 0);
});

test('without metrics there are none', async (t) => {
  await using api = await ApiFixture.up(1);
  t.is((await api.send('GET', '/metrics')).status, 404);
});

test('tasks that wait are counted by reason', async (t) => {
  const metrics = createMetrics('0.1.0');
  const swarm = cluster()
    .nodes(2)
    .service('a', { replicas: 2, constraints: ['node.labels.zone==a'] });
  swarm.service('b', { replicas: 1, reservations: { memoryBytes: 2 ** 40 } }).settle();
  metrics.read(sources(swarm.store));
  const got = parseMetrics(await metrics.api.scrape());
  t.is(sample(got, 'shoal_tasks_pending', { reason: 'constraint' }), 2);
  t.is(sample(got, 'shoal_tasks_pending', { reason: 'memory' }), 1);
  t.is(sample(got, 'shoal_tasks', { state: 'pending' }), 3);
});

test('the leader’s plans, their writes and their conflicts', async (t) => {
  const metrics = createMetrics('0.1.0');
  const swarm = cluster();
  swarm.now = Date.now();
  swarm.nodes(2);
  const { store } = swarm;
  store.leader = { key: '/election/a', createRevision: '7' };
  let refusals = 2;
  const commit: Store['commit'] = (writes, options) => {
    if (writes.some(({ table }) => table === 'tasks')) refusals -= 1;
    else return store.commit(writes, options);
    if (refusals >= 0) return Promise.reject(new StaleError('changed meanwhile', false));
    return store.commit(writes, options);
  };
  const refusing = new Proxy(store, {
    get: (target, key) => {
      const value: unknown = key === 'commit' ? commit : Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  const stop = new AbortController();
  const options = {
    store: refusing,
    fence: store.leader,
    clock: { now: () => Date.now() },
    logger: silentLogger,
  };
  const led = lead({ ...options, observer: metrics.leader }, stop.signal);
  swarm.service('web', { replicas: 4 });
  await eventually('all have a node', () => swarm.wanted('web').filter((one) => one.nodeId).length === 4);
  stop.abort();
  await led;
  const got = parseMetrics(await metrics.api.scrape());
  t.is(sample(got, 'shoal_plan_retries_total', { reason: 'conflict' }), 2);
  t.is(sample(got, 'shoal_plan_retries_total', { reason: 'failed' }), 0);
  t.true(sample(got, 'shoal_plan_seconds_count') >= 3);
  t.true(sample(got, 'shoal_plan_writes_total') >= 4);
});

test('the dispatcher: sessions, assignments, statuses by what was done with them, nodes that went down', async (t) => {
  const metrics = createMetrics('0.1.0');
  const r = await rig(t, { nodeDownAfterMs: 400 });
  metrics.read(sources(r.store, { dispatcher: r.dispatcher.counts }));
  const agent = await r.agent('a1');
  await eventually('the node is ready', () => r.store.get('nodes', agent.nodeId)?.status === 'ready');
  await addService(r, 'web');
  await putTask(r, task('t1', 'web', agent.nodeId));
  await eventually('it is assigned', () => agent.sets.at(-1)?.tasks.has('t1') === true);
  agent.link.report(status('t1', 'running'));
  await eventually('the status is stored', () => r.store.get('statuses', 't1')?.state === 'running');
  agent.link.report(status('unknown', 'running'));
  await eventually('it was looked at', () => r.dispatcher.counts().statuses.ignore === 1);
  const during = parseMetrics(await metrics.api.scrape());
  t.is(sample(during, 'shoal_dispatcher_sessions'), 1);
  t.is(sample(during, 'shoal_dispatcher_assignments_total', { kind: 'full' }), 1);
  t.true(sample(during, 'shoal_dispatcher_assignments_total', { kind: 'change' }) >= 1);
  t.is(sample(during, 'shoal_dispatcher_statuses_total', { verdict: 'write' }), 1);
  t.is(sample(during, 'shoal_dispatcher_statuses_total', { verdict: 'ignore' }), 1);
  await agent.stop();
  await eventually('the node is down', () => r.store.get('nodes', agent.nodeId)?.status === 'down');
  const after = parseMetrics(await metrics.api.scrape());
  t.is(sample(after, 'shoal_dispatcher_sessions'), 0);
  t.is(sample(after, 'shoal_dispatcher_nodes_down_total', { reason: 'disconnected' }), 1);
});

test('over etcd: commits by outcome, conflicts, lag of the watch, size of the database', async (t) => {
  const metrics = createMetrics('0.1.0');
  await using etcd = await startEtcd();
  await using store = await open(etcd, { observer: metrics.store });
  metrics.read(sources(store, { database: () => databaseSize(store.client) }));
  await store.commit([put('t1', {}, 0)], { signal: never });
  await store.commit([put('t2', {}, 0)], { signal: never });
  await t.throwsAsync(store.commit([put('t1', {}, 0)], { signal: never }), { instanceOf: StaleError });
  const got = parseMetrics(await metrics.api.scrape());
  t.is(sample(got, 'shoal_store_commit_seconds_count', { outcome: 'written' }), 2);
  t.is(sample(got, 'shoal_store_commit_seconds_count', { outcome: 'stale' }), 1);
  t.is(sample(got, 'shoal_store_conflicts_total'), 1);
  t.is(sample(got, 'shoal_store_watch_lag_seconds_count'), 2);
  t.is(sample(got, 'shoal_store_current'), 1);
  t.is(sample(got, 'shoal_store_objects', { table: 'tasks' }), 2);
  const bytes = sample(got, 'shoal_etcd_database_bytes');
  t.true(bytes >= sample(got, 'shoal_etcd_database_used_bytes') && bytes > 4096);
  await etcd[Symbol.asyncDispose]();
  for (const end = Date.now() + 60_000; store.current; await delay(10, never))
    if (Date.now() > end) throw new Error('the store has not noticed that etcd is away');
  const away = parseMetrics(await metrics.api.scrape());
  t.is(sample(away, 'shoal_store_current'), 0);
  t.false(away.some(({ name }) => name.startsWith('shoal_etcd_database')));
});

test('a port for scrapes has /metrics and nothing else', async (t) => {
  const metrics = createMetrics('0.1.0');
  metrics.read(sources(cluster().nodes(1).store));
  const server = await listenForScrapes(metrics.api, { host: '127.0.0.1', port: 0 }, silentLogger);
  t.teardown(() => server.close());
  const url = `http://127.0.0.1:${server.address.port}`;
  const answer = await fetch(`${url}/metrics?x=1`);
  t.is(answer.status, 200);
  t.is(answer.headers.get('content-type'), metrics.api.contentType);
  t.is(sample(parseMetrics(await answer.text()), 'shoal_node_connected', { node: 'n1' }), 0);
  for (const [method, path] of [
    ['GET', '/'],
    ['GET', '/services'],
    ['GET', '/metrics/..'],
    ['POST', '/metrics'],
    ['DELETE', '/nodes/n1'],
  ] as const)
    t.is((await fetch(url + path, { method })).status, 404, `${method} ${path}`);
  const taken = { host: '127.0.0.1', port: server.address.port };
  await t.throwsAsync(listenForScrapes(metrics.api, taken, silentLogger), { code: 'EADDRINUSE' });
});

test('when the metrics can not be read, that is said and logged', async (t) => {
  const logged: object[] = [];
  const failing = { contentType: 'text/plain', scrape: () => Promise.reject(new Error('a fault')) };
  const logger = { ...silentLogger, error: (fields: object) => void logged.push(fields) };
  const server = await listenForScrapes(failing, { host: '127.0.0.1', port: 0 }, logger);
  t.teardown(() => server.close());
  t.is((await fetch(`http://127.0.0.1:${server.address.port}/metrics`)).status, 500);
  t.deepEqual(logged, [{ error: 'a fault' }]);
});

test('docs/operate.md has every series, with its labels', async (t) => {
  const file = path.join(PROJECT_ROOT, 'docs', 'operate.md');
  const text = await readFile(file, 'utf8');
  const rows = Object.entries<Json>(SERIES).map(([name, { type, labels, help }]) => {
    const named = labels.map((label: string) => `\`${label}\``).join(', ');
    return `| \`${name}\` | ${type} | ${named} | ${help} |`;
  });
  const table = ['| series | type | labels | |', '|---|---|---|---|', ...rows].join('\n');
  const block = /(<!-- series -->\n)[\s\S]*?(\n<!-- end -->)/;
  t.regex(text, block);
  const expected = text.replace(block, (_all, start: string, end: string) => `${start}${table}${end}`);
  if (process.env['SHOAL_WRITE_DOCS'] === '1') await writeFile(file, expected);
  t.is(process.env['SHOAL_WRITE_DOCS'] === '1' ? expected : text, expected);
});

test('without TLS they are on loopback addresses only; with it, nothing else is there', (t) => {
  for (const host of ['127.0.0.1', '127.8.0.1', '::1', 'localhost']) t.true(isLoopback(host), host);
  for (const host of ['0.0.0.0', '::', '10.0.0.5', '127.0.0.1.example.com', '128.0.0.1', ''])
    t.false(isLoopback(host), host);
  const asked: string[] = [];
  const listener = scrapesOnly((req) => void asked.push(`${req.method} ${req.url}`));
  const answers: number[] = [];
  const res = { writeHead: (status: number) => (answers.push(status), { end: () => undefined }) };
  for (const [method, url] of [
    ['GET', '/metrics?x=1'],
    ['POST', '/metrics'],
    ['GET', '/services'],
    ['GET', '/v1.47/metrics'],
  ])
    listener({ method, url } as IncomingMessage, res as unknown as ServerResponse);
  t.deepEqual(asked, ['GET /metrics?x=1']);
  t.deepEqual(answers, [404, 404, 404]);
});
