/** What containers see of a network that has IPv6 beside IPv4. */
import type { ExecutionContext } from 'ava';
import { address6 as addressOf } from '../../shared/lib/network-ipv6.ts';
import type { NetworkLab } from './network-lab.ts';
import { id, N1 } from './network-world.ts';

/** The IPv6 address on `front` of who has this one. */
export function address6(net: NetworkLab, address: string): string {
  const front = net.world.networks.find(({ networkId }) => networkId === 'front');
  return (front === undefined ? undefined : addressOf(front, address)) ?? '';
}

/** Addresses, VIP, refusals and what keeps networks apart. */
export async function overIpv6(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const [web, app, far] = [{ task: id('w1') }, { task: id('a1') }, { task: id('f1') }];
  for (const to of ['fd00:5::c', 'fd00:5::2a', 'fd00:5::107', 'fd00:5::15'])
    t.is((await net.inTask(id('w1'), ['busybox', 'ping', '-6', '-c1', '-W3', to])).code, 0, `ping ${to}`);
  t.is(await net.get(web, 'http://[fd00:5::2a]/'), `${id('r2')} saw fd00:5::b`, 'on another host');
  t.is(await net.get(web, 'http://[fd00:5::15]/'), `${id('a1')} saw fd00:5::b`, 'on the same host');
  t.is(await net.get(far, 'http://[fd00:5::15]/'), `${id('a1')} saw fd00:5::107`, 'of another IPv4 subnet');

  const seen = new Set<string>();
  for (let i = 0; i < 40 && seen.size < 2; i += 1) seen.add(await net.get(app, 'http://[fd00:5::c8]/'));
  t.deepEqual([...seen].sort(), [`${id('w1')} saw fd00:5::15`, `${id('w2')} saw fd00:5::15`]);
  const own = new Set<string>();
  for (let i = 0; i < 40 && own.size < 2; i += 1)
    own.add((await net.get(web, 'http://[fd00:5::c8]/')).split(' ')[0] ?? '');
  t.deepEqual([...own].sort(), [id('w1'), id('w2')], 'a container that reaches itself through its VIP');

  for (const nobody of ['fd00:5::cb', 'fd00:5::63'])
    t.is(await net.get(web, `http://[${nobody}]/`), 'curl failed with 7', 'refused at once');
  t.is(await net.get(app, 'http://[fd00:6::1f]/'), `${id('d2')} saw fd00:6::15`);
  for (const [from, to] of [
    [web, 'fd00:6::1f'],
    [{ task: id('d2') }, 'fd00:5::15'],
    [{ ns: net.hostNs(N1) }, 'fd00:5::b'],
  ] as const)
    t.is(await net.get(from, `http://[${to}]/`), 'curl failed with 7', `${to} is on another network`);
  await onlyOwn(net, t);
}

/** A container gives itself another's address, sends with it, and is not heard. */
async function onlyOwn(net: NetworkLab, t: ExecutionContext): Promise<void> {
  const inTask = (...command: string[]) => net.inTask(id('w1'), command);
  await inTask('ip', 'addr', 'add', 'fd00:5::15/128', 'dev', 'lo');
  const forged = await inTask('busybox', 'ping', '-6', '-I', 'fd00:5::15', '-c1', '-W1', 'fd00:5::29');
  t.not(forged.code, 0, 'with a false address');
  t.is((await inTask('busybox', 'ping', '-6', '-c1', '-W3', 'fd00:5::29')).code, 0);
  await inTask('ip', 'addr', 'del', 'fd00:5::15/128', 'dev', 'lo');
}
