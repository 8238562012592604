/** The overlay between hosts, as containers and clients see it. */
import { spawn } from 'node:child_process';
import type dgram from 'node:dgram';
import dnsPacket from 'dns-packet';
import test, { type ExecutionContext } from 'ava';
import type { AllowRule } from '../../shared/model/index.ts';
import {
  converse,
  datagrams,
  fromOutside,
  webAnswers,
  withoutFastPaths,
  withoutSeen,
} from './network-datagrams.ts';
import { type NetworkLab, until, VXLAN_PORT } from './network-lab.ts';
import { address6, overIpv6 } from './network-ipv6.ts';
import { gainsIpv6, portsOverIpv6, stillAdvertised, wayOutOverIpv6 } from './network-ports6.ts';
import { talk } from './network-talk.ts';
import { id, lab, N1, N2, N3, networks } from './network-world.ts';

test.serial('containers on two hosts: reach, balance, names, isolation', async (t) => {
  const net = await lab('t1');
  t.teardown(() => net.down());
  const web = { task: id('w1') };
  for (const to of ['10.5.0.12', '10.5.0.42', '10.5.0.1', '10.5.0.21']) {
    const ping = await net.inTask(id('w1'), ['busybox', 'ping', '-c1', '-W3', to]);
    t.is(ping.code, 0, `ping ${to}: ${ping.stdout}`);
  }
  t.is(await net.get(web, 'http://10.5.0.42/'), `${id('r2')} saw 10.5.0.11`);
  // As a container whose process is gone, and whose number is another's now.
  const home = { verb: 'attach', taskId: id('w1'), netns: '/proc/self/ns/net' } as const;
  await t.throwsAsync(net.send(N1, home), { message: /is the node's own network/ });

  const seen = new Set<string>();
  for (let i = 0; i < 40 && seen.size < 2; i += 1)
    seen.add(await net.get({ task: id('a1') }, 'http://10.5.0.200/'));
  t.deepEqual([...seen].sort(), [`${id('w1')} saw 10.5.0.21`, `${id('w2')} saw 10.5.0.21`]);
  const own = new Set<string>();
  for (let i = 0; i < 40 && own.size < 2; i += 1)
    own.add((await net.get(web, 'http://10.5.0.200/')).split(' ')[0] ?? '');
  t.deepEqual([...own].sort(), [id('w1'), id('w2')], 'a container that reaches itself through its VIP');

  await overIpv6(net, t);
  await stick(net, t);
  await canary(net, t);
  await spoof(net, t);
  t.is(await net.get(web, 'http://10.5.0.203/'), 'curl failed with 7', 'a VIP without backends refuses');
  t.is(
    await net.get(web, 'http://10.5.0.99/'),
    'curl failed with 7',
    'an address without an endpoint refuses',
  );

  await otherSubnets(net, t);
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

/** Both subnets of a network are one network: each address reaches the others, the names, VIPs and the way out. */
async function otherSubnets(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const [app, far] = [{ task: id('a1') }, { task: id('f1') }];
  t.is(await net.get(app, 'http://10.15.0.7/'), `${id('f1')} saw 10.5.0.21`);
  t.is(await net.get(far, 'http://10.5.0.21/'), `${id('a1')} saw 10.15.0.7`);
  t.regex(await net.get(far, 'http://10.5.0.200/'), /^w[12]x+ saw 10\.15\.0\.7$/);
  t.is(await net.get(app, 'http://10.16.0.5/'), `${id('f2')} saw 10.6.0.21`, 'not by its first interface');
  t.is(await net.get(far, 'http://10.15.0.99/'), 'curl failed with 7', 'an address that nobody has');
  t.is((await net.inTask(id('f1'), ['busybox', 'ping', '-c1', '-W3', '10.99.0.100'])).code, 0, 'the way out');
  const { value = '' } = await net.send(N2, { verb: 'resolv-conf', taskId: id('f1') });
  t.regex(value, /^nameserver 10\.5\.0\.1$/m);
  const names = await net.inTask(id('f1'), ['busybox', 'nslookup', 'web', '10.5.0.1']);
  t.regex(names.stdout, /10\.5\.0\.200/, names.stdout);
}

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

/** Half of what comes to the VIP goes to the tasks of another service, which has none; then nothing any more. */
async function canary(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const [web] = net.world.services;
  const other = net.world.services.find(({ name }) => name === 'rr');
  if (web === undefined || other === undefined) return t.fail();
  web.balance = 'random';
  other.canary = { of: web.name, share: 50 };
  await net.applyAll();
  const from = { task: id('a1') };
  const asked = async (times: number, enough: number): Promise<string[]> => {
    const seen = new Set<string>();
    for (let i = 0; i < times && seen.size < enough; i += 1)
      seen.add((await net.get(from, 'http://10.5.0.200/')).slice(0, 2));
    return [...seen].sort();
  };
  t.deepEqual(await asked(150, 4), ['r1', 'r2', 'w1', 'w2']);
  delete other.canary;
  await net.applyAll();
  t.deepEqual(await asked(15, 4), ['w1', 'w2']);
}

/** What a container sends with another's address arrives nowhere. */
async function spoof(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const heard: string[] = [];
  const server = await datagrams(net.containerNs(id('r1')), '0.0.0.0', 7);
  server.on('message', (text, from) => heard.push(`${text} of ${from.address}`));
  t.teardown(() => server.close());
  await net.inTask(id('w1'), ['ip', 'addr', 'add', '10.5.0.21/32', 'dev', 'lo']);
  for (const source of ['10.5.0.21', '10.5.0.11']) {
    const client = await datagrams(net.containerNs(id('w1')), source, 0);
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
  const ipv4Mesh = networks().map(({ subnet6 = '', ...one }) => (one.ingress ? one : { ...one, subnet6 }));
  const net = await lab('t2', ipv4Mesh);
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
  const tracked = (await net.inHost(net.hostNs(N1), ['cat', '/proc/net/nf_conntrack'])).stdout;
  t.regex(tracked, / dport=8080 /);
  t.notRegex(tracked, / dport=4789 /, 'tunnels take no room in the table of connections');
  await gainsIpv6(net, t, networks());
  await portsOverIpv6(net, t);
  await wayOutOverIpv6(net, t);
  await stillAdvertised(net, t);
  // What is not published stays unreachable, by whatever way.
  await net.inHost(net.ns('out'), ['ip', 'route', 'add', '10.0.0.0/24', 'via', '10.99.0.1']);
  t.regex(await net.get(out, 'http://10.0.0.11/'), /^curl failed/, 'from outside by its ingress address');
  for (const node of [N1, N2])
    for (const to of ['10.0.0.11', '[fd00:10::b]', '10.5.0.11'])
      t.regex(
        await net.get({ ns: net.hostNs(node) }, `http://${to}/`),
        /^curl failed/,
        `from ${node} to ${to}`,
      );
  t.regex(
    await net.get({ task: id('w1') }, 'http://10.0.0.12/'),
    /^curl failed/,
    'among containers on ingress',
  );
  t.regex(await net.get({ task: id('r1') }, 'http://10.0.0.11/'), /^curl failed/, 'from another network');
  await trouble(net, t);
});

/** Packets are lost on all ways, and then a node: the others go on to lead to what is left, with the client's address. */
async function trouble(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const w2 = net.world.tasks.find((task) => task.taskId === id('w2'));
  if (w2 === undefined) return t.fail();
  const through = async (host: string, names: readonly string[]): Promise<void> => {
    const seen = new Set<string>();
    await until(`${names.join()} through ${host}`, async () => {
      const answer = await net.get({ ns: net.ns('out') }, `http://${host}:8080/`);
      if (!answer.startsWith('curl failed')) seen.add(answer);
      return seen.size >= names.length;
    });
    t.deepEqual(
      [...seen].sort(),
      names.map((name) => `${id(name)} saw 203.0.113.9`),
      `through ${host}`,
    );
  };
  for (const node of [N1, N2, N3]) await net.lose(node, 20);
  for (const host of ['10.99.0.1', '10.99.0.2', '10.99.0.3']) await through(host, ['w1', 'w2']);
  await net.plug(N2, 'down');
  w2.serving = false;
  await Promise.all([net.apply(N1), net.apply(N3)]);
  for (const host of ['10.99.0.1', '10.99.0.3']) await through(host, ['w1']);
  await net.plug(N2, 'up');
  w2.serving = true;
  await net.applyAll();
  for (const host of ['10.99.0.1', '10.99.0.2', '10.99.0.3']) await through(host, ['w1', 'w2']);
}

test.serial('an endpoint that stops serving gets nothing more once apply has resolved', async (t) => {
  const net = await lab('t3');
  t.teardown(() => net.down());
  const leaving = net.world.tasks.find((task) => task.taskId === id('w2'));
  await webAnswers(net, t);
  const conversation = await converse('w2', fromOutside(net, '10.99.0.1'));
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

test.serial('allow-lists: who may come, from where they are, also when they change', async (t) => {
  const net = await lab('t9');
  t.teardown(() => net.down());
  const rules = (): Promise<string[]> =>
    Promise.all(
      [N1, N2].map(async (node) => {
        const sandbox = `shoal-${net.cluster}-${node.slice(0, 8)}-1001`;
        const { stdout } = await net.inHost(sandbox, ['/usr/sbin/nft', 'list', 'ruleset']);
        return withoutFastPaths(withoutSeen(stdout));
      }),
    );
  const before = await rules();
  const rr = net.world.services.find(({ name }) => name === 'rr');
  if (rr === undefined) return t.fail();
  const ping = async (from: string, to: string): Promise<number> =>
    (await net.inTask(id(from), ['busybox', 'ping', '-c1', '-W1', to])).code;
  const visit = (from: string, to: string): Promise<string> => net.get({ task: id(from) }, `http://${to}/`);
  const refused = 'curl failed with 7';

  const [web, app] = await Promise.all(['w1', 'a1'].map((from) => talk(net, t, id(from), '10.5.0.42')));
  rr.allowFrom = [{ from: ['st_web'], protocol: 'tcp', ports: [80, 80] }];
  await net.applyAll();
  for (const [address, name] of [
    ['10.5.0.41', 'r1'],
    ['10.5.0.42', 'r2'],
  ] as const) {
    t.is(await visit('w1', address), `${id(name)} saw 10.5.0.11`);
    t.is(await visit('w2', address), `${id(name)} saw 10.5.0.12`);
    t.is(await visit('a1', address), refused);
    t.not(await ping('w1', address), 0, 'no other traffic than was said');
    const own = address6(net, address);
    t.is(await visit('w1', `[${own}]`), `${id(name)} saw fd00:5::b`);
    t.is(await visit('w2', `[${own}]`), `${id(name)} saw fd00:5::c`);
    t.is(await visit('a1', `[${own}]`), refused, 'nor over IPv6');
    t.not(await ping('w1', own), 0, 'no other traffic than was said');
  }
  t.is(await ping('r1', '10.5.0.42'), 0, 'tasks of a service reach one another');
  t.is(await visit('r1', '10.5.0.200').then((text) => text.slice(0, 1)), 'w', 'what is answered comes back');
  await web?.say('still allowed');
  app?.send('no more');
  await until('an open connection ends with what allowed it', async () => app?.ended() === true);

  rr.allowFrom = [];
  const allow: AllowRule[] = [
    { from: ['app'], to: ['st_web'], protocol: 'tcp', ports: [1, 80] },
    { to: ['rr'] },
  ];
  const { networks } = net.world;
  net.world.networks = networks.map((one) => (one.networkId === 'front' ? { ...one, allow } : one));
  await net.applyAll();
  for (let i = 0; i < 6; i += 1) t.regex(await visit('a1', '10.5.0.200'), /^w[12]/);
  for (let i = 0; i < 6; i += 1)
    t.is(await visit('r1', i % 2 === 0 ? '10.5.0.200' : '[fd00:5::c8]'), refused);
  t.is(await visit('w1', '10.5.0.42'), refused, 'network and service must both allow it');
  t.regex(await visit('w1', '10.5.0.200'), /^w[12]/, 'itself, and its own');
  t.regex(await net.get({ ns: net.ns('out') }, 'http://10.99.0.3:8080/'), /^w[12]/, 'what is published is');

  net.world.tasks.push({
    taskId: id('a3'),
    service: 'app',
    node: N3,
    slot: 3,
    addresses: { front: '10.5.0.23' },
    serving: true,
    desired: 'running',
  });
  await net.applyAll();
  await net.startContainer(id('a3'));
  t.regex(await visit('a3', '10.5.0.12'), /^w2/, 'a task that joins is one of its service');

  net.world.tasks.pop();
  net.world.networks = networks;
  delete rr.allowFrom;
  await net.send(N3, { verb: 'detach', taskId: id('a3') });
  await net.applyAll();
  t.deepEqual(await rules(), before, 'without lists there is no rule');
  await web?.say('to the end');
});

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
  t.is(await ask('w1', 'st_web', 'AAAA'), 'fd00:5::c8');
  t.is(await ask('w1', 'rr', 'AAAA'), 'fd00:5::29 fd00:5::2a');
  t.is(await ask('w1', `8.c.${'0.'.repeat(22)}5.0.0.0.0.0.d.f.ip6.arpa`, 'PTR'), 'st_web.front');
  t.is(await ask('w1', `9.9.${'0.'.repeat(22)}5.0.0.0.0.0.d.f.ip6.arpa`, 'PTR'), 'NXDOMAIN');
  t.is(await ask('a1', 'db'), '10.6.0.202', 'a name of the other network of the asker');
  t.is(await ask('a1', 'db', 'A', '10.6.0.254'), '10.6.0.202');
  t.is(await ask('w1', 'db'), '198.51.100.7', 'db is no name for web: asked outside, as any');
  t.is(await ask('w1', '12.0.5.10.in-addr.arpa', 'PTR'), `st_web.2.${id('w2')}.front`);
  t.is(await ask('w1', 'example.test'), '198.51.100.7');
  const lookup = await net.inTask(id('w1'), ['busybox', 'nslookup', 'web', '10.5.0.1']);
  t.regex(lookup.stdout, /10\.5\.0\.200/, 'a real resolver understands');
  t.is(await overTcp(net, id('w1'), 'tasks.web'), '10.5.0.11 10.5.0.12');
  await change(net, t, () => ask('w1', 'tasks.web'));
  await noTunnel(net, t);
  await noLocalhost(net, t);
  await restart(net, t);
  const conf = await net.send(N1, { verb: 'resolv-conf', taskId: id('w1') });
  t.regex(conf.value ?? '', /^nameserver 10\.5\.0\.1\n/);
});

/** What applying resolves for is in the answers. */
async function change(net: NetworkLab, t: ExecutionContext, ask: () => Promise<string>): Promise<void> {
  const w2 = net.world.tasks.find((task) => task.taskId === id('w2'));
  if (w2 === undefined) return t.fail();
  for (const [serving, answer] of [
    [false, '10.5.0.11'],
    [true, '10.5.0.11 10.5.0.12'],
  ] as const) {
    w2.serving = serving;
    const { tookMs } = await net.apply(N1);
    const askedMs = performance.now();
    t.is(await ask(), answer);
    t.log(
      `a name follows in ${tookMs.toFixed(1)} ms, and is told in ${(performance.now() - askedMs).toFixed(1)} ms`,
    );
  }
}

/** A container's packets to the port of the nodes' tunnels would come out in any network: they do not leave its node. */
async function noTunnel(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const came: number[] = [];
  for (const port of [VXLAN_PORT, VXLAN_PORT + 10]) {
    const server = await datagrams(`/run/netns/${net.ns('out')}`, '10.99.0.100', port);
    t.teardown(() => server.close());
    server.on('message', () => came.push(port));
  }
  const client = await datagrams(net.containerNs(id('w1')), '0.0.0.0', 0);
  t.teardown(() => client.close());
  await until('what is sent after it has come', async () => {
    for (const port of [VXLAN_PORT, VXLAN_PORT + 10]) client.send('x', port, '10.99.0.100');
    return came.includes(VXLAN_PORT + 10);
  });
  t.false(came.includes(VXLAN_PORT));
}

/** Nor do those for localhost get to what listens there on the node, though the uplink takes them (route_localnet). */
async function noLocalhost(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const came: string[] = [];
  const host = { address: '10.99.0.1', port: 7001 };
  const localhost = { address: '127.0.0.1', port: 7002 };
  for (const { address, port } of [host, localhost]) {
    const server = await datagrams(`/run/netns/${net.hostNs(N1)}`, address, port);
    t.teardown(() => server.close());
    server.on('message', () => came.push(address));
  }
  const uplinks = (await net.inHost(net.hostNs(N1), ['ip', '-br', 'link'])).stdout.match(/^su[^@]+/gm) ?? [];
  const hook = `type filter hook ingress devices = { ${uplinks.join(', ')} } priority 0`;
  const forged = [host, localhost].map(
    ({ address, port }) => `ip daddr 198.51.100.9 udp dport ${port} ip daddr set ${address}`,
  );
  const rules = `table netdev forged { chain in { ${hook}; ${forged.join('; ')}; }; }`;
  t.is((await net.inHost(net.hostNs(N1), ['/usr/sbin/nft', rules])).code, 0);
  const client = await datagrams(net.containerNs(id('w1')), '0.0.0.0', 0);
  t.teardown(() => client.close());
  await until('what is sent after it has come', async () => {
    for (const { port } of [localhost, host]) client.send('x', port, '198.51.100.9');
    return came.includes(host.address);
  });
  t.false(came.includes(localhost.address));
}

/** A resolver that asks while there is no agent is not refused, so that it asks again. */
async function restart(net: NetworkLab, t: ExecutionContext): Promise<void> {
  await net.killDriver(N1);
  const script = `const s = require('dgram').createSocket('udp4');
    s.on('error', (e) => { console.log(e.code); process.exit(); });
    s.on('message', () => { console.log('answered'); process.exit(); });
    s.connect(53, '10.5.0.1', () => { console.log('asks'); setInterval(() => s.send(Buffer.from('${dnsPacket
      .encode({ type: 'query', id: 7, questions: [{ type: 'A', name: 'web' }] })
      .toString('hex')}', 'hex')), 50); });`;
  const client = spawn('nsenter', [`--net=${net.containerNs(id('w1'))}`, process.execPath, '-e', script]);
  t.teardown(() => client.kill('SIGKILL'));
  let said = '';
  client.stdout.on('data', (data: Buffer) => {
    said += data.toString();
  });
  await until('it asks', async () => said !== '');
  const sandbox = `shoal-${net.cluster}-${N1.slice(0, 8)}-1001`;
  // What the kernel would have told it, from the counter of what it has sent.
  const refusals = async (): Promise<number> =>
    Number(/OutDestUnreachs\s+(\d+)/.exec((await net.inHost(sandbox, ['nstat', '-asz'])).stdout)?.[1] ?? 0);
  await until('nobody listens', async () => client.exitCode !== null || (await refusals()) > 0);
  net.startDriver(N1, '10.99.0.100');
  await net.apply(N1);
  await until('it is answered, or was refused', async () => client.exitCode !== null);
  t.is(said, 'asks\nanswered\n');
}

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
  const server = await datagrams(`/run/netns/${net.ns('out')}`, '10.99.0.100', 53);
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
  return server;
}

async function question(
  net: NetworkLab,
  taskId: string,
  server: string,
  name: string,
  type: dnsPacket.RecordType,
): Promise<dnsPacket.DecodedPacket> {
  const client = await datagrams(net.containerNs(taskId), '0.0.0.0', 0);
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
