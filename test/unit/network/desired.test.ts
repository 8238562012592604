import test from 'ava';
import fc from 'fast-check';
import { advertisedDevices } from '../../../agent/network/desired-host6.ts';
import { type DesiredState, desiredState } from '../../../agent/network/desired.ts';
import { type Family, familiesOf, inFamily, IPV4, IPV6, tableIn } from '../../../agent/network/family.ts';
import type { Self } from '../../../agent/network/local.ts';
import { diffScope, isEmpty, type ScopeDiff } from '../../../agent/network/diff.ts';
import { fingerprintOf, type KernelObject, type Scope } from '../../../agent/network/kernel-object.ts';
import { uplinkName } from '../../../agent/network/names.ts';
import { makePlan } from '../../../agent/network/plan.ts';
import { assignmentsOf, type World } from '../../cluster/network-model.ts';
import { KernelModel } from './kernel-model.ts';
import type { EndpointAssignment, ServiceAssignment } from '../../../shared/model/index.ts';
import { NODE_WITHOUT_IPV6, SELF, selfWith, worlds } from './worlds.ts';

function selfIn(world: World): Self {
  const set = assignmentsOf(world, SELF);
  const attached = [...set.tasks.values()].filter((task) => task.desired === 'running');
  return selfWith(attached);
}

function desiredIn(world: World): DesiredState {
  return desiredState(assignmentsOf(world, SELF), selfIn(world));
}

/** In one order, so that two can be compared. */
function prints(scope: Scope): Map<string, string> {
  return new Map([...scope].map(([key, object]): [string, string] => [key, fingerprintOf(object)]).sort());
}

function carryOut(kernel: KernelModel, diff: ScopeDiff): void {
  for (const ops of [diff.before, diff.fromHost, diff.sysctls, diff.links, diff.rest])
    ops.forEach((op) => kernel.run(op));
}

/** A scope with what other scopes or attaching put there. */
function withForeignVeths(scope: Scope): Map<string, KernelObject> {
  return new Map([...scope].filter(([, object]) => object.type === 'veth'));
}

/** Sysctls are never taken back: the last value stays. */
function withoutSysctls(scope: Map<string, string>): Map<string, string> {
  return new Map([...scope].filter(([key]) => !key.startsWith('sysctl')));
}

test('invariant 7: from any state of a sandbox to any other, and then nothing is left to do', (t) => {
  fc.assert(
    fc.property(worlds, worlds, (before, after) => {
      const [old, next] = [desiredIn(before), desiredIn(after)];
      for (const [id, sandbox] of next.sandboxes) {
        const now = old.sandboxes.get(id)?.objects ?? withForeignVeths(sandbox.objects);
        const start = new Map([...withForeignVeths(sandbox.objects), ...now]);
        const kernel = new KernelModel(start);
        carryOut(kernel, diffScope(start, sandbox.objects, sandbox.netns));
        // a fast path is made with its device only: which had none stays without
        const possible = new Map(
          [...sandbox.objects].filter(([key, { type }]) => type !== 'fast-path' || start.has(key)),
        );
        t.deepEqual(withoutSysctls(prints(kernel.objects)), withoutSysctls(prints(possible)));
        t.true(isEmpty(diffScope(kernel.objects, sandbox.objects, sandbox.netns)));
      }
    }),
    { numRuns: 200 },
  );
});

test('the same for the host, whose uplinks are made by the way', (t) => {
  fc.assert(
    fc.property(worlds, worlds, (before, after) => {
      const [old, next] = [desiredIn(before).host, desiredIn(after).host];
      const kernel = new KernelModel(old);
      const diff = diffScope(old, next, '');
      for (const ops of [diff.before, diff.links, diff.sysctls, diff.rest])
        ops.forEach((op) => kernel.run(op));
      t.deepEqual(withoutSysctls(prints(kernel.objects)), withoutSysctls(prints(next)));
    }),
    { numRuns: 200 },
  );
});

test('a plan for what is already there is empty', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const desired = desiredIn(world);
      const observed = {
        host: desired.host,
        sandboxes: new Map([...desired.sandboxes.values()].map(({ vni, objects }) => [vni, objects])),
      };
      const plan = makePlan(observed, desired, 'p', String);
      t.deepEqual(plan, { batches: [], created: [], removed: [] });
    }),
  );
});

