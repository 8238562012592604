/** Published ports whose number is one of a range. */
import test from 'ava';
import type { PublishedPort } from '../../../shared/model/index.ts';
import { newSpecKeys } from '../../../shared/wire/spec-keys.ts';
import { cluster, type TestCluster } from './_cluster.ts';
import { createContainer, wantContainer } from './_containers.ts';

function port(among: PublishedPort['among'], more: Partial<PublishedPort> = {}): PublishedPort {
  const range = among === undefined ? {} : { among };
  return { protocol: 'tcp', targetPort: 80, publishedPort: 0, mode: 'ingress', ...range, ...more };
}

function swarmOf(nodes: number): TestCluster {
  return cluster().nodes(nodes, { description: { knows: newSpecKeys() } });
}

/** What a new container has been given, or why it has nothing. */
function created(swarm: TestCluster, id: string, ...ports: PublishedPort[]): readonly number[] | string {
  swarm.now += 1;
  createContainer(swarm, id, { ports }).settle();
  const given = swarm.get(id).endpoint?.ports;
  return given?.map(({ publishedPort }) => publishedPort) ?? String(swarm.reasons(id)[0]);
}

test('each has the first of the range that is free; with none left it waits for one, and says so', (t) => {
  const swarm = swarmOf(1).service('web', { ports: [port(undefined, { publishedPort: 9011 })] });
  t.deepEqual(created(swarm, 'a', port([9010, 9012])), [9010]);
  t.deepEqual(created(swarm, 'b', port([9010, 9012])), [9012]);
  t.is(created(swarm, 'c', port([9010, 9012])), 'no free port in 9010-9012/tcp');
  t.is(
    created(swarm, 'd', port([9010, 9012], { hostIp: '::1' })),
    'no free port in [::1]:9010-9012/tcp',
    'that is one of all addresses',
  );
  t.deepEqual(created(swarm, 'e', port([9010, 9012], { protocol: 'udp' })), [9010]);
  swarm.removeService('web').settle();
  t.is(swarm.get('c').endpoint?.ports[0]?.publishedPort, 9011);
});

test('what was chosen stays over stops and starts, and stands as a port like any other', (t) => {
  const swarm = swarmOf(1);
  t.deepEqual(created(swarm, 'a', port([9010, 9020])), [9010]);
  t.deepEqual(created(swarm, 'b', port([9010, 9020])), [9011]);
  swarm.removeService('a').settle();
  for (const wanted of ['running', 'stopped', 'running'] as const) wantContainer(swarm, 'b', wanted).settle();
  t.deepEqual(swarm.get('b').endpoint?.ports, [
    { protocol: 'tcp', targetPort: 80, publishedPort: 9011, mode: 'ingress' },
  ]);
  swarm.now += 1;
  swarm.service('late', { ports: [port(undefined, { publishedPort: 9011 })] }).settle();
  t.is(swarm.reasons('late')[0], 'port 9011/tcp is already published by container b');
});

test('what was chosen goes when it is not in the range any more', (t) => {
  const swarm = swarmOf(1);
  const given = (among: PublishedPort['among'], hostIp?: string): number | undefined => {
    swarm.service('web', { ports: [port(among, hostIp === undefined ? {} : { hostIp })] }).settle();
    return swarm.get('web').endpoint?.ports[0]?.publishedPort;
  };
  t.is(given([9010, 9012]), 9010);
  t.is(given([9000, 9012]), 9010);
  t.is(given([9000, 9012], '::1'), 9010);
  t.is(given([9011, 9012], '::1'), 9011);
  t.is(given(undefined), 30_000);
});

test('ports of one container: each its own number, given ones are left out', (t) => {
  const swarm = swarmOf(1);
  const given = port(undefined, { publishedPort: 9010, targetPort: 443 });
  const more = port([9010, 9020], { targetPort: 81 });
  t.deepEqual(created(swarm, 'a', port([9010, 9020]), more, given), [9011, 9012, 9010]);
  t.deepEqual(created(swarm, 'b', port([9030, 9031]), port([9030, 9031])), [9030, 9031], 'asked for twice');
  t.deepEqual(created(swarm, 'c', port(undefined), port([30_000, 30_010])), [30_000, 30_001]);
});

test('one port on several addresses has one number, free on all of them', (t) => {
  const swarm = swarmOf(1);
  const at = (hostIp: string) => port([9010, 9012], { hostIp });
  t.deepEqual(created(swarm, 'a', port(undefined, { publishedPort: 9010, hostIp: '192.0.2.1' })), [9010]);
  t.deepEqual(created(swarm, 'b', at('127.0.0.1')), [9010], 'another address');
  t.deepEqual(created(swarm, 'c', at('::1'), at('127.0.0.1')), [9011, 9011], 'one is taken on one of them');
  t.deepEqual(created(swarm, 'd', at('::1')), [9010]);
});

test('what is held in mode host is not chosen', (t) => {
  const host = (publishedPort: number) => port(undefined, { publishedPort, mode: 'host' });
  const swarm = swarmOf(2)
    .service('web', { ports: [host(9010), host(30_000)] })
    .settle();
  t.is(swarm.running('web').length, 1);
  t.deepEqual(created(swarm, 'a', port([9010, 9011]), port(undefined)), [9011, 30_001]);
});
