/** Containers that ask for names as no resolver does, or without a pause, and name servers that nothing leads to: the agent lives on. */
import { spawn } from 'node:child_process';
import { createServer, Socket, type SocketConstructorOpts } from 'node:net';
import test from 'ava';
import dnsPacket from 'dns-packet';
import { openSocket } from '../../agent/native/network.ts';
import { TcpFrames, tcpFrame } from '../../agent/network/dns-frames.ts';
import { datagrams } from './network-datagrams.ts';
import { until } from './network-lab.ts';
import { id, lab, N1 } from './network-world.ts';

test.serial('a question from port 0, and servers without a way, are passed over', async (t) => {
  const net = await lab('q1');
  t.teardown(() => net.down());
  await net.killDriver(N1);
  // Of a broadcast address the kernel refuses at once, as of IPv6 addresses where there is no IPv6.
  net.startDriver(N1, '255.255.255.255');
  await net.apply(N1);
  const lookup = async (name: string): Promise<string> =>
    (await net.inTask(id('w1'), ['busybox', 'timeout', '20', 'busybox', 'nslookup', name, '10.5.0.1']))
      .stdout;
  t.regex(await lookup('rr'), /10\.5\.0\.41/);
  t.notRegex(await lookup('www.example.test'), /Address.*example/);
  const rules = 'add table ip odd; add chain ip odd out { type filter hook output priority 0; }';
  const odd = `${rules}; add rule ip odd out udp dport 53 udp sport set 0`;
  await net.inTask(id('w1'), ['/usr/sbin/nft', odd]);
  t.notRegex(await lookup('rr'), /10\.5\.0\.41/, 'nobody can be answered there');
  await net.inTask(id('w1'), ['/usr/sbin/nft', 'delete table ip odd']);
  t.regex(await lookup('rr'), /10\.5\.0\.41/);
});

test.serial('who asks without a pause is not heard for a while, and others are', async (t) => {
  const net = await lab('q2');
  t.teardown(() => net.down());
  const sandbox = `shoal-${net.cluster}-${N1.slice(0, 8)}-1001`;
  const before = (await net.inHost(sandbox, ['/usr/sbin/nft', 'list', 'chain', 'ip', 'shoal', 'questions']))
    .stdout;
  t.regex(before, /update @asking/);
  const lookup = (from: string): Promise<{ code: number }> =>
    net.inTask(id(from), ['busybox', 'timeout', '1', 'busybox', 'nslookup', '-type=a', 'rr', '10.5.0.1']);
  const flood = spawn('nsenter', [`--net=${net.containerNs(id('r1'))}`, process.execPath, '-e', FLOOD], {
    stdio: 'ignore',
  });
  t.teardown(() => flood.kill('SIGKILL'));
  await until('who floods is not answered', async () => (await lookup('r1')).code !== 0);
  for (let i = 0; i < 20; i += 1) t.is((await lookup('w1')).code, 0, 'another container is answered');
  flood.kill('SIGKILL');
  await until('who has stopped is answered', async () => (await lookup('r1')).code === 0);
});

test.serial(
  'a container’s own name server is asked from where the container is: it may be on its network',
  async (t) => {
    const net = await lab('q3');
    t.teardown(() => net.down());
    const service = net.world.services.find(({ name }) => name === 'rr');
    if (service === undefined) return t.fail('rr is there');
    service.nameservers = ['10.5.0.12'];
    await net.applyAll();
    const heard: string[] = [];
    const answer = (message: Buffer, from: string, how: string): Buffer => {
      const { id: number = 0, questions = [] } = dnsPacket.decode(message);
      const [{ name } = { name: '' }] = questions;
      heard.push(`${from} ${how} ${name}`);
      const data = from === '10.5.0.41' ? '198.51.100.1' : '198.51.100.2';
      const answers = [{ type: 'A' as const, name, ttl: 60, data }];
      return dnsPacket.encode({ type: 'response', id: number, questions, answers });
    };
    const place = net.containerNs(id('w2'));
    const udp = await datagrams(place, '0.0.0.0', 53);
    udp.on('message', (message, { address, port }) =>
      udp.send(answer(message, address, 'udp'), port, address),
    );
    const tcp = createServer((socket) => {
      const frames = new TcpFrames();
      socket.on('error', () => socket.destroy());
      socket.on('data', (chunk) => {
        for (const message of frames.push(chunk))
          socket.write(tcpFrame(answer(message, socket.remoteAddress ?? '', 'tcp')));
      });
    });
    const fd = await openSocket(place, 'stream', '0.0.0.0', 53);
    await new Promise<void>((resolve) => tcp.listen({ fd }, resolve));
    t.teardown(() => {
      udp.close();
      tcp.close();
    });
    const ask = async (task: string, name: string, ...more: string[]): Promise<string> =>
      (
        await net.inTask(id(task), [
          'busybox',
          'timeout',
          '10',
          'busybox',
          'nslookup',
          '-type=a',
          ...more,
          name,
          '10.5.0.1',
        ])
      ).stdout;
    // The server is on the other node, and on the same.
    t.regex(await ask('r1', 'www.example.test'), /198\.51\.100\.1/);
    t.regex(
      await ask('r2', 'www.example.test'),
      /198\.51\.100\.2/,
      'what it says to one is not told to the other',
    );
    t.regex(await ask('r1', 'www.example.test'), /198\.51\.100\.1/);
    t.deepEqual(heard, ['10.5.0.41 udp www.example.test', '10.5.0.42 udp www.example.test']);
    const overTcp = await askByTcp(net.containerNs(id('r1')), 'tcp.example.test');
    t.deepEqual(
      overTcp.answers?.map((one) => 'data' in one && one.data),
      ['198.51.100.1'],
    );
    t.deepEqual(heard.slice(2), ['10.5.0.41 tcp tcp.example.test']);
    t.regex(await ask('r1', 'st_web'), /10\.5\.0\.200/, 'the cluster’s names are known as ever');
  },
);

/** One question to the name server of the network front. */
async function askByTcp(netns: string, name: string): Promise<dnsPacket.Packet> {
  const fd = await openSocket(netns, 'stream', '0.0.0.0', 0);
  const socket = new Socket({
    fd,
    pauseOnCreate: true,
    readable: true,
    writable: true,
  } as SocketConstructorOpts);
  const frames = new TcpFrames();
  const message = dnsPacket.encode({ type: 'query', id: 5, flags: 256, questions: [{ type: 'A', name }] });
  try {
    return await new Promise((resolve, reject) => {
      socket.on('error', reject);
      socket.on('data', (chunk) => frames.push(chunk).forEach((one) => resolve(dnsPacket.decode(one))));
      socket.on('connect', () => socket.resume().write(tcpFrame(message)));
      socket.connect({ port: 53, host: '10.5.0.1' });
    });
  } finally {
    socket.destroy();
  }
}

const FLOOD = `
const socket = require('node:dgram').createSocket('udp4');
socket.connect(53, '10.5.0.1', () => {
  const more = () => { for (let i = 0; i < 100; i += 1) socket.send(Buffer.alloc(100), () => undefined); setImmediate(more); };
  more();
});
`;
