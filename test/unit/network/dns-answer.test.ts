import test from 'ava';
import fc from 'fast-check';
import { answer } from '../../../agent/network/dns-answer.ts';
import { answerLink } from '../../../agent/network/dns-links.ts';
import { serviceKeyOf } from '../../../agent/network/endpoint-index.ts';
import { NameTable, type NetworkNames, taskName } from '../../../agent/network/dns-names.ts';
import {
  NXDOMAIN,
  NOTIMP,
  readQuery,
  refusalOf,
  REFUSED,
  SERVFAIL,
  writeAnswer,
  writeFailure,
} from '../../../agent/network/dns-message.ts';
import { TcpFrames, tcpFrame } from '../../../agent/network/dns-frames.ts';
import dnsPacket from 'dns-packet';
import { IPV6, inFamily } from '../../../agent/network/family.ts';
import { assignmentsOf, type World } from '../../cluster/network-model.ts';
import type { ServiceAssignment } from '../../../shared/model/index.ts';
import { SELF, worlds } from './worlds.ts';

function namesIn(world: World, ...ids: string[]): NetworkNames[] {
  const set = assignmentsOf(world, SELF);
  return ids.flatMap((id) => {
    const network = set.networks.get(id);
    return network === undefined ? [] : [new NameTable(set, network, '')];
  });
}

const half = (): number => 0.5;

test('a service is its VIP or, without one, its serving tasks; in any case, with a final dot or its network', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const set = assignmentsOf(world, SELF);
      const networks = namesIn(world, 'front');
      for (const service of [...set.services.values()].filter((one) => one.networkId === 'front')) {
        const serving = [...set.endpoints.values()]
          .filter((e) => e.networkId === 'front' && e.serviceId === service.serviceId && e.serving)
          .map((e) => e.address)
          .sort();
        const expected = service.vip === undefined ? serving : [service.vip];
        for (const name of [
          service.name,
          service.name.toUpperCase(),
          `${service.name}.`,
          `${service.name}.Front`,
        ]) {
          t.deepEqual(addresses({ name, type: 'A' }, networks), expected);
        }
        t.deepEqual(addresses({ name: `tasks.${service.name}`, type: 'A' }, networks), serving);
        const front = set.networks.get('front');
        const own = front === undefined ? [] : inFamily(IPV6, front, expected).toSorted();
        t.deepEqual(addresses({ name: service.name, type: 'AAAA' }, networks), own);
        const both = [...expected, ...own].toSorted();
        t.deepEqual(addresses({ name: service.name, type: 'ANY' }, networks), both);
      }
    }),
  );
});

test('a single container with the name of a service takes nothing of it, and has the name where no service has', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const set = assignmentsOf(world, SELF);
      const front = set.networks.get('front');
      const rows = [...set.services.values()].filter(({ networkId }) => networkId === 'front');
      const [service, other] = rows;
      if (front === undefined || service === undefined || other === undefined) return;
      const { vip: _, ...container } = other;
      const ask = (...services: ServiceAssignment[]) => {
        const named = new Map(services.map((row) => [serviceKeyOf(row), row]));
        const networks = [new NameTable({ ...set, services: named }, front, '')];
        return addresses({ name: service.name, type: 'A' }, networks);
      };
      const single = { ...container, name: service.name, single: true as const };
      t.deepEqual(ask(service, single), ask(service));
      t.deepEqual(ask(single), ask({ ...container, name: service.name }));
    }),
  );
});

test('a link is a name of the asker’s own, before what others call so; without anything behind it they are asked', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const networks = namesIn(world, 'front');
      const [asker] = assignmentsOf(world, SELF).tasks.values();
      const services = [...assignmentsOf(world, SELF).services.values()];
      const [service, other] = services.filter((one) => one.networkId === 'front');
      if (asker === undefined || service === undefined) return;
      const links = [
        { name: service.name.toUpperCase(), alias: 'Mine' },
        { name: 'nosuch', alias: 'nothing' },
        ...(other === undefined ? [] : [{ name: service.name, alias: other.name }]),
      ];
      const spec = { ...asker.spec, networks: [{ network: 'front', aliases: [], links }] };
      const ask = (name: string) => answerLink({ name, type: 'A' }, { ...asker, spec }, networks, half);
      const behind = answer({ name: service.name, type: 'A' }, networks, half);
      for (const name of ['mine', 'MINE.', 'mine.Front', ...(other === undefined ? [] : [other.name])])
        t.deepEqual(ask(name), behind, name);
      for (const name of ['nothing', 'mine.back', service.name]) t.is(ask(name), undefined, name);
      t.is(answerLink({ name: 'mine', type: 'A' }, asker, networks, half), undefined, 'nobody else has it');
    }),
  );
});

