/** A container that runs: from any interfaces to any others, and what stays is not touched. */
import test from 'ava';
import fc from 'fast-check';
import {
  containerObjects,
  defaultInterface,
  interfacesOf,
  outOf,
  wayOutOf,
} from '../../../agent/network/container-scope.ts';
import type { NetOp } from '../../../agent/network/diff.ts';
import { type KernelObject, MAIN_TABLE, scopeOf } from '../../../agent/network/kernel-object.ts';
import type { NamespaceDump } from '../../../agent/network/observe.ts';
import { rewirePlan } from '../../../agent/network/rewire.ts';
import type { PublishedPort, TaskAddress, TaskAssignment } from '../../../shared/model/index.ts';
import { assignmentsOf, network } from '../../cluster/network-model.ts';
import { KernelModel } from './kernel-model.ts';
import { SELF, selfWith } from './worlds.ts';

const NETNS = '/proc/7/ns/net';
const PROTOCOL = 183;
const NETWORKS = [
  network('front', 0x1001, '10.5.0', { subnet6: 'fd00:5::/64' }),
  network('back', 0x1002, '10.6.0', { internal: true, subnet6: 'fd00:6::/112' }),
  network('ingress', 0x1000, '10.0.0', { ingress: true }),
];

const set = assignmentsOf(
  {
    peers: [{ nodeId: SELF, hostname: 'h0', index: 1, address: '10.99.0.1' }],
    networks: NETWORKS,
    services: [
      {
        name: 's',
        aliases: [],
        vips: {},
        networks: ['front', 'back', 'ingress'],
        meshPorts: [],
        hostPorts: [],
      },
    ],
    tasks: [
      {
        taskId: 'task1yyyyyyyyyyyyyyyyyyyy',
        service: 's',
        node: SELF,
        slot: 1,
        serving: true,
        desired: 'running',
        addresses: { front: '10.5.0.9' },
      },
    ],
  },
  SELF,
);
const [BASE] = set.tasks.values();

function taskWith(addresses: readonly TaskAddress[]): TaskAssignment {
  return { ...(BASE as TaskAssignment), addresses };
}

/** Networks with an address each, on interfaces of different numbers. */
const wirings = fc
  .tuple(
    fc.shuffledSubarray(NETWORKS),
    fc.shuffledSubarray([0, 1, 2, 3], { minLength: 3 }),
    fc.integer({ min: 5, max: 7 }),
  )
  .map(([networks, devices, last]) =>
    networks.map(({ networkId, gateway }, index) => ({
      network: networkId,
      address: gateway.replace(/\.1$/, `.${last}`),
      device: devices[index] ?? 0,
    })),
  );

function inside(task: TaskAssignment): Map<string, KernelObject> {
  const interfaces = interfacesOf(task, set.networks);
  const links = interfaces.map(({ dev }): KernelObject => ({ type: 'veth', name: dev, mtu: 1450 }));
  return scopeOf([...links, ...containerObjects(interfaces, outOf(task))]);
}

/** What the kernel says of it, with what Shoal did not make. */
function dumpOf(objects: ReadonlyMap<string, KernelObject>): NamespaceDump {
  const all = [...objects.values()];
  const of = <T extends KernelObject['type']>(type: T) =>
    all.filter((object): object is Extract<KernelObject, { type: T }> => object.type === type);
  return {
    links: [
      { name: 'lo', up: true, mtu: 65_536 },
      ...of('veth').map(({ name, mtu }) => ({ name, mtu, up: true, kind: 'veth' })),
    ],
    addresses: [{ dev: 'lo', address: '127.0.0.1/8' }, ...of('address')],
    routes: of('route').map((route) => ({ onlink: false, ...route, protocol: PROTOCOL })),
    rules: [
      { priority: 0, table: 255, protocol: 2 },
      ...of('rule').map((rule) => ({ ...rule, protocol: PROTOCOL })),
    ],
    neighbours: [],
    fdb: [],
    rates: of('rate'),
    sysctls: Object.fromEntries(of('sysctl').map(({ path, value }) => [path, value])),
  };
}

