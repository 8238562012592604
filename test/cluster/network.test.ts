/** The overlay between hosts, as containers and clients see it. */
import { createSocket } from 'node:dgram';
import test from 'ava';
import { NetworkLab, until } from './network-lab.ts';
import { network, type World } from './network-model.ts';

const N1 = 'n1aaaaaaaaaaaaaaaaaaaaaaa';
const N2 = 'n2bbbbbbbbbbbbbbbbbbbbbbb';
const N3 = 'n3ccccccccccccccccccccccc';

function world(): World {
  const peer = (nodeId: string, index: number) => ({
    nodeId,
    hostname: `h${index}`,
    index,
    address: `10.99.0.${index}`,
  });
  const task = (
    taskId: string,
    service: string,
    node: string,
    slot: number,
    addresses: Record<string, string>,
  ) => ({
    taskId: `${taskId}xxxxxxxxxxxxxxxxxxxxxxx`,
    service,
    node,
    slot,
    addresses,
    serving: true,
    desired: 'running' as const,
  });
  const service = { aliases: [], meshPorts: [], hostPorts: [] };
  return {
    peers: [peer(N1, 1), peer(N2, 2), peer(N3, 3)],
    networks: [
      network('front', 0x1001, '10.5.0'),
      network('back', 0x1002, '10.6.0', { internal: true }),
      network('ingress', 0x1000, '10.0.0', { ingress: true }),
    ],
    services: [
      {
        ...service,
        name: 'st_web',
        aliases: ['web'],
        networks: ['front', 'ingress'],
        vips: { front: '10.5.0.200', ingress: '10.0.0.200' },
        meshPorts: [
          { protocol: 'tcp', publishedPort: 8080, targetPort: 80 },
          { protocol: 'udp', publishedPort: 5353, targetPort: 53 },
        ],
        hostPorts: [{ protocol: 'tcp', publishedPort: 9090, targetPort: 80, mode: 'host' }],
      },
      {
        ...service,
        name: 'app',
        networks: ['front', 'back'],
        vips: { front: '10.5.0.201', back: '10.6.0.201' },
      },
      { ...service, name: 'db', networks: ['back'], vips: { back: '10.6.0.202' } },
      { ...service, name: 'idle', networks: ['front'], vips: { front: '10.5.0.203' } },
      { ...service, name: 'rr', networks: ['front'], vips: {} },
    ],
    tasks: [
      task('w1', 'st_web', N1, 1, { front: '10.5.0.11', ingress: '10.0.0.11' }),
      task('w2', 'st_web', N2, 2, { front: '10.5.0.12', ingress: '10.0.0.12' }),
      task('a1', 'app', N1, 1, { front: '10.5.0.21', back: '10.6.0.21' }),
      task('d2', 'db', N2, 1, { back: '10.6.0.31' }),
      task('r1', 'rr', N1, 1, { front: '10.5.0.41' }),
      task('r2', 'rr', N2, 2, { front: '10.5.0.42' }),
    ],
  };
}

const id = (name: string): string => `${name}xxxxxxxxxxxxxxxxxxxxxxx`;

/** Each test has a lab of its own; the names tell them apart. */
async function lab(cluster: string): Promise<NetworkLab> {
  const made = await NetworkLab.up(world(), cluster);
  await made.applyAll();
  await made.startAll();
  for (const task of made.world.tasks) await made.serve(task.taskId);
  return made;
}

test.serial('containers on two hosts: reach, balance, names, isolation', async (t) => {
  const net = await lab('t1');
  t.teardown(() => net.down());
  const web = { task: id('w1') };
  for (const to of ['10.5.0.12', '10.5.0.42', '10.5.0.1', '10.5.0.21']) {
    const ping = await net.inTask(id('w1'), ['busybox', 'ping', '-c1', '-W3', to]);
    t.is(ping.code, 0, `ping ${to}: ${ping.stdout}`);
  }
  t.is(await net.get(web, 'http://10.5.0.42/'), `${id('r2')} saw 10.5.0.11`);

  const seen = new Set<string>();
  for (let i = 0; i < 6; i += 1) seen.add(await net.get({ task: id('a1') }, 'http://10.5.0.200/'));
  t.deepEqual([...seen].sort(), [`${id('w1')} saw 10.5.0.21`, `${id('w2')} saw 10.5.0.21`]);
  const own = new Set<string>();
  for (let i = 0; i < 4; i += 1) own.add((await net.get(web, 'http://10.5.0.200/')).split(' ')[0] ?? '');
  t.deepEqual([...own].sort(), [id('w1'), id('w2')], 'a container that reaches itself through its VIP');

  t.is(await net.get(web, 'http://10.5.0.203/'), 'curl failed with 7', 'a VIP without backends refuses');
  t.is(
    await net.get(web, 'http://10.5.0.99/'),
    'curl failed with 7',
    'an address without an endpoint refuses',
  );

  t.is(await net.get({ task: id('a1') }, 'http://10.6.0.202/'), `${id('d2')} saw 10.6.0.21`);
  t.regex(await net.get(web, 'http://10.6.0.31/'), /^curl failed/, 'web and db share no network');
  t.regex(await net.get({ task: id('d2') }, 'http://10.5.0.21/'), /^curl failed/);
  t.regex(
    await net.get({ task: id('d2') }, 'http://10.99.0.1:8080/'),
    /^curl failed/,
    'internal has no way out',
  );
});
