/** Addresses of IPv6: how they are read and written, and how they follow from those of IPv4. */
import { isIPv6, SocketAddress } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import { formatAddress, formatCidr, parseAddress, parseCidr } from '../../../shared/lib/cidr.ts';
import {
  cidr6Contains,
  cidr6Size,
  cidrs6Overlap,
  formatAddress6,
  formatCidr6,
  parseAddress6,
  parseCidr6,
} from '../../../shared/lib/cidr6.ts';
import {
  address4,
  address6,
  gateway6,
  roomProblem,
  subnet6Problem,
  uniqueLocalSubnet,
} from '../../../shared/lib/network-ipv6.ts';
import { choice6Problem, splitPools } from '../../../shared/lib/network-pools.ts';
import type { NetworkSpec } from '../../../shared/model/index.ts';
import { cidrSize } from '../../../shared/lib/cidr.ts';

/** Mostly with runs of zeros, about which the form is. */
const groups = fc.array(
  fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 0xffff })),
  {
    minLength: 8,
    maxLength: 8,
  },
);
const addresses = groups.map((list) => list.reduce((sum, group) => sum * 65536n + BigInt(group), 0n));

test('an address is written as the C library writes it, and read from any form', (t) => {
  fc.assert(
    fc.property(addresses, (address) => {
      const text = formatAddress6(address);
      t.true(isIPv6(text));
      t.is(parseAddress6(text), address);
      const long = Array.from({ length: 8 }, (_, i) =>
        ((address >> BigInt(112 - 16 * i)) & 0xffffn).toString(16).padStart(4, '0').toUpperCase(),
      ).join(':');
      t.is(parseAddress6(long), address);
      // The C library writes some addresses that begin with zeros with the dots of IPv4.
      if (address >> 96n > 0n) t.is(new SocketAddress({ address: long, family: 'ipv6' }).address, text);
    }),
  );
  for (const text of [
    '',
    '::1%eth0',
    '10.0.0.1',
    'fd00::/8',
    ':::',
    'fd00:::1',
    '1:2:3:4:5:6:7',
    'g::',
    '[::1]',
  ])
    t.throws(() => parseAddress6(text), { message: `not an IPv6 address: ${text}` });
  for (const text of ['fd00::', 'fd00::/129', 'fd00::/', 'fd00::/x', 'fd00::/64/64', '10.0.0.0/8'])
    t.throws(() => parseCidr6(text), { message: /^not an IPv6/ });
});

test('a subnet has its first and its last address and not those beside', (t) => {
  fc.assert(
    fc.property(
      addresses,
      addresses,
      fc.integer({ min: 1, max: 128 }),
      fc.integer({ min: 1, max: 128 }),
      (a, b, bits, more) => {
        const cidr = parseCidr6(`${formatAddress6(a)}/${bits}`);
        t.deepEqual(parseCidr6(formatCidr6(cidr)), cidr);
        t.true(cidr6Contains(cidr, a));
        const end = cidr.base + cidr6Size(cidr);
        t.true(cidr6Contains(cidr, end - 1n));
        if (end < 1n << 128n) t.false(cidr6Contains(cidr, end));
        if (cidr.base > 0n) t.false(cidr6Contains(cidr, cidr.base - 1n));
        const other = parseCidr6(`${formatAddress6(b)}/${more}`);
        const overlaps = cidr6Contains(cidr, other.base) || cidr6Contains(other, cidr.base);
        t.is(cidrs6Overlap(cidr, other), overlaps);
      },
    ),
  );
});

/** One or two subnets beside one another or apart, and an IPv6 one with room for them. */
const networks = fc
  .record({
    first: fc.integer({ min: 16, max: 29 }),
    second: fc.option(fc.integer({ min: 16, max: 29 })),
    spare: fc.integer({ min: 0, max: 40 }),
    base: addresses,
  })
  .map(({ first, second, spare, base }) => {
    const size = 2 ** (32 - first) + (second === null ? 0 : 2 ** (32 - second));
    const bits = 128 - Math.ceil(Math.log2(size)) - spare;
    const subnets = [`10.5.0.0/${first}`, ...(second === null ? [] : [`10.9.0.0/${second}`])].map((text) => {
      const cidr = parseCidr(text);
      return { subnet: formatCidr(cidr), gateway: formatAddress(cidr.base + 1) };
    });
    const [one = { subnet: '', gateway: '' }, ...moreSubnets] = subnets;
    return { ...one, moreSubnets, subnet6: formatCidr6(parseCidr6(`${formatAddress6(base)}/${bits}`)) };
  });

