/** The overlay between hosts, as containers and clients see it. */
import { spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { isDeepStrictEqual } from 'node:util';
import dnsPacket from 'dns-packet';
import test, { type ExecutionContext } from 'ava';
import { openSocket } from '../../agent/native/network.ts';
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
      network('back', 0x1002, '10.6.0', { internal: true, mtu: 1400 }),
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
          { protocol: 'tcp', publishedPort: 8081, targetPort: 80, hostIp: '127.0.0.1' },
          { protocol: 'tcp', publishedPort: 8082, targetPort: 80, hostIp: '10.99.0.2' },
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
  for (let i = 0; i < 40 && seen.size < 2; i += 1)
    seen.add(await net.get({ task: id('a1') }, 'http://10.5.0.200/'));
  t.deepEqual([...seen].sort(), [`${id('w1')} saw 10.5.0.21`, `${id('w2')} saw 10.5.0.21`]);
  const own = new Set<string>();
  for (let i = 0; i < 40 && own.size < 2; i += 1)
    own.add((await net.get(web, 'http://10.5.0.200/')).split(' ')[0] ?? '');
  t.deepEqual([...own].sort(), [id('w1'), id('w2')], 'a container that reaches itself through its VIP');

  await stick(net, t);
  await spoof(net, t);
  t.is(await net.get(web, 'http://10.5.0.203/'), 'curl failed with 7', 'a VIP without backends refuses');
  t.is(
    await net.get(web, 'http://10.5.0.99/'),
    'curl failed with 7',
    'an address without an endpoint refuses',
  );

  t.is(await net.get({ task: id('a1') }, 'http://10.6.0.202/'), `${id('d2')} saw 10.6.0.21`);
  t.regex((await net.inTask(id('a1'), ['ip', '-o', 'link', 'show', 'eth0'])).stdout, /mtu 1450 /);
  t.regex((await net.inTask(id('a1'), ['ip', '-o', 'link', 'show', 'eth1'])).stdout, /mtu 1400 /);
  t.regex(await net.get(web, 'http://10.6.0.31/'), /^curl failed/, 'web and db share no network');
  t.regex(await net.get({ task: id('d2') }, 'http://10.5.0.21/'), /^curl failed/);
  t.regex(
    await net.get({ task: id('d2') }, 'http://10.99.0.1:8080/'),
    /^curl failed/,
    'internal has no way out',
  );
});

/** One source comes to the same backend each time, by VIP and by published port. */
async function stick(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const [web] = net.world.services;
  if (web === undefined) return t.fail();
  web.balance = 'source-hash';
  await net.applyAll();
  for (const [from, url] of [
    [{ task: id('a1') }, 'http://10.5.0.200/'],
    [{ ns: net.ns('out') }, 'http://10.99.0.1:8080/'],
  ] as const) {
    const seen = new Set<string>();
    for (let i = 0; i < 12; i += 1) seen.add(await net.get(from, url));
    t.is(seen.size, 1, [...seen].join());
    t.regex([...seen].join(), /^w[12]x+ saw /);
  }
}

/** What a container sends with another's address arrives nowhere. */
async function spoof(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const heard: string[] = [];
  const server = dgram.createSocket('udp4');
  server.on('message', (text, from) => heard.push(`${text} of ${from.address}`));
  const fd = await openSocket(net.containerNs(id('r1')), 'datagram', '0.0.0.0', 7);
  await new Promise<void>((resolve) => server.bind({ fd }, resolve));
  t.teardown(() => server.close());
  await net.inTask(id('w1'), ['ip', 'addr', 'add', '10.5.0.21/32', 'dev', 'lo']);
  for (const source of ['10.5.0.21', '10.5.0.11']) {
    const client = dgram.createSocket('udp4');
    const own = await openSocket(net.containerNs(id('w1')), 'datagram', source, 0);
    await new Promise<void>((resolve) => client.bind({ fd: own }, resolve));
    await new Promise<void>((resolve) => client.send('hello', 7, '10.5.0.41', () => resolve()));
    client.close();
  }
  await until('what is its own arrives', async () => heard.includes('hello of 10.5.0.11'));
  t.deepEqual(heard, ['hello of 10.5.0.11']);
}

