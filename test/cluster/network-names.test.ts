/** Containers that ask for names as no resolver does, and name servers that nothing leads to: the agent lives on. */
import test from 'ava';
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