test('an uplink that is made anew with its sandbox is given its settings again', (t) => {
  const desired = desiredIn(fc.sample(worlds, { seed: 7, numRuns: 50 }).find(hasUplink) ?? fail());
  const { host } = desired;
  const settings = [...host.values()].flatMap((object) =>
    object.type === 'sysctl' && object.path.includes('/su') ? [object.path] : [],
  );
  const plan = makePlan({ host, sandboxes: new Map() }, desired, 'p', String);
  const written = plan.batches.flatMap(({ ops }) => ops.map(({ path }) => path));
  t.true(settings.length > 0);
  for (const path of settings) t.true(written.includes(path), path);
});

test('a tunnel and an uplink that have other names now are made anew at once', (t) => {
  const desired = desiredIn(fc.sample(worlds, { seed: 7, numRuns: 50 }).find(hasUplink) ?? fail());
  const { host } = desired;
  let seen = 0;
  for (const { vni, netns, objects } of desired.sandboxes.values()) {
    const [tunnel, uplink] = [objects.get('link vx0'), objects.get('link up0')];
    if (tunnel?.type !== 'vxlan' || uplink?.type !== 'veth') continue;
    seen += 1;
    const now = new Map(objects);
    for (const link of [tunnel, uplink]) {
      now.delete(`link ${link.name}`);
      now.set(`link strayed-${link.name}`, { ...link, name: `strayed-${link.name}` });
    }
    const others = [...desired.sandboxes.values()].map((one) => [one.vni, one.objects] as const);
    const observed = { host, sandboxes: new Map([...others, [vni, now]]) };
    const ops = makePlan(observed, desired, 'p', String).batches.flatMap((batch) =>
      batch.ops.flatMap(({ op, name }) => (/^link-(add|del)$/.test(op) ? [`${op} ${String(name)}`] : [])),
    );
    const name = uplinkName('p', vni);
    for (const [first, then] of [
      ['link-del strayed-vx0', 'link-add vx0'],
      [`link-del ${name}`, `link-add ${name}`],
    ] as const)
      t.true(ops.includes(first) && ops.indexOf(first) < ops.indexOf(then), `${netns}: ${ops.join()}`);
  }
  t.true(seen > 0);
});

function hasUplink(world: Parameters<typeof desiredIn>[0]): boolean {
  return [...desiredIn(world).host.values()].some(({ type }) => type === 'veth');
}

test('a VIP and a published port lead to serving endpoints, and to all of them', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const set = assignmentsOf(world, SELF);
      const desired = desiredIn(world);
      for (const service of set.services.values()) {
        const servingOf = (
          { networkId, serviceId, name }: ServiceAssignment,
          may: (one: EndpointAssignment) => boolean = () => true,
        ): string[] => {
          const of = (id: string): string[] =>
            [...set.endpoints.values()]
              .filter((e) => e.networkId === networkId && e.serviceId === id && e.serving && may(e))
              .filter((e) => e.local !== true || e.nodeId === SELF)
              .map((e) => e.address);
          const own = of(serviceId);
          const canaries = [...set.services.values()].filter(
            (one) => one.networkId === networkId && one.canary?.of === name,
          );
          const others = own.length === 0 ? [] : canaries.flatMap((one) => of(one.serviceId));
          return [...new Set([...own, ...others])].sort();
        };
        const serving = servingOf(service);
        const sandbox = desired.sandboxes.get(service.networkId);
        if (sandbox !== undefined && service.vip !== undefined) {
          const network = set.networks.get(service.networkId) ?? fail();
          for (const family of familiesOf(network)) {
            const [vip = ''] = inFamily(family, network, [service.vip]);
            const own = inFamily(family, network, serving).toSorted();
            t.deepEqual(backendsOf(sandbox.objects, family.table, 'vip_choices', 'backends', vip), own);
          }
        }
        for (const publishedPort of new Set(service.ports.map((port) => port.publishedPort))) {
          for (const [family, wildcard, bound] of [
            [IPV4, '0.0.0.0', ['127.0.0.1', '192.0.2.7']],
            [IPV6, '::', ['::1']],
          ] as const) {
            // The second node's agent does not say that it has IPv6.
            const may = family === IPV4 ? serving : servingOf(service, (e) => e.nodeId !== NODE_WITHOUT_IPV6);
            const targets = (...hostIps: (string | undefined)[]): string[] => {
              const port = service.ports.find((one) => hostIps.includes(one.hostIp));
              if (port === undefined) return [];
              const network = set.networks.get('ingress') ?? fail();
              return inFamily(family, network, may)
                .map((address) => `${address} . ${port.targetPort}`)
                .toSorted();
            };
            const table = tableIn(family, 'shoal-p');
            t.deepEqual(
              backendsOf(desired.host, table, 'tcp_ports', 'tcp_backends', String(publishedPort)),
              targets(undefined, wildcard),
            );
            for (const address of bound) {
              const key = `${address} . ${publishedPort}`;
              t.deepEqual(
                backendsOf(desired.host, table, 'tcp_bound', 'tcp_bound_backends', key),
                targets(address),
              );
            }
          }
        }
      }
    }),
    { numRuns: 200 },
  );
});