/** Who answers: asked until both are among them, as they are taken at random, and at most so many times. */
async function answering(
  net: NetworkLab,
  from: { ns: string },
  url: string,
  times: number,
): Promise<string[]> {
  const seen = new Set<string>();
  for (let i = 0; i < times && seen.size < 2; i += 1) seen.add(await net.get(from, url));
  return [...seen].sort();
}

test.serial('published ports: every host, the client address kept, localhost, mode host', async (t) => {
  const net = await lab('t2');
  t.teardown(() => net.down());
  const out = { ns: net.ns('out') };
  const both = [`${id('w1')} saw 203.0.113.9`, `${id('w2')} saw 203.0.113.9`];
  for (const host of ['10.99.0.1', '10.99.0.2', '10.99.0.3']) {
    t.deepEqual(await answering(net, out, `http://${host}:8080/`, 40), both, `through ${host}`);
  }
  for (const node of [N1, N3]) {
    for (const name of ['127.0.0.1', 'localhost', `10.99.0.${node === N1 ? 1 : 3}`]) {
      const answers = await answering(net, { ns: net.hostNs(node) }, `http://${name}:8080/`, 40);
      t.deepEqual(
        answers.map((text) => text.split(' ')[0]),
        [id('w1'), id('w2')],
        `${name} on ${node}`,
      );
    }
  }
  t.is(await net.get(out, 'http://10.99.0.1:9090/'), `${id('w1')} saw 203.0.113.9`);
  t.is(await net.get(out, 'http://10.99.0.2:9090/'), `${id('w2')} saw 203.0.113.9`);
  t.is(await net.get(out, 'http://10.99.0.3:9090/'), 'curl failed with 7', 'no task of the service there');
  // On one address: there and nowhere else.
  t.regex(await net.get({ ns: net.hostNs(N1) }, 'http://127.0.0.1:8081/'), /^w[12]x+ saw /);
  for (const from of [out, { ns: net.hostNs(N1) }, { task: id('r1') }])
    t.is(await net.get(from, 'http://10.99.0.1:8081/'), 'curl failed with 7', 'only on localhost');
  t.regex(await net.get(out, 'http://10.99.0.2:8082/'), /^w[12]x+ saw 203\.0\.113\.9$/);
  t.is(await net.get(out, 'http://10.99.0.1:8082/'), 'curl failed with 7', 'another host');
  // From a container through its host's own address, and out to others.
  const fromInside = await net.get({ task: id('r1') }, 'http://10.99.0.1:8080/');
  t.regex(fromInside, /^w[12]x+ saw /);
  t.regex(await net.get({ task: id('w1') }, 'http://10.99.0.2:8080/'), /^w[12]x+ saw /);
  t.is((await net.inTask(id('r1'), ['busybox', 'ping', '-c1', '-W3', '10.99.0.100'])).code, 0, 'the way out');
  // What is not published stays unreachable, by whatever way.
  await net.inHost(net.ns('out'), ['ip', 'route', 'add', '10.0.0.0/24', 'via', '10.99.0.1']);
  t.regex(await net.get(out, 'http://10.0.0.11/'), /^curl failed/, 'from outside by its ingress address');
  t.regex(
    await net.get({ task: id('w1') }, 'http://10.0.0.12/'),
    /^curl failed/,
    'among containers on ingress',
  );
  t.regex(await net.get({ task: id('r1') }, 'http://10.0.0.11/'), /^curl failed/, 'from another network');
});

