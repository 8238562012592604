/** Every reason that the planner gives has its kind: what is named by no kind would be counted as `other`. */
import test from 'ava';
import { pendingKind, type PendingKind } from '../../../manager/plan/schedule/pending-kind.ts';
import { cluster, GB, type TestCluster } from './_cluster.ts';

const hostPort = [{ protocol: 'tcp', targetPort: 80, publishedPort: 80, mode: 'host' }] as const;
const meshPort = [{ protocol: 'tcp', targetPort: 80, publishedPort: 80, mode: 'ingress' }] as const;

const STORIES: Readonly<Record<Exclude<PendingKind, 'other'>, () => TestCluster>> = {
  'no-node': () => cluster().nodes(1).settle().put('nodes', 'n1', null).service('x', { replicas: 1 }),
  'node-status': () => cluster().nodes(1, { status: 'down' }).service('x', { replicas: 1 }),
  'node-availability': () => cluster().nodes(1, { availability: 'drain' }).service('x', { replicas: 1 }),
  platform: () =>
    cluster()
      .nodes(1)
      .service('x', { replicas: 1, placement: { platforms: [{ os: 'plan9', arch: '' }] } }),
  constraint: () =>
    cluster()
      .nodes(1)
      .service('x', { replicas: 1, constraints: ['node.labels.a==b'] }),
  cpu: () =>
    cluster()
      .nodes(1)
      .service('x', { replicas: 1, reservations: { nanoCpus: 9e12 } }),
  memory: () =>
    cluster()
      .nodes(1)
      .service('x', { replicas: 1, reservations: { memoryBytes: 9000 * GB } }),
  'generic-resource': () =>
    cluster()
      .nodes(1)
      .service('x', { reservations: { genericResources: [{ kind: 'gpu', count: 1 }] } }),
  'host-port': () => cluster().nodes(1).service('x', { replicas: 2, ports: hostPort }),
  'max-replicas': () =>
    cluster()
      .nodes(1)
      .service('x', { replicas: 2, placement: { maxReplicasPerNode: 1 } }),
  'published-port': () =>
    cluster()
      .nodes(1)
      .service('a', { ports: meshPort })
      .settle()
      .service('x', { replicas: 1, ports: meshPort }),
  address: () =>
    cluster({ addressPool: '10.0.0.0/8', subnetBits: 29 })
      .nodes(1)
      .network('tiny')
      .service('x', { replicas: 9, networks: [{ network: 'tiny', aliases: [] }] }),
  network: () =>
    cluster()
      .nodes(1)
      .service('x', { replicas: 1, networks: [{ network: 'gone', aliases: [] }] }),
};

for (const [kind, story] of Object.entries(STORIES)) {
  test(`the kind ${kind} is that of a real reason`, (t) => {
    const reasons = story()
      .settle()
      .reasons('x')
      .filter((reason) => reason !== undefined);
    t.true(reasons.length > 0, 'nothing waits');
    for (const reason of reasons) t.is(pendingKind(reason), kind as PendingKind, reason);
  });
}

test('of several, the first; of none that is known, other', (t) => {
  t.is(
    pendingKind('no suitable node (insufficient memory on 2 nodes; constraint a==b not met on 1 node)'),
    'memory',
  );
  t.is(pendingKind('its revision is missing'), 'other');
});