test('on a network without a tunnel a node knows the names of its own containers only', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const set = assignmentsOf(world, SELF);
      const network = set.networks.get('node');
      const networks = network === undefined ? [] : [new NameTable(set, network, SELF)];
      for (const service of [...set.services.values()].filter((one) => one.networkId === 'node')) {
        const here = [...set.endpoints.values()]
          .filter((e) => e.networkId === 'node' && e.serviceId === service.serviceId && e.serving)
          .filter((e) => e.nodeId === SELF)
          .map((e) => e.address)
          .sort();
        t.deepEqual(addresses({ name: `tasks.${service.name}`, type: 'A' }, networks), here);
        const expected = here.length > 0 && service.vip !== undefined ? [service.vip] : here;
        t.deepEqual(addresses({ name: service.name, type: 'A' }, networks), expected);
      }
    }),
    { numRuns: 200 },
  );
});

function addresses(question: { name: string; type: string }, networks: NetworkNames[]): string[] {
  const result = answer(question, networks, Math.random);
  return result.kind === 'addresses' ? [...result.addresses].sort() : [];
}

test('a task is found by name and by address, on the networks of the asker only', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const endpoints = [...assignmentsOf(world, SELF).endpoints.values()];
      for (const endpoint of endpoints.filter((e) => e.networkId === 'back')) {
        const name = taskName(endpoint);
        const reverse = `${endpoint.address.split('.').reverse().join('.')}.in-addr.arpa`;
        const [front, back] = [namesIn(world, 'front'), namesIn(world, 'front', 'back')];
        t.true(addresses({ name, type: 'A' }, back).length > 0);
        t.deepEqual(
          answer({ name, type: 'AAAA' }, namesIn(world, 'back'), half),
          { kind: 'empty' },
          'a network without IPv6',
        );
        t.deepEqual(answer({ name: reverse, type: 'PTR' }, back, half), {
          kind: 'name',
          name: `${name}.back`,
        });
        t.deepEqual(answer({ name: reverse, type: 'PTR' }, front, half), { kind: 'elsewhere' });
      }
    }),
  );
});

test('an IPv6 address has the name of its IPv4 one; of a network without IPv6 it is not the cluster’s', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const networks = namesIn(world, 'front', 'back');
      const reverse = (tail: number): string =>
        `${tail.toString(16).padStart(2, '0').split('').reverse().join('.')}.${'0.'.repeat(22)}5.0.0.0.0.0.d.f.ip6.arpa`;
      const ask = (name: string, type = 'PTR') => answer({ name, type }, networks, half);
      for (const endpoint of assignmentsOf(world, SELF).endpoints.values()) {
        if (endpoint.networkId !== 'front') continue;
        const name = reverse(Number(endpoint.address.split('.')[3]));
        t.deepEqual(ask(name), { kind: 'name', name: `${taskName(endpoint)}.front` });
        t.deepEqual(ask(name.toUpperCase(), 'A'), { kind: 'empty' });
      }
      t.deepEqual(ask(reverse(250)), { kind: 'unknown' });
      t.deepEqual(ask(`${'0.'.repeat(28)}0.0.d.f.ip6.arpa`), { kind: 'elsewhere' });
      t.deepEqual(ask('8.b.d.0.1.0.0.2.ip6.arpa'), { kind: 'elsewhere' }, 'a zone, no address');
    }),
  );
});

test('what is not the cluster’s is asked elsewhere, and ingress has no names', (t) => {
  const world = fc.sample(worlds, { seed: 1, numRuns: 1 })[0];
  if (world === undefined) return t.fail();
  const networks = namesIn(world, 'front', 'ingress');
  t.deepEqual(answer({ name: 'example.org', type: 'A' }, networks, half), { kind: 'elsewhere' });
  t.deepEqual(answer({ name: 'tasks.nothing', type: 'A' }, networks, half), { kind: 'unknown' });
  t.deepEqual(answer({ name: '250.0.5.10.in-addr.arpa', type: 'PTR' }, networks, half), { kind: 'unknown' });
  for (const name of ['s0', 's1', 's2', 'alias0']) t.is(networks[1]?.services.get(name), undefined);
});