test.serial('an endpoint that stops serving gets nothing more once apply has resolved', async (t) => {
  const net = await lab('t3');
  t.teardown(() => net.down());
  const leaving = net.world.tasks.find((task) => task.taskId === id('w2'));
  const conversation = await converse(net, N1, t);
  if (leaving) leaving.serving = false;
  await net.applyAll();
  for (const host of ['10.99.0.1', '10.99.0.2']) {
    const seen = await answering(net, { ns: net.ns('out') }, `http://${host}:8080/`, 6);
    t.deepEqual(seen, [`${id('w1')} saw 203.0.113.9`]);
  }
  for (let i = 0; i < 6; i += 1) {
    t.regex(await net.get({ task: id('a1') }, 'http://10.5.0.200/'), /^w1/);
  }
  t.is(await conversation.say('still here?'), 'w1 heard still here?', 'a datagram flow moves on');
  conversation.close();
  for (const task of net.world.tasks) if (task.service === 'st_web') task.serving = false;
  await net.applyAll();
  t.is(await net.get({ ns: net.ns('out') }, 'http://10.99.0.1:8080/'), 'curl failed with 7');
  t.is(await net.get({ task: id('a1') }, 'http://10.5.0.200/'), 'curl failed with 7');
});

interface Conversation {
  say(text: string): Promise<string>;
  close(): void;
}

/** A UDP client that keeps its port, led to w2 by the mesh; both web tasks answer. */
async function converse(
  net: NetworkLab,
  through: string,
  t: { teardown(undo: () => void): void },
): Promise<Conversation> {
  for (const name of ['w1', 'w2']) {
    const server = dgram.createSocket('udp4');
    server.on('message', (text, from) => server.send(`${name} heard ${text}`, from.port, from.address));
    const fd = await openSocket(net.containerNs(id(name)), 'datagram', '0.0.0.0', 53);
    await new Promise<void>((resolve) => server.bind({ fd }, resolve));
    t.teardown(() => server.close());
  }
  const host = net.world.peers.find((peer) => peer.nodeId === through)?.address ?? '';
  for (;;) {
    const client = dgram.createSocket('udp4');
    const fd = await openSocket(`/run/netns/${net.ns('out')}`, 'datagram', '203.0.113.9', 0);
    await new Promise<void>((resolve) => client.bind({ fd }, resolve));
    const say = (text: string): Promise<string> =>
      new Promise((resolve) => {
        client.once('message', (answer) => resolve(answer.toString()));
        client.send(text, 5353, host);
      });
    if ((await say('hello')) === 'w2 heard hello') return { say, close: () => client.close() };
    client.close();
  }
}

test.serial(
  'an agent that is killed and comes back disturbs no connection and changes nothing',
  async (t) => {
    const net = await lab('t4');
    t.teardown(() => net.down());
    const client = spawn('nsenter', [
      `--net=/run/netns/${net.ns('out')}`,
      'busybox',
      'nc',
      '10.99.0.1',
      '8080',
    ]);
    t.teardown(() => client.kill('SIGKILL'));
    let heard = '';
    client.stdout.on('data', (data: Buffer) => {
      heard += data.toString();
    });
    await until('greeting', async () => heard.includes('saw 203.0.113.9'));
    const before = await kernelText(net);
    const bulk = transfer(net);
    t.teardown(() => bulk.stop());
    for (const node of [N1, N2]) {
      await net.killDriver(node);
      client.stdin.write(`without ${node}\n`);
      await until('echo without an agent', async () => heard.includes(`without ${node}`));
      net.startDriver(node);
      await net.apply(node);
      client.stdin.write(`again ${node}\n`);
      await until('echo with the agent back', async () => heard.includes(`again ${node}`));
    }
    await bulk.allCameBack();
    t.deepEqual(await kernelText(net), before);
    await net.attach(id('w1'));
    t.deepEqual(await kernelText(net), before, 'to attach again changes nothing');
  },
);

/** Bytes without a pause from outside to a published port, which sends them back. */
function transfer(net: NetworkLab): { stop(): void; allCameBack(): Promise<void> } {
  const nc = spawn('nsenter', [`--net=/run/netns/${net.ns('out')}`, 'busybox', 'nc', '10.99.0.1', '8080']);
  let [greeting, sent, back] = ['', 0, 0];
  nc.stdout.on('data', (data: Buffer) => {
    if (sent > 0) back += data.length;
    else greeting += data.toString();
  });
  const feed = setInterval(() => {
    if (!greeting.endsWith('saw 203.0.113.9\n') || nc.stdin.writableNeedDrain) return;
    nc.stdin.write(Buffer.alloc(65_536, '.'));
    sent += 65_536;
  }, 2);
  return {
    stop: () => {
      clearInterval(feed);
      nc.kill('SIGKILL');
    },
    allCameBack: async () => {
      clearInterval(feed);
      await until('bytes have come back', async () => sent > 1_000_000 && back === sent);
    },
  };
}