test('from any interfaces to any others; what stays keeps its device, and then nothing is left to do', (t) => {
  fc.assert(
    fc.property(wirings, wirings, (before, after) => {
      const [from, to] = [taskWith(before), taskWith(after)];
      const model = new KernelModel(inside(from));
      const { batches } = rewirePlan(to, set, selfWith([from]), NETNS, dumpOf(model.objects));
      const removed: string[] = [];
      for (const { netns, ops } of batches) {
        for (const op of ops) {
          if (op.op === 'link-del') removed.push(String(op['name']));
          if (netns === NETNS) model.run(op);
          else if (op.op === 'link-add') model.run(farEnd(op));
        }
      }
      t.deepEqual(plain(model.objects), plain(inside(to)));
      const kept = before.filter((one) =>
        after.some((two) => two.device === one.device && two.address === one.address),
      );
      for (const { device } of kept) t.false(removed.includes(`eth${device}`), `eth${device} was cut`);
      const again = rewirePlan(to, set, selfWith([to]), NETNS, dumpOf(model.objects));
      t.deepEqual(
        again.batches.flatMap(({ ops }) => ops),
        [],
      );
    }),
    { numRuns: 300 },
  );
});

/** The container's end of what is made in a sandbox. */
function farEnd(op: NetOp): NetOp {
  const { name, mtu } = op['peer'] as { name: string; mtu: number };
  return { op: 'link-add', kind: 'veth', name, mtu };
}

function plain(objects: ReadonlyMap<string, KernelObject>): [string, unknown][] {
  return [...objects]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, object]) => [key, { ...object, mtu: 0 }]);
}

test('the way out: the first network that has one, unless priorities say which', (t) => {
  const extra = network('extra', 0x1003, '10.7.0');
  const networks = new Map([...set.networks, [extra.networkId, extra]]);
  const addresses = ['10.5.0.9', '10.6.0.9', '10.7.0.9', '10.0.0.9'].map((address) => {
    const { networkId } = [...networks.values()].find(({ gateway }) =>
      address.startsWith(gateway.replace(/1$/, '')),
    ) as { networkId: string };
    return { network: networkId, address };
  });
  const wayOut = (
    priorities: Readonly<Record<string, number>>,
    ports: readonly PublishedPort[] = [],
  ): string | undefined => {
    const attachments = addresses.map(({ network: id }) => ({
      network: id,
      aliases: [],
      wayOutPriority: priorities[networks.get(id)?.name ?? ''] ?? 0,
    }));
    const task = taskWith(addresses);
    const asked = { ...task, spec: { ...task.spec, networks: attachments, ports } };
    return wayOutOf(interfacesOf(asked, networks))?.network.name;
  };
  t.is(wayOut({}), 'front');
  t.is(wayOut({ extra: 1 }), 'extra');
  t.is(wayOut({ front: -1 }), 'extra');
  t.is(wayOut({ back: 9, ingress: 9 }), 'front', 'an internal network leads nowhere');
  const dns = [{ protocol: 'udp', publishedPort: 53, targetPort: 53, mode: 'ingress' }] as const;
  t.is(wayOut({}, dns), 'ingress', 'an answer to a datagram bears the address that was asked');
  t.is(wayOut({ extra: 1 }, dns), 'extra');
});

test('with a published SCTP port all leaves by ingress, as its answers must; names are asked where they were', (t) => {
  const addresses = [
    { network: 'front', address: '10.5.0.9' },
    { network: 'ingress', address: '10.0.0.9' },
  ];
  const task = taskWith(addresses);
  const gateways = (protocol: 'tcp' | 'sctp', mode: 'ingress' | 'host'): (string | undefined)[] => {
    const ports = [{ protocol, mode, targetPort: 7000, publishedPort: 8443 }];
    const interfaces = interfacesOf({ ...task, spec: { ...task.spec, ports } }, set.networks);
    const way = scopeOf(containerObjects(interfaces)).get(`route ${MAIN_TABLE} 0.0.0.0/0`);
    return [way?.type === 'route' ? way.via : undefined, defaultInterface(interfaces)?.network.gateway];
  };
  t.deepEqual(gateways('tcp', 'ingress'), ['10.5.0.1', '10.5.0.1']);
  t.deepEqual(gateways('sctp', 'host'), ['10.5.0.1', '10.5.0.1']);
  t.deepEqual(gateways('sctp', 'ingress'), ['10.0.0.1', '10.5.0.1']);
});
