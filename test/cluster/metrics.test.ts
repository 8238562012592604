/** /metrics and /openapi.json of a real manager: what the parts tell arrives there. */
import test from 'ava';
import { cluster } from '../harness/cluster.ts';
import { parseMetrics, sample, type Sample } from '../unit/metrics/scrape.ts';

test('a manager with etcd, an agent and a service tells of all of them', async (t) => {
  await using swarm = await cluster().manager().agents(1).up();
  await swarm.deploy('web', { replicas: 2 });
  await swarm.deploy('nowhere', { more: ['--constraint', 'node.hostname==mars'] });
  await swarm.eventually((s) => s.running('web').count === 2 && s.tasks('nowhere').errors.length === 1);
  const scrape = async (): Promise<Sample[]> => {
    const { status, body } = await swarm.api('GET', '/metrics');
    t.is(status, 200);
    return parseMetrics(String(body));
  };
  const got = await scrape();
  for (const [name, labels, value] of [
    ['shoal_leader', {}, 1],
    ['shoal_store_current', {}, 1],
    ['shoal_dispatcher_sessions', {}, 1],
    ['shoal_node_connected', { node: 'a1' }, 1],
    ['shoal_service_replicas_desired', { service: 'web' }, 2],
    ['shoal_service_replicas_running', { service: 'web' }, 2],
    ['shoal_tasks_pending', { reason: 'constraint' }, 1],
    ['shoal_api_requests_total', { route: '/services/create', method: 'POST', code: '201' }, 2],
  ] as const)
    t.is(sample(got, name, labels), value, name);
  for (const [name, labels] of [
    ['shoal_plan_seconds_count', {}],
    ['shoal_plan_writes_total', {}],
    ['shoal_store_commit_seconds_count', { outcome: 'written' }],
    ['shoal_store_watch_lag_seconds_count', {}],
    ['shoal_dispatcher_assignments_total', { kind: 'full' }],
    ['shoal_dispatcher_statuses_total', { verdict: 'write' }],
    ['shoal_etcd_database_bytes', {}],
    ['nodejs_eventloop_lag_mean_seconds', {}],
  ] as const)
    t.true(sample(got, name, labels) > 0, name);
  await swarm.node('a1').partition();
  await swarm.eventually((s) => s.running('web').count === 0);
  const after = await scrape();
  t.is(sample(after, 'shoal_node_connected', { node: 'a1' }), 0);
  t.is(sample(after, 'shoal_dispatcher_nodes_down_total', { reason: 'silent' }), 1);
  await swarm.node('a1').heal();
  const { status, body } = await swarm.api('GET', '/openapi.json');
  t.is(status, 200);
  t.is((body as { openapi: string }).openapi, '3.1.0');
});
