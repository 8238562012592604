import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { desiredState } from '../../../agent/network/desired.ts';
import {
  type KeyState,
  nextStep,
  REPLACE_AFTER_MS,
  SETTLE_MS,
  stateAfter,
} from '../../../agent/network/key-rotation.ts';
import { hasWireGuard } from '../../../agent/native/network.ts';
import { prefixInName, prefixOf, wireTable } from '../../../agent/network/names.ts';
import { makePlan, type ObservedState } from '../../../agent/network/plan.ts';
import { TunnelKeys } from '../../../agent/network/tunnel-keys.ts';
import { isWire, tunnelAddress } from '../../../agent/network/wire.ts';
import { silentLogger } from '../../harness/silent-logger.ts';
import { assignmentsOf } from '../../cluster/network-model.ts';
import { SELF, selfWith, worlds } from './worlds.ts';

test('what an encrypted network sends goes to tunnel addresses of nodes with keys, and nowhere without WireGuard', (t) => {
  let sent = 0;
  fc.assert(
    fc.property(worlds, fc.boolean(), (world, hasIt) => {
      const set = assignmentsOf(world, SELF);
      const { wire, ...bare } = selfWith([]);
      const { sandboxes } = desiredState(set, hasIt && wire !== undefined ? { ...bare, wire } : bare);
      const objects = [...(sandboxes.get('back')?.objects.values() ?? [])];
      const tunnels = objects.filter((one) => one.type === 'vxlan');
      const targets = objects.flatMap((one) => (one.type === 'fdb' ? [one.dst] : []));
      const ends = [...set.peers.values()].flatMap(({ index, tunnelKeys }) =>
        tunnelKeys === undefined ? [] : [tunnelAddress(index, tunnelKeys.active)],
      );
      t.deepEqual(
        targets.filter((dst) => !ends.includes(dst)),
        [],
      );
      t.true(tunnels.every((one) => one.port === 4790 && one.local === undefined && one.mtu === 1370));
      t.true(objects.every((one) => one.type !== 'veth' || one.mtu === 1370));
      if (!hasIt) t.is(tunnels.length + targets.length, 0);
      sent += targets.length;
    }),
    { numRuns: 600 },
  );
  t.true(sent > 0, 'some of them send');
});

test('encryption is there before what needs it, and goes after it', (t) => {
  let both = 0;
  fc.assert(
    fc.property(worlds, (world) => {
      const desired = desiredState(assignmentsOf(world, SELF), selfWith([]));
      const nothing: ObservedState = { host: new Map(), sandboxes: new Map() };
      const all: ObservedState = {
        host: desired.host,
        sandboxes: new Map([...desired.sandboxes.values()].map(({ vni, objects }) => [vni, objects])),
      };
      const come = makePlan(nothing, desired, 'p', String).batches;
      const go = makePlan(all, { host: new Map(), sandboxes: new Map() }, 'p', String).batches;
      const isEncrypted = [...desired.host.values()].some((object) => isWire(object, 'p'));
      t.is(isEncrypted, desired.sandboxes.has('back'));
      if (!isEncrypted) return;
      both += 1;
      const concerns = (ops: readonly object[]): boolean => /wireguard|-wire/.test(JSON.stringify(ops));
      const isOf = ({ ops }: { readonly ops: readonly object[] }): boolean => concerns(ops);
      t.deepEqual(come.map(isOf), [true, ...come.slice(1).map(() => false)]);
      t.deepEqual(go.map(isOf), [...go.slice(1).map(() => false), true]);
    }),
    { numRuns: 200 },
  );
  t.true(both > 0);
});

test('a table of encryption is found again by its cluster', (t) => {
  const prefix = prefixOf('main', 'abcdefgh12345');
  t.is(prefixInName('main', wireTable(prefix)), prefix);
  t.is(prefixInName('other', wireTable(prefix)), undefined);
});

