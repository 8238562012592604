/** A node of an older version gets no task that it would run without a part of it. */
import test from 'ava';
import { BASE_KEYS } from '../../../shared/wire/base-spec-keys.ts';
import { newKeysOf, newSpecKeys } from '../../../shared/wire/spec-keys.ts';
import type { RuntimeOptions } from '../../../shared/model/index.ts';
import { cluster, specOf, type SpecChanges } from './_cluster.ts';

function having(runtime: RuntimeOptions): SpecChanges {
  return { container: { ...specOf('x').container, runtime } };
}

test('what every version knows is known, and what is new is found in the schema by itself, values too', (t) => {
  const all = new Set(newSpecKeys(new Set()));
  t.deepEqual(
    [...BASE_KEYS].filter((key) => !all.has(key)),
    [],
    'a key was taken away: older managers still send it',
  );
  t.true(BASE_KEYS.has('mode.kind=cron'));
  t.true(BASE_KEYS.has('container.mounts.kind=tmpfs'));
  t.true(newSpecKeys().includes('container.runtime.pidOf'));
  t.deepEqual(newSpecKeys(all), []);
});

test('of a spec only what it uses counts', (t) => {
  t.deepEqual(newKeysOf(specOf('plain', { labels: { pidOf: 'x' } })), []);
  t.deepEqual(newKeysOf(specOf('x', having({ privileged: true, network: 'host' }))), []);
  const shared = specOf('x', having({ networkOf: 'c1', ipcOf: 'c1' }));
  t.deepEqual(newKeysOf(shared).toSorted(), ['container.runtime.ipcOf', 'container.runtime.networkOf']);
});

test('it waits for a node that knows what it uses, and says for what; all else runs anywhere', (t) => {
  const swarm = cluster()
    .nodes(2, { description: { engineVersion: '0.0.9' } })
    .service('plain')
    .service('sharing', having({ pidOf: 'c1' }))
    .settle();
  t.is(swarm.running('plain').length, 1);
  t.is(swarm.running('sharing').length, 0);
  t.regex(
    String(swarm.reasons('sharing')),
    /Shoal 0\.0\.9 does not know container\.runtime\.pidOf on 2 nodes/,
  );
  swarm.node('n2', { description: { engineVersion: '0.1.0', knows: newSpecKeys() } }).settle();
  t.deepEqual(
    swarm.running('sharing').map(({ nodeId }) => nodeId),
    ['n2'],
  );
});
