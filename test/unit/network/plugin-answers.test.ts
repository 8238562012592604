/** What a network plugin answers is believed as far as it concerns its own network, and nothing else of it. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { cidrContains, parseAddress, parseCidr } from '../../../shared/lib/cidr.ts';
import { InvalidError } from '../../../shared/errors/index.ts';
import {
  readEndpoint,
  readJoin,
  requireLocal,
  requireOwnDevice,
} from '../../../agent/network/plugin/answers.ts';
import { callPlugin } from '../../../agent/network/plugin/client.ts';
import { PluginDirectory } from '../../../agent/network/plugin/directory.ts';
import { findPlugins } from '../../../agent/network/plugin/finder.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { network } from '../../cluster/network-model.ts';

const NETWORK = network('lan', 0x3001, '10.40.0');
const OWN = '10.40.0.9';

const text = fc.oneof(
  fc.constantFrom(
    '',
    'eth0',
    'pc1',
    OWN,
    '10.40.0.1',
    '10.41.0.1',
    '0.0.0.0/0',
    '198.18.0.0/16',
    '127.0.0.0/8',
  ),
  fc.string({ maxLength: 20 }),
);
const route = fc.record(
  { Destination: text, RouteType: fc.constantFrom(0, 1, 2), NextHop: text },
  { requiredKeys: [] },
);
/** Most of these can be taken. */
const fair = fc.record(
  {
    InterfaceName: fc.record(
      { SrcName: fc.constantFrom('pc1', 'pc2'), DstPrefix: text },
      { requiredKeys: ['SrcName'] },
    ),
    Gateway: fc.constantFrom('', '10.40.0.1', '10.41.0.1'),
    StaticRoutes: fc.array(route, { maxLength: 1 }),
  },
  { requiredKeys: ['InterfaceName'] },
);
const answers = fc.oneof(
  fair,
  fc.jsonValue(),
  fc.record(
    {
      InterfaceName: fc.option(fc.record({ SrcName: text, DstPrefix: text }, { requiredKeys: [] })),
      Gateway: text,
      StaticRoutes: fc.array(route, { maxLength: 3 }),
    },
    { requiredKeys: [] },
  ),
);

test('whatever a plugin answers to Join, what is taken of it stays within its network', (t) => {
  let taken = 0;
  fc.assert(
    fc.property(answers, (answer) => {
      let joined;
      try {
        joined = readJoin(answer, NETWORK, OWN);
      } catch (error) {
        t.true(error instanceof InvalidError, String(error));
        return;
      }
      taken += 1;
      t.regex(joined.device, /^[^\s/:]{1,15}$/);
      const near = [joined.gateway, ...joined.routes.map(({ via }) => via)].filter(
        (one) => one !== undefined,
      );
      for (const address of near) {
        t.not(address, OWN);
        t.true(cidrContains(parseCidr(NETWORK.subnet), parseAddress(address)));
      }
      for (const { dst } of joined.routes) t.false(/^(127\.|169\.254\.|2[2-5]\d\.)|\/0$/.test(dst), dst);
    }),
    { numRuns: 1000 },
  );
  t.true(taken > 20, 'some are right');
});

test('what is right is taken, and the rest is refused with its reason', (t) => {
  const route = { Destination: '198.18.0.0/16', RouteType: 0, NextHop: '10.40.0.1' };
  t.deepEqual(
    readJoin(
      { InterfaceName: { SrcName: 'pc1' }, Gateway: '10.40.0.1', StaticRoutes: [route] },
      NETWORK,
      OWN,
    ),
    {
      device: 'pc1',
      gateway: '10.40.0.1',
      routes: [{ dst: '198.18.0.0/16', via: '10.40.0.1' }],
    },
  );
  t.deepEqual(readJoin({ InterfaceName: { SrcName: 'pc1' } }, NETWORK, OWN), { device: 'pc1', routes: [] });
  t.is(readEndpoint({ Interface: { MacAddress: '02:AB:00:00:00:01' } }, `${OWN}/24`), '02:ab:00:00:00:01');
  t.is(readEndpoint({}, `${OWN}/24`), undefined);
  t.throws(() => readEndpoint({ Interface: { MacAddress: '01:00:5e:00:00:01' } }, `${OWN}/24`), {
    message: /no MAC/,
  });
  t.throws(() => readEndpoint({ Interface: { AddressIPv6: 'fd00::1/64' } }, `${OWN}/24`), {
    message: /IPv6/,
  });
  t.throws(() => requireLocal({ Scope: 'global' }), { message: /its scope is 'global'/ });
});