/** By path: npx puts a package's own nft before the system's. */
const NFT = '/usr/sbin/nft';

/** All that drivers made on both hosts, as text; counters and times left out. */
async function kernelText(net: NetworkLab): Promise<string[]> {
  const commands = [
    'ip -d link',
    'ip -4 addr',
    'ip -4 route show table all',
    'ip rule',
    'ip neigh show nud permanent',
    `${NFT} list ruleset`,
  ];
  const places = [
    net.hostNs(N1),
    net.hostNs(N2),
    ...[N1, N2].map((node) => `shoal-${net.cluster}-${node.slice(0, 8)}-1000`),
  ];
  const texts = await Promise.all(
    places.flatMap((place) => commands.map((command) => net.inHost(place, command.split(' ')))),
  );
  return texts.flatMap(({ stdout, stderr }) => `${stdout}${stderr}`.split('\n')).sort();
}

test.serial('names: services, tasks, aliases, reverse, and the rest from outside', async (t) => {
  const net = await lab('t5');
  t.teardown(() => net.down());
  const upstream = await outsideResolver(net);
  t.teardown(() => upstream.close());
  await net.killDriver(N1);
  net.startDriver(N1, '10.99.0.100');
  await net.apply(N1);
  const ask = async (
    task: string,
    name: string,
    type: dnsPacket.RecordType = 'A',
    server = '10.5.0.1',
  ): Promise<string> => {
    const answer = await question(net, id(task), server, name, type);
    const data = (answer.answers ?? []).map((record) => ('data' in record ? String(record.data) : ''));
    return data.length === 0 ? ((answer as { rcode?: string }).rcode ?? '') : data.sort().join(' ');
  };
  t.is(await ask('w1', 'st_web'), '10.5.0.200');
  t.is(await ask('a1', 'WEB'), '10.5.0.200');
  t.is(await ask('a1', 'tasks.web'), '10.5.0.11 10.5.0.12');
  t.is(await ask('w1', 'rr'), '10.5.0.41 10.5.0.42');
  t.is(await ask('w1', `st_web.2.${id('w2')}`), '10.5.0.12');
  t.is(await ask('w1', 'st_web', 'AAAA'), 'NOERROR');
  t.is(await ask('a1', 'db'), '10.6.0.202', 'a name of the other network of the asker');
  t.is(await ask('a1', 'db', 'A', '10.6.0.1'), '10.6.0.202');
  t.is(await ask('w1', 'db'), '198.51.100.7', 'db is no name for web: asked outside, as any');
  t.is(await ask('w1', '12.0.5.10.in-addr.arpa', 'PTR'), `st_web.2.${id('w2')}.front`);
  t.is(await ask('w1', 'example.test'), '198.51.100.7');
  const lookup = await net.inTask(id('w1'), ['busybox', 'nslookup', 'web', '10.5.0.1']);
  t.regex(lookup.stdout, /10\.5\.0\.200/, 'a real resolver understands');
  t.is(await overTcp(net, id('w1'), 'tasks.web'), '10.5.0.11 10.5.0.12');
  const conf = await net.send(N1, { verb: 'resolv-conf', taskId: id('w1') });
  t.regex(conf.value ?? '', /^nameserver 10\.5\.0\.1\n/);
});