test('each IPv4 address of a network has one IPv6 address of its own, and back', (t) => {
  fc.assert(
    fc.property(networks, fc.nat(), fc.nat(), (network, a, b) => {
      t.is(roomProblem(network, network.subnet6), undefined);
      const all = [network, ...network.moreSubnets].map(({ subnet }) => parseCidr(subnet));
      const pick = (n: number): string => {
        const cidr = all[n % all.length] ?? { base: 0, bits: 32 };
        return formatAddress(cidr.base + (Math.floor(n / 2) % cidrSize(cidr)));
      };
      const [x, y] = [pick(a), pick(b)];
      const [x6, y6] = [address6(network, x) ?? '', address6(network, y) ?? ''];
      t.true(cidr6Contains(parseCidr6(network.subnet6), parseAddress6(x6)));
      t.is(x6 === y6, x === y);
      t.is(address4(network, parseAddress6(x6)), x);
      t.is(parseAddress6(gateway6(network) ?? ''), parseCidr6(network.subnet6).base + 1n);
      t.is(address6(network, '192.0.2.1'), undefined);
      const { subnet6: _, ...without } = network;
      t.is(address6(without, x), undefined);
    }),
  );
  const small = {
    subnet: '10.5.0.0/24',
    gateway: '10.5.0.1',
    moreSubnets: [{ subnet: '10.6.0.0/24', gateway: '10.6.0.1' }],
  };
  t.regex(
    roomProblem(small, 'fd00::/120') ?? '',
    /fd00::\/120 is smaller than 10\.5\.0\.0\/24 and 10\.6\.0\.0\/24/,
  );
  t.is(parseAddress('10.5.0.7') - parseAddress('10.5.0.0'), 7);
});

test('subnets that can not be are refused, with why', (t) => {
  for (const text of ['fd00:1::/64', '2001:db8::/32', 'fd00::/16', 'fd00::/125'])
    t.is(subnet6Problem(text), undefined);
  for (const [text, problem] of [
    ['fd00::/126', /from \/16 to \/125/],
    ['fd00::/15', /from \/16 to \/125/],
    ['fe80::/64', /link-local/],
    ['ff05::/64', /multicast/],
    ['::/64', /meaning of their own/],
    ['::ffff:0:0/96', /meaning of their own/],
    ['fd73:686f:616c:7::/64', /the nodes' own ways/],
    ['fd00::', /not an IPv6 CIDR: fd00::/],
  ] as const)
    t.regex(subnet6Problem(text) ?? '', problem);
});

test('a gateway has the place of the IPv4 one', (t) => {
  const problem = (more: Partial<NetworkSpec>): string =>
    choice6Problem({
      name: 'n',
      labels: {},
      driver: 'overlay',
      internal: false,
      attachable: false,
      ingress: false,
      driverOptions: {},
      ipv6: true,
      subnet6: 'fd00::/64',
      ...more,
    }) ?? '';
  t.is(problem({ gateway6: 'fd00::1' }), '');
  t.is(problem({ gateway6: 'FD00:0::9', subnet: '10.5.0.0/24', gateway: '10.5.0.9' }), '');
  t.regex(problem({ gateway6: 'fd00::2' }), /fd00::2: it has the place of the IPv4 gateway: fd00::1/);
  t.regex(problem({ gateway6: 'fd00::1', subnet: '10.5.0.0/24', gateway: '10.5.0.9' }), /: fd00::9$/);
  t.regex(problem({ gateway6: 'fd01::1' }), /gateway fd01::1 is not in subnet fd00::\/64/);
  t.regex(problem({ gateway6: '10.0.0.1' }), /not an IPv6 address: 10\.0\.0\.1/);
  const { subnet6: _, ...none } = { subnet6: '', gateway6: 'fd00::1' };
  t.regex(splitPools([{ subnet: 'fd00::/64', addressRange: 'fd00::/80' }]).toString(), /no range/);
  t.deepEqual(splitPools([{ gateway: 'fd00::1' }]), none);
});

test('the range of a cluster follows from its id, and is a unique local one', (t) => {
  const texts = new Set<string>();
  for (let i = 0; i < 200; i += 1) {
    const cidr = uniqueLocalSubnet(`cluster${i}`, 0x1001);
    t.deepEqual(uniqueLocalSubnet(`cluster${i}`, 0x1001), cidr);
    const text = formatCidr6(cidr);
    t.regex(text, /^fd[0-9a-f]{2}:.*:1001::\/64$/);
    texts.add(text);
  }
  t.is(texts.size, 200);
});