test('a list is given in another order each time', (t) => {
  const names: NetworkNames = {
    network: {
      networkId: 'n',
      name: 'n',
      vni: 1,
      subnet: '10.5.0.0/24',
      gateway: '10.5.0.1',
      internal: false,
      ingress: false,
    },
    services: new Map([['rr', { serving: ['10.5.0.2', '10.5.0.3'], ports: [] }]]),
    tasks: new Map(),
    reverse: new Map(),
  };
  const first = (random: number): string | undefined => {
    const result = answer({ name: 'rr', type: 'A' }, [names], () => random);
    return result.kind === 'addresses' ? result.addresses[0] : undefined;
  };
  t.not(first(0), first(0.9));
});

function query(name: string, udpPayloadSize?: number) {
  const additionals: dnsPacket.Answer[] =
    udpPayloadSize === undefined
      ? []
      : [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          },
        ];
  const raw = dnsPacket.encode({
    type: 'query',
    id: 4711,
    flags: 256,
    questions: [{ type: 'A', name }],
    additionals,
  });
  const read = readQuery(raw);
  if (read === undefined) throw new Error('query not understood');
  return read;
}

test('messages: cut over UDP when too long, whole over TCP, failures said', (t) => {
  const many = { kind: 'addresses' as const, addresses: Array.from({ length: 60 }, (_, i) => `10.5.0.${i}`) };
  const small = dnsPacket.decode(writeAnswer(query('web'), many, true));
  t.true(small.flag_tc);
  t.is(small.answers?.length, 25, 'who does not ask by TCP has some');
  t.is(dnsPacket.decode(writeAnswer(query('web', 4096), many, true)).answers?.length, 60);
  t.is(dnsPacket.decode(writeAnswer(query('web'), many, false)).answers?.length, 60);
  t.is((writeAnswer(query('x'), { kind: 'unknown' }, true)[3] ?? 0) & 15, NXDOMAIN);
  t.is((writeFailure(query('x'))[3] ?? 0) & 15, SERVFAIL);
  t.is(small.id, 4711);
  const edns = dnsPacket.decode(writeAnswer(query('web', 4096), many, true)).additionals ?? [];
  t.deepEqual(
    edns.map((record) => record.type),
    ['OPT'],
    'who speaks EDNS is answered so',
  );
  t.deepEqual(small.additionals, []);
});

test('an update, a notice and a question of another class are refused, in words of their own', (t) => {
  const asked = (flags: number, klass: 'IN' | 'CH' | 'ANY'): ReturnType<typeof readQuery> =>
    readQuery(
      dnsPacket.encode({ type: 'query', flags, questions: [{ type: 'A', name: 'web', class: klass }] }),
    );
  for (const [flags, klass, rcode] of [
    [256, 'IN', undefined],
    [256, 'ANY', undefined],
    [256, 'CH', REFUSED],
    [4 << 11, 'IN', NOTIMP],
    [5 << 11, 'IN', NOTIMP],
  ] as const) {
    const read = asked(flags, klass);
    if (read === undefined) return t.fail('not understood');
    t.is(refusalOf(read), rcode, `${flags} ${klass}`);
    if (rcode === undefined) continue;
    const written = writeFailure(read, rcode);
    t.is((written[3] ?? 0) & 15, rcode);
    t.is(written.readUInt16BE(2) & (15 << 11), flags & (15 << 11), 'as it was asked');
    t.false(dnsPacket.decode(written).flag_aa);
  }
  return t.pass();
});

test('of more than a message can say as much is said as fits', (t) => {
  const addresses = Array.from({ length: 10_000 }, (_, i) => `10.${i >> 8}.${i & 255}.7`);
  for (const name of ['w', 'tasks.a-service-with-a-long-name.and-a-network']) {
    const tcp = writeAnswer(query(name), { kind: 'addresses', addresses }, false);
    t.true(tcp.length > 65_400 && tcp.length <= 65_535, `${tcp.length} bytes`);
    t.is(tcpFrame(tcp).length, tcp.length + 2);
    t.false(dnsPacket.decode(tcp).flag_tc);
    const udp = writeAnswer(query(name, 65_535), { kind: 'addresses', addresses }, true);
    t.true(udp.length > 4_000 && udp.length <= 4_096, `${udp.length} bytes`);
    t.true(dnsPacket.decode(udp).flag_tc);
  }
});

test('questions that take long to read are not read', (t) => {
  const chains = Buffer.alloc(65_535);
  // Each name is a pointer to the one before.
  let count = 1;
  for (let at = 17; at + 6 <= chains.length; at += 6) {
    const before = at === 17 ? 12 : Math.min(at - 2, 16_378);
    chains.writeUInt16BE(0xc0_00 | before, at);
    if (at < 16_370) for (const next of [2, 4]) chains.writeUInt16BE(0xc0_00 | (at + next - 2), at + next);
    count += 1;
  }
  const startedMs = performance.now();
  for (const counts of [[count], [1, count], [1, 0, count], [1, 0, 0, count]]) {
    for (const [i, many] of counts.entries()) chains.writeUInt16BE(many, 4 + 2 * i);
    for (const bytes of [chains, chains.subarray(0, 2_000)]) t.is(readQuery(bytes), undefined, counts.join());
  }
  t.true(performance.now() - startedMs < 200);
});