test('what a sandbox leads to chains does not grow with its VIPs: the kernel goes through that with each change', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      for (const { objects } of desiredIn(world).sandboxes.values()) {
        const led = [...objects.values()].flatMap((object) =>
          object.type === 'element' && object.value?.startsWith('goto ') === true ? [object] : [],
        );
        for (const { set } of led) t.true(set === 'choices' || set === 'guarded', set);
        const chosen = led
          .filter(({ set }) => set === 'choices')
          .map(({ table, value }) => `${table} ${value}`);
        t.is(new Set(chosen).size, chosen.length, 'a number for each chain');
      }
    }),
  );
});

/** Where an address or port is led to: the chain that its element leads to must choose among as many slots as there are. */
function backendsOf(scope: Scope, table: string, set: string, backends: string, subject: string): string[] {
  const slots = [...scope.values()].flatMap((object) =>
    object.type === 'element' &&
    object.table === table &&
    object.set === backends &&
    object.key.startsWith(`${subject} . `)
      ? [object]
      : [],
  );
  const element = scope.get(`element ${table} ${set} ${subject}`);
  if (element?.type !== 'element') return slots.map((slot) => `not reached: ${slot.key}`);
  const led = set === 'vip_choices' ? scope.get(`element ${table} choices ${element.value}`) : element;
  const verdict = led?.type === 'element' ? led.value : undefined;
  const rules = scope.get(`chain ${table} ${verdict?.replace('goto ', '')}`);
  const text = rules?.type === 'chain' ? (rules.rules ?? []).join() : '';
  const size = Number(/ mod (\d+) /.exec(text)?.[1]);
  const keys = slots.map((slot) => slot.key).toSorted();
  const expected = Array.from({ length: size }, (_, slot) => `${subject} . ${slot}`).toSorted();
  if (keys.join() !== expected.join()) return [`${keys.join()} for ${text}`];
  return [...new Set(slots.map((slot) => slot.value ?? ''))].toSorted();
}

test('an internal network has no uplink; a network without tasks here has no sandbox', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const set = assignmentsOf(world, SELF);
      const desired = desiredIn(world);
      t.false(desired.sandboxes.get('back')?.objects.has('link up0') ?? false);
      const local = [...set.tasks.values()].filter((task) => task.desired !== 'shutdown');
      for (const id of ['front', 'back']) {
        t.is(
          desired.sandboxes.has(id),
          local.some((task) => task.addresses.some((a) => a.network === id)),
        );
      }
    }),
  );
});

test('IPv6 has the chains, sets and elements of IPv4 but for the name server and the way out, or is off', (t) => {
  let seen = 0;
  const shape = (scope: Scope, family: Family): string[] =>
    [...scope.values()]
      .flatMap((one) => {
        if (one.type !== 'element' && one.type !== 'chain' && one.type !== 'set') return [];
        if (one.table !== family.table) return [];
        if (one.type === 'element')
          return [`${one.set} ${one.value?.startsWith('goto') === true ? one.value : ''}`];
        const size = one.type === 'chain' ? one.marks.length : 0;
        return [`${one.type} ${one.name} ${/^(leave|own_address)$/.test(one.name) ? '' : size}`];
      })
      .filter((text) => !/^(chain (no_answer|questions)|set asking) /.test(text))
      .toSorted();
  fc.assert(
    fc.property(worlds, (world) => {
      const set = assignmentsOf(world, SELF);
      for (const { networkId, objects } of desiredIn(world).sandboxes.values()) {
        const network = set.networks.get(networkId) ?? fail();
        const off = objects.get('sysctl ipv6/conf/all/disable_ipv6');
        t.is(off?.type === 'sysctl' && off.value, network.subnet6 === undefined ? '1' : '0');
        t.is(objects.has(`table ${IPV6.table}`), network.subnet6 !== undefined);
        if (network.subnet6 === undefined) {
          t.false([...objects.values()].some((one) => one.type === 'address' && one.address.includes(':')));
          continue;
        }
        seen += 1;
        t.deepEqual(shape(objects, IPV6), shape(objects, IPV4));
      }
    }),
    { numRuns: 200 },
  );
  t.true(seen > 50);
});

