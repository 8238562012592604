import dgram from 'node:dgram';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { DnsCache } from '../../../agent/network/dns-cache.ts';
import { forward } from '../../../agent/network/dns-forward.ts';
import { DnsUpstream } from '../../../agent/network/dns-upstream.ts';

const { signal } = new AbortController();

function question(name: string, id = 1): Buffer {
  return dnsPacket.encode({ type: 'query', id, flags: 256, questions: [{ type: 'A', name }] });
}

function response(to: Buffer, ttl: number, more: Partial<dnsPacket.Packet> = {}, rcode = 0): Buffer {
  const { id = 0, questions = [] } = dnsPacket.decode(to);
  const name = questions[0]?.name ?? '';
  const answers: dnsPacket.Answer[] = [{ type: 'A', name, ttl, data: '198.51.100.7' }];
  return dnsPacket.encode({ type: 'response', id, questions, answers, flags: rcode, ...more });
}

const SOA = (ttl: number, minimum: number): dnsPacket.Answer => ({
  type: 'SOA',
  name: 'example.test',
  ttl,
  data: { mname: 'a.test', rname: 'b.test', serial: 1, refresh: 2, retry: 3, expire: 4, minimum },
});

function ttlsOf(message: Buffer | undefined): number[] {
  const { answers = [] } = dnsPacket.decode(message ?? Buffer.alloc(0));
  return answers.map((record) => ('ttl' in record ? (record.ttl ?? -1) : -1));
}

test('an answer is kept for its time, and grows old', (t) => {
  const cache = new DnsCache();
  const asked = question('example.test');
  const opt = { type: 'OPT', name: '.', udpPayloadSize: 4096, flags: 0x8000 } as dnsPacket.Answer;
  cache.put('k', response(asked, 60, { additionals: [opt] }), 1_000);
  t.deepEqual(ttlsOf(cache.get('k', 1_900)), [60]);
  const later = cache.get('k', 31_000);
  t.deepEqual(ttlsOf(later), [30]);
  const [record] = dnsPacket.decode(later ?? asked).additionals ?? [];
  t.is(record?.type === 'OPT' ? record.flags : 0, 0x8000, 'what is no time to live stays');
  t.is(cache.get('k', 61_000), undefined);
  t.is(cache.size, 0);
  cache.put('long', response(asked, 1_000_000), 0);
  t.is(cache.get('long', 3_600_001), undefined, 'nothing is kept for longer than an hour');
});

test('that there is nothing is kept as its zone says; failures, cut and strange answers are not', (t) => {
  const asked = question('example.test');
  const kept = (message: Buffer, nowMs: number): boolean => {
    const cache = new DnsCache();
    cache.put('k', message, 0);
    return cache.get('k', nowMs) !== undefined;
  };
  const nothing = response(asked, 0, { answers: [], authorities: [SOA(900, 30)] }, 3);
  t.true(kept(nothing, 29_999));
  t.false(kept(nothing, 30_000));
  t.false(kept(response(asked, 0, { answers: [], authorities: [SOA(5, 30)] }), 5_000));
  t.false(kept(response(asked, 0, { answers: [] }, 3), 0), 'no zone says for how long');
  t.false(kept(response(asked, 60, {}, 2), 0), 'SERVFAIL');
  t.false(kept(response(asked, 60, { flags: dnsPacket.TRUNCATED_RESPONSE }), 0));
  t.false(kept(response(asked, 0), 0), 'a time of zero');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const cache = new DnsCache();
      cache.put('k', Buffer.from(bytes), 0);
      cache.get('k', 1);
      t.true(cache.size <= 1);
    }),
  );
});

test('the cache has a bound, and lets go of what was not asked for the longest', (t) => {
  const cache = new DnsCache();
  const message = response(question('example.test'), 60);
  cache.put('first', message, 0);
  for (let i = 0; i < 999; i += 1) cache.put(`k${i}`, message, 0);
  t.truthy(cache.get('first', 1));
  cache.put('more', message, 1);
  t.is(cache.size, 1_000);
  t.truthy(cache.get('first', 1));
  t.is(cache.get('k0', 1), undefined);
});