test('bytes that are no query are ignored', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const read = readQuery(Buffer.from(bytes));
      t.true(read === undefined || typeof read.name === 'string');
    }),
  );
});

test('frames come out whole however the stream is cut', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 })),
      fc.integer({ min: 1, max: 50 }),
      (messages, step) => {
        const stream = Buffer.concat(messages.map((message) => tcpFrame(Buffer.from(message))));
        const frames = new TcpFrames();
        const seen: Buffer[] = [];
        for (let at = 0; at < stream.length; at += step)
          seen.push(...frames.push(stream.subarray(at, at + step)));
        t.deepEqual(
          seen.map((frame) => [...frame]),
          messages.map((message) => [...message]),
        );
      },
    ),
  );
});

test('where ports are: by name or number, the VIP or each serving task, with the addresses', (t) => {
  const world = fc.sample(worlds, { seed: 5, numRuns: 200 }).find(({ services, tasks }) => {
    const serving = tasks.filter(({ service, serving: on }) => on && service === 's0');
    return services[0]?.vips['front'] !== undefined && serving.length > 1;
  });
  if (world === undefined) return t.fail();
  const ports = [
    { name: 'http', protocol: 'tcp', targetPort: 80 },
    { protocol: 'tcp', targetPort: 443 },
    { name: 'http', protocol: 'udp', targetPort: 443 },
  ] as const;
  const services = world.services.map((one) => (one.name === 's0' ? { ...one, named: ports } : one));
  const networks = namesIn({ ...world, services }, 'front');
  const targets = (name: string): string[] | string => {
    const result = answer({ name, type: 'SRV' }, networks, half);
    if (result.kind !== 'targets') return result.kind;
    return result.targets.map((one) => `${one.name} ${one.address} ${one.port}`).sort();
  };
  const vip = world.services[0]?.vips['front'];
  t.deepEqual(targets('_http._tcp.s0'), [`s0.front ${vip} 80`]);
  t.deepEqual(targets('_HTTP._TCP.S0.front.'), [`s0.front ${vip} 80`]);
  t.deepEqual(targets('_443._tcp.s0'), [`s0.front ${vip} 443`]);
  t.deepEqual(targets('_http._udp.s0'), [`s0.front ${vip} 443`]);
  const serving = world.tasks.filter(({ service, serving: on }) => on && service === 's0');
  t.deepEqual(
    targets('_http._tcp.tasks.s0'),
    serving.map(({ taskId, slot, addresses: at }) => `s0.${slot}.${taskId}.front ${at['front']} 80`).sort(),
  );
  t.is(targets('_smtp._tcp.s0'), 'unknown');
  t.is(targets('_http._sctp.s0'), 'unknown');
  t.is(targets('_http._tcp.elsewhere.example'), 'elsewhere');
  t.is(answer({ name: '_http._tcp.s0', type: 'A' }, networks, half).kind, 'empty');

  const name = '_http._tcp.tasks.s0';
  const read = readQuery(dnsPacket.encode({ type: 'query', questions: [{ type: 'SRV', name }] }));
  const found = answer({ name, type: 'SRV' }, networks, half);
  if (read === undefined || found.kind === 'elsewhere') return t.fail();
  const whole = writeAnswer(read, found, false);
  const told = dnsPacket.decode(whole);
  t.is(told.answers?.length, serving.length);
  t.like(told.answers?.[0], { type: 'SRV', data: { priority: 0, weight: 1, port: 80 } });
  t.deepEqual(
    told.additionals?.map((one) => ('data' in one ? one.data : '')).toSorted(),
    serving
      .flatMap(({ addresses: at }) => {
        const address = at['front'] ?? '';
        return [address, `fd00:5::${Number(address.split('.')[3]).toString(16)}`];
      })
      .toSorted(),
  );
  const over = (udpBytes: number): dnsPacket.DecodedPacket =>
    dnsPacket.decode(writeAnswer({ ...read, udpBytes }, found, true));
  const bare = over(whole.length - 1);
  t.deepEqual([bare.answers?.length, bare.additionals?.length, bare.flag_tc], [serving.length, 0, false]);
  t.true(over(100).flag_tc);
});
