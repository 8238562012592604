/** Published ports and the way out, over IPv6. */
import dgram from 'node:dgram';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { openSocket } from '../../agent/native/network.ts';
import { lanAddress6, type NetworkLab, until } from './network-lab.ts';
import { id, N1, N3 } from './network-world.ts';

const CLIENT = '2001:db8:9::9';
const REFUSED = 'curl failed with 7';

/** Every host answers, with the client's own address; where a port is bound it answers there alone. */
export async function portsOverIpv6(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const out = { ns: net.ns('out') };
  const at = (index: number, port: number): string => `http://[${lanAddress6(index)}]:${port}/`;
  for (const index of [1, 2, 3])
    t.deepEqual(
      await both(net, out, at(index, 8080)),
      ['w1', 'w2'].map((name) => `${id(name)} saw ${CLIENT}`),
      `through host ${index}`,
    );
  for (const [node, index] of [
    [N1, 1],
    [N3, 3],
  ] as const) {
    for (const url of [at(index, 8080), 'http://[::1]:8080/']) {
      const answers = await both(net, { ns: net.hostNs(node) }, url);
      t.deepEqual(answers.map(nameOf), [id('w1'), id('w2')], `the host itself, ${url} on ${index}`);
    }
  }
  t.is(await net.get(out, at(1, 9090)), `${id('w1')} saw ${CLIENT}`, 'mode host');
  t.is(await net.get(out, at(2, 9090)), `${id('w2')} saw ${CLIENT}`);
  t.is(await net.get(out, at(3, 9090)), REFUSED, 'no task of the service there');

  t.regex(await net.get({ ns: net.hostNs(N3) }, 'http://[::1]:8086/'), /^w[12]x+ saw /, 'on localhost');
  for (const from of [out, { ns: net.hostNs(N1) }, { task: id('r1') }])
    t.is(await net.get(from, at(1, 8086)), REFUSED, 'on localhost alone');
  t.regex(await net.get(out, at(2, 8083)), /^w[12]x+ saw 2001:db8:9::9$/, 'on one address');
  for (const url of [
    at(1, 8083),
    'http://10.99.0.2:8083/',
    'http://10.99.0.1:8084/',
    at(1, 8085),
    at(1, 8081),
  ])
    t.is(await net.get(out, url), REFUSED, url);
  t.regex(await net.get(out, at(1, 8084)), /^w[12]x+ saw 2001:db8:9::9$/, 'on all of IPv6');
  t.regex(await net.get(out, 'http://10.99.0.1:8085/'), /^w[12]x+ saw 203\.0\.113\.9$/, 'on all of IPv4');

  const own = { ns: net.hostNs(N1) };
  for (const url of ['http://127.0.0.1:8087/', 'http://[::1]:8087/'])
    t.regex(await net.get(own, url), /^w[12]x+ saw /, `on several addresses: ${url}`);
  for (const url of [at(2, 8087), 'http://10.99.0.3:8087/'])
    t.regex(await net.get(out, url), /^w[12]x+ saw /, `on several addresses: ${url}`);
  for (const url of [at(1, 8087), at(3, 8087), 'http://10.99.0.1:8087/', 'http://10.99.0.2:8087/'])
    t.is(await net.get(out, url), REFUSED, `not on ${url}`);

  for (const index of [1, 2, 3])
    t.regex(await datagram(net, lanAddress6(index)), /^w[12] heard 2001:db8:9::9$/, `UDP through ${index}`);
  for (const index of [1, 2])
    t.is(await datagram(net, lanAddress6(index), 9053), `w${index} heard ${CLIENT}`, 'UDP, mode host');
  t.regex(await net.get({ task: id('r1') }, at(1, 8080)), /^w[12]x+ saw /, "by its own host's address");
  t.regex(await net.get({ task: id('w1') }, at(2, 8080)), /^w[12]x+ saw /, "by another host's");
  const hairpin = await both(net, { task: id('w1') }, at(1, 8080));
  t.deepEqual(hairpin.map(nameOf), [id('w1'), id('w2')], 'itself, by way of its host');
}