/** Asks for addresses over TCP, from a process inside the container. */
async function overTcp(net: NetworkLab, taskId: string, name: string): Promise<string> {
  const query = dnsPacket.streamEncode({ type: 'query', id: 7, questions: [{ type: 'A', name }] });
  const script = `const s = require('net').connect(53, '10.5.0.1', () => s.write(Buffer.from('${query.toString('hex')}', 'hex')));
    s.once('data', (d) => { console.log(d.toString('hex')); s.end(); });`;
  const { stdout } = await net.inTask(taskId, [process.execPath, '-e', script]);
  const { answers = [] } = dnsPacket.streamDecode(Buffer.from(stdout.trim(), 'hex'));
  return answers
    .map((record) => ('data' in record ? String(record.data) : ''))
    .sort()
    .join(' ');
}

/** A name server at 10.99.0.100 that answers every question with 198.51.100.7. */
async function outsideResolver(net: NetworkLab): Promise<dgram.Socket> {
  const server = dgram.createSocket('udp4');
  const fd = await openSocket(`/run/netns/${net.ns('out')}`, 'datagram', '10.99.0.100', 53);
  server.on('message', (message, from) => {
    const { id: queryId = 0, questions = [] } = dnsPacket.decode(message);
    const name = questions[0]?.name ?? '';
    const answers: dnsPacket.Answer[] = [{ type: 'A', name, ttl: 5, data: '198.51.100.7' }];
    server.send(
      dnsPacket.encode({ type: 'response', id: queryId, questions, answers }),
      from.port,
      from.address,
    );
  });
  await new Promise<void>((resolve) => server.bind({ fd }, resolve));
  return server;
}

async function question(
  net: NetworkLab,
  taskId: string,
  server: string,
  name: string,
  type: dnsPacket.RecordType,
): Promise<dnsPacket.DecodedPacket> {
  const client = dgram.createSocket('udp4');
  const fd = await openSocket(net.containerNs(taskId), 'datagram', '0.0.0.0', 0);
  await new Promise<void>((resolve) => client.bind({ fd }, resolve));
  const query = dnsPacket.encode({
    type: 'query',
    id: 7,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type, name }],
  });
  const answered = new Promise<Buffer>((resolve) => client.once('message', resolve));
  client.send(query, 53, server);
  const answer = await answered;
  client.close();
  return dnsPacket.decode(answer);
}

test.serial('invariant 7: damage is repaired, and removal leaves nothing', async (t) => {
  const net = await lab('t6');
  t.teardown(() => net.down());
  const sandbox = `shoal-${net.cluster}-${N1.slice(0, 8)}-1001`;
  const before = await kernelText(net);
  for (const damage of [
    'ip route del 10.5.0.12/32',
    'ip link set vx0 down',
    `${NFT} flush chain ip shoal to_backend`,
    `${NFT} flush map ip shoal vips`,
    `${NFT} flush map ip shoal backends`,
    // what an earlier version made: a chain for each VIP
    `${NFT} add chain ip shoal vip_10_5_0_200`,
    `${NFT} add element ip shoal vips { 10.5.0.200 : goto vip_10_5_0_200 }`,
  ]) {
    t.is((await net.inHost(sandbox, damage.split(' '))).code, 0, damage);
  }
  await net.inHost(net.hostNs(N1), [NFT, 'delete', 'table', 'ip', `shoal-${net.cluster}-${N1.slice(0, 8)}`]);
  await net.killDriver(N1);
  net.startDriver(N1);
  await net.apply(N1);
  t.regex(await net.get({ task: id('w1') }, 'http://10.5.0.200/'), /^w[12]/);
  t.regex(await net.get({ ns: net.ns('out') }, 'http://10.99.0.1:8080/'), /^w[12]/);
  t.deepEqual(await kernelText(net), before);

  // And by the clock alone.
  await net.killDriver(N1);
  net.startDriver(N1, '', 0, 200);
  await net.apply(N1);
  for (const damage of [
    'ip route del 10.5.0.12/32',
    'ip neigh del 10.99.0.2 dev vx0',
    'bridge fdb del 02:00:00:00:00:02 dev vx0 dst 10.99.0.2',
    'sysctl -q -w net.ipv4.ip_forward=0',
    `${NFT} flush ruleset`,
  ]) {
    t.is((await net.inHost(sandbox, damage.split(' '))).code, 0, damage);
  }
  await net.inHost(net.hostNs(N1), [NFT, 'flush', 'ruleset']);
  await until('all is repaired', async () => isDeepStrictEqual(await kernelText(net), before));
  t.regex(await net.get({ task: id('w1') }, 'http://10.5.0.42/'), /^r2/);

  // The last task of a network takes its sandbox along.
  net.world.tasks.splice(
    net.world.tasks.findIndex((task) => task.taskId === id('d2')),
    1,
  );
  await net.send(N2, { verb: 'detach', taskId: id('d2') });
  await net.apply(N2);
  const spaces = (await net.inHost(net.hostNs(N2), ['ip', 'netns', 'list'])).stdout;
  t.notRegex(spaces, new RegExp(`shoal-${net.cluster}-${N2.slice(0, 8)}-1002`));

  for (const node of [N1, N2, N3]) await net.send(node, { verb: 'remove-all' });
  for (const node of [N1, N2, N3]) {
    const links = (await net.inHost(net.hostNs(node), ['ip', '-o', 'link'])).stdout;
    t.notRegex(links, /: su/);
    t.is((await net.inHost(net.hostNs(node), [NFT, 'list', 'tables'])).stdout, '');
    t.notRegex((await net.inHost(net.hostNs(node), ['ip', 'route'])).stdout, /10\.0\.0\./);
  }
  t.deepEqual(await net.down(), [], 'no sandbox was left');
});

