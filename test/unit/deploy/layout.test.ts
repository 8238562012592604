import test from 'ava';
import { makeLayout, makeNodes, ownsTable } from '../../../deploy/local/layout.ts';
import { mentions } from '../../../deploy/local/proc.ts';

const layout = makeLayout({ name: 'local', portBase: 7370 });

test('the default cluster has the documented places', (t) => {
  t.is(layout.stateDir, '/var/lib/shoal');
  t.is(layout.socket, '/run/shoal/shoal.sock');
  const other = makeLayout({ name: 'two', portBase: 9000 });
  t.is(other.stateDir, '/var/lib/shoal-two');
  t.is(other.socket, '/run/shoal-two/shoal.sock');
});

test('names of interfaces fit into 15 characters, whatever the cluster is called', (t) => {
  for (const name of ['a', 'local', 'ninechars', 'twelveletter']) {
    const { bridge, cablePrefix } = makeLayout({ name, portBase: 1 });
    t.true(bridge.length <= 15, bridge);
    t.true(`${cablePrefix}200`.length <= 15, cablePrefix);
  }
});

test('a name or a port that does not fit is refused with what is allowed', (t) => {
  for (const name of ['', 'Big', 'a-b', '1a', 'thirteenchars', '../x']) {
    t.throws(
      () => makeLayout({ name, portBase: 1 }),
      { message: /does not fit: at most 12 characters/ },
      name,
    );
  }
  t.throws(() => makeLayout({ name: 'a', portBase: 65_535 }), { message: /--port-base/ });
});

test('a table belongs to the cluster whose whole name it carries', (t) => {
  for (const own of ['shoal-local', 'shoal-local-masquerade', 'shoal_local_x'])
    t.true(ownsTable(layout, own), own);
  for (const foreign of ['shoal-local2', 'shoal-loc', 'shoal', 'filter', 'x-shoal-local']) {
    t.false(ownsTable(layout, foreign), foreign);
  }
});

test('the first node is the machine itself, if wanted', (t) => {
  const local = makeNodes(layout, '10.213.9', 3, { machineIsNode: true, prefix: 'node-' });
  t.deepEqual(
    local.map((node) => [node.hostname, node.address, node.netns?.name]),
    [
      ['node-1', '10.213.9.1', undefined],
      ['node-2', '10.213.9.2', 'shoal-local-host_2'],
      ['node-3', '10.213.9.3', 'shoal-local-host_3'],
    ],
  );
  const apart = makeNodes(layout, '10.213.9', 1, { machineIsNode: false, prefix: 'a' });
  t.deepEqual(
    apart.map((node) => [node.hostname, node.address, node.netns?.name]),
    [['a1', '10.213.9.2', 'shoal-local-host_1']],
  );
});

test('an argument mentions a directory only as a whole path', (t) => {
  const directory = '/var/lib/shoal';
  for (const text of [directory, `${directory}/x`, `--data-dir=${directory}/etcd`]) {
    t.true(mentions(text, directory), text);
  }
  for (const text of [
    '/var/lib/shoal-two/x',
    '/srv/var/lib/shoalx',
    '/home/me/var/lib/shoal',
    'var/lib/shoal',
  ]) {
    t.false(mentions(text, directory), text);
  }
});