test('whatever the times: what others use is held here, before and after each step', (t) => {
  const moments = fc.array(
    fc.record({
      passesMs: fc.constantFrom(1000, SETTLE_MS / 2, SETTLE_MS, REPLACE_AFTER_MS, -2 * REPLACE_AFTER_MS),
      heardForMs: fc.option(fc.constantFrom(0, SETTLE_MS - 1, SETTLE_MS, 10 * SETTLE_MS), { nil: undefined }),
    }),
    { maxLength: 40 },
  );
  const taken = new Set<string>();
  fc.assert(
    fc.property(moments, (history) => {
      let nowMs = 0;
      let state: KeyState = { active: { slot: 0, madeAtMs: nowMs } };
      for (const { passesMs, heardForMs } of history) {
        nowMs += passesMs;
        const step = nextStep(state, nowMs, heardForMs);
        if (step === undefined) continue;
        taken.add(step);
        const after = stateAfter(state, step, nowMs);
        // Others send to what was active until they hear of this step.
        t.true(slotsOf(after).includes(state.active.slot));
        // And know already what is active from now on.
        t.true(slotsOf(state).includes(after.active.slot));
        t.is(new Set(slotsOf(after)).size, slotsOf(after).length);
        // Nothing that is in use is taken back, and no new key is used, until others had the time to hear of it.
        if (step !== 'make') t.true((heardForMs ?? -1) >= SETTLE_MS);
        state = after;
      }
    }),
    { numRuns: 300 },
  );
  t.deepEqual(taken, new Set(['make', 'activate', 'drop']));
});

function slotsOf({ active, next, old }: KeyState): number[] {
  return [active, next, old].flatMap((key) => (key === undefined ? [] : [key.slot]));
}

test('keys are made on the node, stay there, outlive a restart, and are replaced', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'shoal-keys-'));
  let nowMs = 1_000_000;
  const open = (nodeId = 'n1'): Promise<TunnelKeys> =>
    TunnelKeys.open({
      dir: path.join(dir, 'w'),
      nodeId,
      port: 51_831,
      clock: { now: () => nowMs },
      logger: silentLogger,
    });
  try {
    let keys = await open();
    const first = keys.published;
    t.deepEqual((await open()).published, first);
    t.is((await stat(path.join(dir, 'w'))).mode & 0o777, 0o700);
    for (const name of ['keys.json', 'slot-0.key'])
      t.is((await stat(path.join(dir, 'w', name))).mode & 0o777, 0o600);
    const secret = (await readFile(path.join(dir, 'w', 'slot-0.key'), 'utf8')).trim();
    t.is(Buffer.from(secret, 'base64').length, 32);
    t.false(JSON.stringify([keys.published, keys.wire]).includes(secret));

    nowMs += REPLACE_AFTER_MS;
    t.true(await keys.step());
    t.is(keys.published.active, 0);
    t.is(keys.published.keys.length, 2);
    keys.heard(first);
    t.false(await keys.step(performance.now() + SETTLE_MS), 'managers do not tell of the new one yet');
    keys = await open();
    keys.heard(keys.published);
    t.false(await keys.step(), 'not for long yet');
    t.true(await keys.step(performance.now() + SETTLE_MS));
    t.is(keys.wire.active, 1);
    keys.heard(keys.published);
    t.true(await keys.step(performance.now() + SETTLE_MS));
    t.deepEqual(
      keys.published.keys.map(({ slot }) => slot),
      [1],
    );
    t.not(keys.published.keys[0]?.publicKey, first.keys[0]?.publicKey);
    await t.throwsAsync(stat(path.join(dir, 'w', 'slot-0.key')), { code: 'ENOENT' });

    const other = (await open('n2')).published;
    t.not(
      other.keys[0]?.publicKey,
      keys.published.keys[0]?.publicKey,
      'those of a node that was here before',
    );

    await writeFile(path.join(dir, 'w', 'keys.json'), '{');
    await chmod(path.join(dir, 'w', 'keys.json'), 0o600);
    const anew = (await open()).published;
    t.deepEqual(anew.keys.length, 1);
    t.not(anew.keys[0]?.publicKey, other.keys[0]?.publicKey);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test('whether the kernel has WireGuard is known, not guessed', async (t) => {
  t.is(typeof (await hasWireGuard()), 'boolean');
});