test('a device of the node is no plugin’s to give away', (t) => {
  const link = { up: true, mtu: 1500, kind: 'veth' };
  const dump = {
    links: [
      { ...link, name: 'new', index: 9 },
      { ...link, name: 'old', index: 3 },
      { up: true, mtu: 1500, name: 'nic', index: 10 },
      { ...link, name: 'port', index: 11, master: 4 },
      { ...link, name: 'used', index: 12 },
      { ...link, name: 'su012345a', index: 13 },
    ],
    addresses: [{ dev: 'used', address: '192.0.2.1/24' }],
    ...{ routes: [], rules: [], neighbours: [], fdb: [], rates: [], sysctls: {} },
  };
  const before = new Set([3]);
  t.notThrows(() => requireOwnDevice('new', before, dump));
  for (const [name, why] of [
    ['old', /was there before/],
    ['nic', /the machine's/],
    ['port', /part of another/],
    ['used', /addresses of the node/],
    ['su012345a', /one of Shoal's/],
    ['none', /not there/],
  ] as const)
    t.throws(() => requireOwnDevice(name, before, dump), { message: why }, name);
});

test('plugins are found by socket, spec and json; those of another scope, and those that say nothing, are not used', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-plugins-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const serve = (path: string, scope: string | undefined): Promise<void> => {
    const server = createServer((request, response) => {
      if (scope === undefined) return;
      response.end(
        JSON.stringify(
          request.url === '/Plugin.Activate' ? { Implements: ['NetworkDriver'] } : { Scope: scope },
        ),
      );
    });
    t.teardown(() => {
      server.closeAllConnections();
      server.close();
    });
    return new Promise((resolve) => server.listen(path, resolve));
  };
  await mkdir(join(dir, 'inner'));
  await serve(join(dir, 'near.sock'), 'local');
  await serve(join(dir, 'inner', 'inner.sock'), 'local');
  await serve(join(dir, 'wide.sock'), 'global');
  await serve(join(dir, 'mute.sock'), undefined);
  await writeFile(join(dir, 'spec.spec'), `unix://${join(dir, 'near.sock')}\n`);
  await writeFile(
    join(dir, 'json.json'),
    JSON.stringify({ Name: 'json', Addr: `unix://${join(dir, 'near.sock')}` }),
  );
  await writeFile(
    join(dir, 'tls.json'),
    JSON.stringify({ Addr: 'tcp://127.0.0.1:9', TLSConfig: { CAFile: '/x' } }),
  );
  await writeFile(join(dir, 'torn.json'), '{');
  await writeFile(join(dir, 'file.sock'), 'no socket');
  t.deepEqual([...(await findPlugins([join(dir, 'none'), dir])).keys()].toSorted(), [
    ...['inner', 'json', 'mute', 'near', 'spec', 'wide'],
  ]);
  const directory = new PluginDirectory(silentLogger, 500, [dir]);
  await directory.look();
  t.deepEqual([...directory.usable].toSorted(), ['inner', 'json', 'near', 'spec']);
  await t.throwsAsync(callPlugin({ socketPath: join(dir, 'mute.sock') }, 'X', {}, 200), {
    message: /no answer within 0.2 s/,
  });
  await t.throwsAsync(directory.call('other', 'X', {}), { message: /no network plugin other on this node/ });
});
