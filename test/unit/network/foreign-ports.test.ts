import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import test from 'ava';
import { ForeignPorts, isTaken, listenersIn, listeningPorts } from '../../../agent/network/foreign-ports.ts';
import { keyOf, type KernelObject, type Scope } from '../../../agent/network/kernel-object.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n';

test('a table’s listeners, by port and by address', (t) => {
  const rows = [
    '   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000',
    '   1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000',
    '   2: 0100007F:1F92 0100007F:9C40 01 00000000:00000000 00:00000000',
    '   3: 00000000000000000000000000000000:1F93 00000000000000000000000000000000:0000 0A 00000000:00000000',
    '   4: 00000000000000000000000001000000:1F94 00000000000000000000000000000000:0000 0A 00000000:00000000',
    '   5: 0000000000000000FFFF00000100007F:1F95 00000000000000000000000000000000:0000 0A 00000000:00000000',
  ];
  t.deepEqual(
    [...listenersIn(HEAD + rows.join('\n'), 'tcp')],
    [
      '8080/tcp',
      '0.0.0.0:8080/tcp',
      '8081/tcp',
      '127.0.0.1:8081/tcp',
      '8083/tcp',
      '[::]:8083/tcp',
      '0.0.0.0:8083/tcp',
      '8084/tcp',
      '[::1]:8084/tcp',
      '8085/tcp',
      '127.0.0.1:8085/tcp',
    ],
  );
  const listening = listenersIn(HEAD + rows.join('\n'), 'tcp');
  const taken = [
    ...['8081/tcp', '192.0.2.1:8081/tcp', '127.0.0.1:8081/tcp', '192.0.2.1:8080/tcp', '8082/tcp'],
    ...['[2001:db8::1]:8083/tcp', '[2001:db8::1]:8084/tcp', '[::1]:8084/tcp', '[::1]:8080/tcp'],
  ];
  t.deepEqual(
    taken.filter((port) => isTaken(port, listening)),
    [
      ...['8081/tcp', '127.0.0.1:8081/tcp', '192.0.2.1:8080/tcp'],
      ...['[2001:db8::1]:8083/tcp', '[::1]:8084/tcp'],
    ],
    'one address is free where somebody listens on another',
  );
  t.deepEqual(
    [...listenersIn(`${HEAD}   0: 00000000:0035 00000000:0000 07 0:0\n`, 'udp')],
    ['53/udp', '0.0.0.0:53/udp'],
  );
  t.deepEqual([...listenersIn('', 'tcp')], []);
});

function ports(...elements: readonly (readonly [string, number])[]): Scope {
  const objects = elements.flatMap(([protocol, port]) =>
    // Of both families; what is said of them is said once.
    ['shoal-x', 'ip6 shoal-x'].map(
      (table): KernelObject => ({
        type: 'element',
        table,
        set: `${protocol}_ports`,
        key: String(port),
        value: `goto ${protocol}_${port}`,
      }),
    ),
  );
  return new Map(objects.map((object) => [keyOf(object), object]));
}

test('a port that somebody listens on is left to him, until he goes; what is published already stays', async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1');
  const socket = dgram.createSocket('udp4').bind(0);
  await Promise.all([once(server, 'listening'), once(socket, 'listening')]);
  const tcp = (server.address() as net.AddressInfo).port;
  const udp = socket.address().port;
  t.true((await listeningPorts()).has(`${tcp}/tcp`));

  const said: string[] = [];
  const foreign = new ForeignPorts({ ...silentLogger, error: (_, text = '') => said.push(text) });
  const wanted = ports(['tcp', tcp], ['udp', udp], ['tcp', 1]);
  const leave = async (objects: Scope, observed: Scope, whole = true): Promise<unknown> =>
    (await foreign.leave({ whole, objects }, observed)).objects;
  t.deepEqual(await leave(wanted, new Map()), ports(['tcp', 1]));
  t.deepEqual(await leave(wanted, ports(['tcp', 1])), ports(['tcp', 1]));
  t.deepEqual(await leave(new Map(), ports(['tcp', 1]), false), new Map());
  t.deepEqual(
    said.toSorted(),
    [`${tcp}/tcp`, `${udp}/udp`].map((port) => sentence(port)).toSorted(),
    'said once',
  );
  t.deepEqual(await leave(wanted, wanted), wanted);
  t.deepEqual(await leave(wanted, ports(['tcp', 1])), ports(['tcp', 1]));

  await foreign.look(wanted);
  await foreign.look(wanted);
  t.deepEqual(
    said.slice(-2).toSorted(),
    [`${tcp}/tcp`, `${udp}/udp`]
      .map(
        (port) => `a process on this node listens on port ${port}, which is published: it gets no connection`,
      )
      .toSorted(),
    'who came later is told of, once',
  );

  t.deepEqual(
    foreign.taken,
    [`${tcp}/tcp`, `${udp}/udp`].sort().flatMap((port) => [
      { port, holder: 'theirs' },
      { port, holder: 'ours' },
    ]),
  );
  server.close();
  socket.close();
  await once(server, 'close');
  await foreign.look(wanted);
  t.deepEqual(
    await leave(new Map(), ports(['tcp', 1]), false),
    ports(['tcp', tcp], ['udp', udp]),
    'made up for',
  );
  t.true(foreign.returned);
  t.deepEqual(foreign.taken, []);
  t.deepEqual(await leave(wanted, ports(['tcp', 1])), wanted);
});

function sentence(port: string): string {
  return `port ${port} is in use by another process on this node: it is not published here until that ends`;
}
