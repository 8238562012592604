import test from 'ava';
import type { PublishedPort, RuntimeOptions } from '../../../shared/model/index.ts';
import { cluster, specOf, type SpecChanges } from './_cluster.ts';

const port: PublishedPort = { protocol: 'tcp', targetPort: 80, publishedPort: 80, mode: 'host' };

function on(network: NonNullable<RuntimeOptions['network']>, more: SpecChanges = {}): SpecChanges {
  return { ...more, container: { ...specOf('x').container, runtime: { network } } };
}

test('a service on its nodes’ network, or on none, has no address at all', (t) => {
  for (const network of ['host', 'none'] as const) {
    const swarm = cluster()
      .nodes(2)
      .service('own', on(network, { replicas: 2 }))
      .settle();
    t.is(swarm.running('own').length, 2, network);
    t.deepEqual(
      swarm.tasks('own').map(({ addresses }) => addresses),
      [[], []],
    );
    t.deepEqual(swarm.get('own').endpoint?.vips ?? [], []);
  }
  const usual = cluster().nodes(1).service('usual').settle();
  t.is(usual.tasks('usual')[0]?.addresses.length, 1, 'without networks ingress is the way out');
});

test('its ports of mode host are kept free on its node', (t) => {
  const swarm = cluster()
    .nodes(2)
    .service('own', on('host', { replicas: 3, ports: [port] }))
    .settle();
  t.is(new Set(swarm.running('own').map(({ nodeId }) => nodeId)).size, 2);
  t.regex(String(swarm.reasons('own')), /host port 80\/tcp already in use on 2 nodes/);
  // also from a service that the node forwards the port to
  swarm.service('other', { ports: [port] }).settle();
  t.is(swarm.running('other').length, 0);
});