test('the same question is asked once, and each asker has its own id', async (t) => {
  const asked: string[] = [];
  const answers: (() => void)[] = [];
  const upstream = new DnsUpstream(async (raw, servers) => {
    asked.push(servers.join());
    await new Promise<void>((resolve) => answers.push(resolve));
    return response(raw, 60);
  });
  const ids = [11, 12].map(async (id) =>
    (await upstream.answer('a', question('example.test', id), ['192.0.2.1'], true, signal))?.readUInt16BE(0),
  );
  t.is(answers.length, 1);
  for (const answer of answers) answer();
  t.deepEqual(await Promise.all(ids), [11, 12]);
  const kept = await upstream.answer('a', question('example.test', 13), ['192.0.2.1'], true, signal);
  t.is(kept?.readUInt16BE(0), 13);
  t.deepEqual(asked, ['192.0.2.1'], 'the third was answered from what is kept');
  const other = upstream.answer('a', question('example.test', 14), ['192.0.2.2'], true, signal);
  answers.at(-1)?.();
  t.is((await other)?.readUInt16BE(0), 14);
  t.deepEqual(asked, ['192.0.2.1', '192.0.2.2'], 'other servers may say something else');
});

test('too many questions at once are refused, not piled up', async (t) => {
  let waiting = 0;
  const upstream = new DnsUpstream(() => {
    waiting += 1;
    return new Promise(() => undefined);
  });
  const ask = (asker: string, name: string): Promise<Buffer | undefined> =>
    upstream.answer(asker, question(name), ['192.0.2.1'], true, signal);
  for (let i = 0; i < 96; i += 1) void ask('greedy', `n${i}.test`);
  t.is(await ask('greedy', 'one-more.test'), undefined);
  t.is(waiting, 96, 'one does not take what is for all');
  void ask('other', 'one-more.test');
  t.is(waiting, 97);
  for (let i = 0; i < 415; i += 1) void ask(`a${i % 10}`, `m${i}.test`);
  t.is(await ask('last', 'last.test'), undefined);
  t.is(waiting, 512);
});

test('a question that was answered makes room for another of its asker', async (t) => {
  const upstream = new DnsUpstream((raw) => Promise.resolve(response(raw, 0)));
  for (let i = 0; i < 200; i += 1)
    t.truthy(await upstream.answer('a', question(`n${i}.test`), ['192.0.2.1'], true, signal));
});

/** A name server on one loopback address that does as `reply` says with each question. */
async function server(
  t: ExecutionContext,
  address: string,
  port: number,
  reply: (message: Buffer) => readonly Buffer[],
): Promise<number> {
  const socket = dgram.createSocket('udp4');
  t.teardown(() => socket.close());
  socket.on('message', (message, from) => {
    for (const answer of reply(message)) socket.send(answer, from.port, from.address);
  });
  socket.bind(port, address);
  await once(socket, 'listening');
  return socket.address().port;
}

test('servers that refuse, are silent or talk nonsense are passed over', async (t) => {
  const nonsense = (message: Buffer): Buffer[] => {
    const other = response(message, 60);
    other.writeUInt16BE((message.readUInt16BE(0) + 1) % 65_536, 0);
    return [Buffer.from('?'), other];
  };
  const port = await server(t, '127.0.0.2', 0, () => []);
  await server(t, '127.0.0.3', port, nonsense);
  await server(t, '127.0.0.4', port, (message) => [response(message, 60, { flags: 0x0200 })]);
  const patience = { timeoutMs: 200, port };
  const all = ['127.0.0.5', '127.0.0.2', '127.0.0.3', '127.0.0.4'];
  const answer = await forward(question('example.test', 77), all, true, signal, patience);
  t.is(answer?.readUInt16BE(0), 77);
  t.true(answer !== undefined && dnsPacket.decode(answer).flag_tc, 'one that was cut is given on as it is');
  t.is(await forward(question('example.test'), all.slice(0, 3), true, signal, patience), undefined);
  t.is(await forward(question('example.test'), [], true, signal, patience), undefined);
  t.is(await forward(question('example.test'), ['127.0.0.5'], false, signal, patience), undefined, 'by TCP');
});

test('servers that no way leads to, and what is no address, are passed over: the agent lives on', async (t) => {
  const reached = await server(t, '127.0.0.6', 0, (message) => [response(message, 60)]);
  const patience = { timeoutMs: 200, port: reached };
  for (const overUdp of [true, false]) {
    // Of a broadcast address the kernel refuses at once, as of IPv6 addresses where there is no IPv6.
    for (const nowhere of ['255.255.255.255', 'fe80::1%nosuch', '::ffff:255.255.255.255', 'no.such.test.'])
      t.is(await forward(question('example.test'), [nowhere], overUdp, signal, patience), undefined, nowhere);
  }
  const answer = await forward(
    question('example.test', 7),
    ['255.255.255.255', '127.0.0.6'],
    true,
    signal,
    patience,
  );
  t.is(answer?.readUInt16BE(0), 7);
});
