/** Who may connect without having shown who he is: properties over any order of coming and going. */
import test from 'ava';
import fc from 'fast-check';
import { descriptionProblem } from '../../../manager/dispatcher/description-check.ts';
import { Refusals } from '../../../manager/dispatcher/refusals.ts';
import { Stranger, Strangers, type StrangerLimits } from '../../../manager/dispatcher/strangers.ts';
import { closeReason } from '../../../shared/wire/close-reason.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { description } from '../session/rig.ts';

const LIMITS: StrangerLimits = {
  inAll: 8,
  perAddress: 5,
  burst: 12,
  perSecond: 1,
  refusedJoins: 2,
  refusedJoinsPerSecond: 1,
};

const step = fc.record({
  does: fc.constantFrom('come' as const, 'prove' as const, 'leave' as const),
  address: fc.integer({ min: 1, max: 4 }),
  passedMs: fc.integer({ min: 0, max: 300 }),
});

test('there never are more than so many, in all and of one address, and who leaves makes room', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const strangers = new Strangers(LIMITS);
      const here = new Map<Stranger, number>();
      let nowMs = 0;
      for (const { does, address, passedMs } of steps) {
        nowMs += passedMs;
        const [first] = [...here].find(([, of]) => of === address) ?? [];
        if (does === 'come') {
          let dropped = false;
          const came = strangers.admit(`192.0.2.${address}`, nowMs, () => (dropped = true));
          if (came instanceof Stranger) {
            here.set(came, address);
            came.onLeave(() => here.delete(came));
          }
          if (dropped) throw new Error('who comes is not dropped at once');
        } else if (does === 'prove') first?.proven();
        else first?.gone();
        const counts = [1, 2, 3, 4].map((of) => [...here.values()].filter((other) => other === of).length);
        if (strangers.count !== here.size || here.size > LIMITS.inAll) return false;
        if (counts.some((count) => count > LIMITS.perAddress)) return false;
      }
      for (const stranger of here.keys()) stranger.gone();
      return strangers.count === 0;
    }),
  );
  t.pass();
});

test('when all room is taken another address gets its part of it, the greediest gives way', (t) => {
  const strangers = new Strangers(LIMITS);
  const dropped: string[] = [];
  const come = (address: string) => strangers.admit(address, 0, () => dropped.push(address));
  for (let i = 0; i < 5; i += 1) t.true(come('192.0.2.1') instanceof Stranger);
  t.is(come('192.0.2.1'), 'address-full');
  for (let i = 0; i < 3; i += 1) t.true(come('192.0.2.2') instanceof Stranger);
  t.true(come('192.0.2.3') instanceof Stranger);
  t.deepEqual(dropped, ['192.0.2.1']);
  t.true(come('192.0.2.3') instanceof Stranger);
  t.is(strangers.count, 8);
  t.is(come('192.0.2.3'), 'full', 'it would have as much as anybody');
});

test('so many a second, of those that prove nothing; an IPv6 network is one address', (t) => {
  const strangers = new Strangers(LIMITS);
  const come = (address: string, nowMs: number) => strangers.admit(address, nowMs, () => undefined);
  for (let i = 0; i < 100; i += 1) {
    const node = come('192.0.2.1', 0);
    if (node instanceof Stranger) node.proven();
    else t.fail(`a node was turned away: ${node}`);
  }
  const leaves = (address: string, nowMs: number): boolean => {
    const came = come(address, nowMs);
    if (came instanceof Stranger) came.gone();
    return came === 'address-rate';
  };
  for (let i = 0; i < 12; i += 1) t.false(leaves(`2001:db8::${i}`, 0));
  t.true(leaves('2001:db8:0:0:ffff::1', 0));
  t.false(leaves('2001:db8:0:1::1', 0), 'another network');
  t.false(leaves('2001:db8::1', 1_000), 'one a second');
  t.true(leaves('2001:db8::1', 1_000));
});

test('a refusal is counted each time, and logged once a second with how many there were', (t) => {
  const lines: object[] = [];
  const logger = { ...silentLogger, warn: (fields: object) => void lines.push(fields) };
  let nowMs = 0;
  const refusals = new Refusals(logger, () => nowMs);
  for (; nowMs < 2_000; nowMs += 1) refusals.add('tls', { from: 'x' });
  t.is(refusals.counts.tls, 2_000);
  t.deepEqual(lines, [
    { reason: 'tls', from: 'x' },
    { reason: 'tls', from: 'x', unlogged: 999 },
  ]);
});

test('a reason fits into a close frame, whatever its characters', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
      const reason = closeReason(text);
      return Buffer.byteLength(reason) <= 123 && text.startsWith(reason);
    }),
  );
  t.is(closeReason('я'.repeat(100)), 'я'.repeat(61));
});

test('what a node says of its machine must make sense to others', (t) => {
  const good = description('a1');
  const problem = (more: Partial<typeof good>, from?: string) =>
    descriptionProblem({ ...good, ...more }, from);
  t.is(problem({}), undefined);
  t.is(problem({ address: '2001:db8::1', localSubnets: ['10.0.0.0/8', 'fd00::/64'] }), undefined);
  t.is(problem({ address: '127.0.0.1' }, '127.0.0.1'), undefined);
  t.regex(problem({ address: '127.0.0.1' }, '10.0.0.9') ?? '', /one machine only/);
  t.regex(problem({ address: 'a.b' }) ?? '', /no IP address/);
  t.regex(problem({ address: '255.255.255.255' }) ?? '', /no node can have/);
  t.regex(problem({ address: '239.0.0.1' }) ?? '', /no node can have/);
  t.regex(problem({ hostname: 'a\nb' }) ?? '', /host name/);
  t.regex(problem({ hostname: '' }) ?? '', /host name/);
  for (const subnet of ['', '10.0.0.0', '10.0.0.0/33', '0.0.0.0/0', '10.0.0/8', 'x/8'])
    t.regex(problem({ localSubnets: [subnet] }) ?? '', /ADDRESS\/BITS/, subnet);
});