/** What a program answers that only waits for datagrams, if it comes from where one was sent. */
async function datagram(net: NetworkLab, to: string, port = 5353): Promise<string> {
  const open = async (netns: string, address: string, own: number): Promise<dgram.Socket> => {
    const socket = dgram.createSocket('udp6');
    const fd = await openSocket(netns, 'datagram', address, own);
    await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
    return socket;
  };
  const servers = await Promise.all(['w1', 'w2'].map((name) => open(net.containerNs(id(name)), '::', 53)));
  servers.forEach((server, i) =>
    server.on('message', (_, from) =>
      server.send(`w${i + 1} heard ${from.address}`, from.port, from.address),
    ),
  );
  const client = await open(`/run/netns/${net.ns('out')}`, CLIENT, 0);
  try {
    const answer = new Promise<string>((resolve) =>
      client.once('message', (text, from) =>
        resolve(from.port === port && from.address === to ? `${text}` : `of ${from.port}`),
      ),
    );
    client.send('hello', port, to);
    return await Promise.race([answer, delay(10_000, 'no answer', { ref: false })]);
  } finally {
    for (const socket of [client, ...servers]) socket.close();
  }
}

/** Containers that run, and hosts that publish, when the network gets its IPv6: from then on they have it, without a restart. */
export async function gainsIpv6(
  net: NetworkLab,
  t: ExecutionContext,
  networks: NetworkLab['world']['networks'],
): Promise<void> {
  const url = `http://[${lanAddress6(1)}]:8080/`;
  const addresses = async (): Promise<string> =>
    (await net.inTask(id('w1'), ['ip', '-6', '-o', 'addr', 'show', 'scope', 'global'])).stdout;
  t.regex(await net.get({ ns: net.ns('out') }, url), /^curl failed/, 'over IPv4 alone');
  t.notRegex(await addresses(), /fd00:10::/);
  net.world.networks = networks;
  await net.applyAll();
  await until('the container has its address', async () => /fd00:10::b\/64/.test(await addresses()));
  t.regex(await net.get({ ns: net.ns('out') }, url), /^w[12]x+ saw 2001:db8:9::9$/, 'and over IPv6');
}

/** A host that takes router advertisements goes on doing so while it forwards; what comes later is as it was. */
export async function stillAdvertised(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const host = net.hostNs(N1);
  const read = async (name: string): Promise<string> =>
    (await net.inHost(host, ['busybox', 'sysctl', '-n', `net.ipv6.conf.${name}`])).stdout.trim();
  t.is(await read('all.forwarding'), '1');
  t.is(await read('eth0.accept_ra'), '2');
  t.is(await read('default.accept_ra'), '1');
}

/** Containers reach what is outside, by the address of their host; what is outside does not reach them. */
export async function wayOutOverIpv6(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const ping = async (task: string, to: string): Promise<number> =>
    (await net.inTask(id(task), ['busybox', 'ping', '-6', '-c1', '-W3', to])).code;
  t.is(await ping('r1', lanAddress6(100)), 0);
  t.is(await ping('w1', CLIENT), 0, 'with several networks');
  t.not(await ping('d2', lanAddress6(100)), 0, 'internal has no way out');
  const out = { ns: net.ns('out') };
  const route = (verb: string, subnet: string) =>
    net.inHost(net.ns('out'), ['ip', '-6', 'route', verb, subnet, 'via', lanAddress6(1)]);
  for (const [subnet, address] of [
    ['fd00:10::/64', 'fd00:10::b'],
    ['fd00:5::/64', 'fd00:5::b'],
  ] as const) {
    await route('add', subnet);
    t.regex(await net.get(out, `http://[${address}]/`), /^curl failed/, `${address} from outside`);
    await route('del', subnet);
  }
  t.regex(await net.get({ task: id('r1') }, 'http://[fd00:10::b]/'), /^curl failed/, 'from another network');
  t.regex(await net.get({ task: id('w1') }, 'http://[fd00:10::c]/'), /^curl failed/, 'over ingress');
}

function nameOf(text: string): string {
  return text.split(' ')[0] ?? '';
}

/** Who answers, until two have. */
async function both(
  net: NetworkLab,
  from: { ns: string } | { task: string },
  url: string,
): Promise<string[]> {
  const seen = new Set<string>();
  for (let i = 0; i < 40 && seen.size < 2; i += 1) seen.add(await net.get(from, url));
  return [...seen].sort();
}