test('a host that begins to forward goes on taking router advertisements, and one that does already is left alone', (t) => {
  const read = {
    'ipv6/conf/all/forwarding': '0',
    'ipv6/conf/all/accept_ra': '1',
    'ipv6/conf/default/accept_ra': '1',
    'ipv6/conf/eth0/accept_ra': '1',
    'ipv6/conf/eth1/accept_ra': '0',
    'ipv6/conf/eth2/accept_ra': '2',
  };
  const advertised = advertisedDevices(read);
  t.deepEqual(advertised, ['eth0']);
  t.deepEqual(advertisedDevices({ ...read, 'ipv6/conf/all/forwarding': '1' }), []);
  const world = fc
    .sample(worlds, { seed: 5, numRuns: 200 })
    .find((one) => desiredIn(one).host.has('table ip6 shoal-p'));
  if (world === undefined) return t.fail();
  const { host } = desiredState(assignmentsOf(world, SELF), { ...selfIn(world), advertised });
  const { sysctls, rest } = diffScope(new Map(), host, '');
  const written = [...sysctls, ...rest].flatMap(({ op, path, value }) =>
    op === 'sysctl' && /all\/forwarding|eth/.test(String(path)) ? [`${String(path)}=${String(value)}`] : [],
  );
  // The other way round the kernel drops the routes that it was told.
  t.deepEqual(written, ['ipv6/conf/eth0/accept_ra=2', 'ipv6/conf/all/forwarding=1']);
});

test('a network of the driver bridge: no tunnel, the wire’s full MTU, a way out, and nothing of other nodes', (t) => {
  fc.assert(
    fc.property(worlds, (world) => {
      const set = assignmentsOf(world, SELF);
      const objects = [...(desiredIn(world).sandboxes.get('node')?.objects.values() ?? [])];
      t.false(objects.some((object) => object.type === 'vxlan' || object.type === 'fdb'));
      t.is(objects.length === 0, !objects.some((object) => object.type === 'veth' && object.name === 'up0'));
      for (const object of objects) if (object.type === 'veth') t.is(object.mtu, 1500);
      const elsewhere = [...set.endpoints.values()].filter(
        (e) => e.networkId === 'node' && e.nodeId !== SELF,
      );
      for (const { address } of elsewhere)
        t.false(JSON.stringify(objects).includes(`${address}/32`), `${address} is on another node`);
    }),
    { numRuns: 200 },
  );
});

test('a change of the underlay address makes the tunnel anew, with all that hangs on it', (t) => {
  const world: World = {
    ...(fc.sample(worlds, { seed: 5, numRuns: 200 }).find((w) => desiredIn(w).sandboxes.has('front')) ??
      fail()),
  };
  const sandbox = desiredIn(world).sandboxes.get('front') ?? fail();
  const tunnel = sandbox.objects.get('link vx0');
  if (tunnel?.type !== 'vxlan') throw new Error('no tunnel');
  const old = new Map(sandbox.objects).set('link vx0', { ...tunnel, local: '192.0.2.1' });
  const diff = diffScope(old, sandbox.objects, sandbox.netns);
  t.deepEqual(diff.before, [{ op: 'link-del', name: 'vx0' }]);
  const kernel = new KernelModel(old);
  carryOut(kernel, diff);
  t.deepEqual(withoutSysctls(prints(kernel.objects)), withoutSysctls(prints(sandbox.objects)));
});

function fail(): never {
  throw new Error('no such world');
}
