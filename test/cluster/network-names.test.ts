/** Containers that ask for names as no resolver does, or without a pause, and name servers that nothing leads to: the agent lives on. */
import { spawn } from 'node:child_process';
import test from 'ava';
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

const FLOOD = `
const socket = require('node:dgram').createSocket('udp4');
socket.connect(53, '10.5.0.1', () => {
  const more = () => { for (let i = 0; i < 100; i += 1) socket.send(Buffer.alloc(100), () => undefined); setImmediate(more); };
  more();
});
`;