test.serial(
  'a sandbox lingers after its last task, serves the next, and goes in time or with the driver',
  async (t) => {
    const net = await lab('t8');
    t.teardown(() => net.down());
    const [last] = net.world.tasks.filter((task) => task.taskId === id('d2'));
    if (last === undefined) return t.fail('d2 is there');
    const isThere = async (): Promise<boolean> => {
      const spaces = (await net.inHost(net.hostNs(N2), ['ip', 'netns', 'list'])).stdout;
      return spaces.includes(`shoal-${net.cluster}-${N2.slice(0, 8)}-1002`);
    };
    const restart = async (lingerMs: number): Promise<void> => {
      await net.killDriver(N2);
      net.startDriver(N2, '', lingerMs);
      await net.apply(N2);
    };
    const leave = async (): Promise<void> => {
      net.world.tasks.splice(net.world.tasks.indexOf(last), 1);
      await net.send(N2, { verb: 'detach', taskId: last.taskId });
      await net.apply(N2);
    };
    await restart(3_600_000);
    await leave();
    t.true(await isThere());

    net.world.tasks.push(last);
    await net.applyAll();
    await net.attach(last.taskId);
    const ping = await net.inTask(id('a1'), ['busybox', 'ping', '-c1', '-W3', '10.6.0.31']);
    t.is(ping.code, 0, ping.stdout);

    await leave();
    t.true(await isThere());
    await net.send(N2, { verb: 'close' });
    t.false(await isThere(), 'a driver that closes leaves nothing that only lingers');

    net.world.tasks.push(last);
    await restart(1);
    await net.attach(last.taskId);
    t.true(await isThere());
    await leave();
    await until('the sandbox is gone', async () => !(await isThere()));
  },
);

test.serial('how long attaching takes', async (t) => {
  const net = await lab('t7');
  t.teardown(() => net.down());
  const times: number[] = [];
  const applies: number[] = [];
  for (let i = 0; i < 30; i += 1) {
    const taskId = id(`m${i}`);
    net.world.tasks.push({
      taskId,
      service: 'rr',
      node: N1,
      slot: 10 + i,
      addresses: { front: `10.5.0.${100 + i}` },
      serving: false,
      desired: 'running',
    });
    applies.push((await net.apply(N1)).tookMs);
    times.push((await net.startContainer(taskId)).tookMs);
    t.is((await net.inTask(taskId, ['busybox', 'ping', '-c1', '-W3', '10.5.0.41'])).code, 0);
  }
  for (const [what, list] of Object.entries({ attach: times, apply: applies })) {
    list.sort((a, b) => a - b);
    t.log(`${what} p50 ${list[15]?.toFixed(2)} ms, p90 ${list[27]?.toFixed(2)} ms`);
  }
});
