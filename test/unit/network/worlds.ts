/** Arbitrary small worlds: nodes, networks, services and tasks with their addresses. */
import fc from 'fast-check';
import type { Self, Wire } from '../../../agent/network/local.ts';
import type { FlowPlace } from '../../../agent/network/withdrawn.ts';
import type { AllowRule, TaskAssignment, TunnelKeys } from '../../../shared/model/index.ts';
import { network, type World } from '../../cluster/network-model.ts';

const NODES = ['node0aaaaaaaaaaaaaaaaaaaa', 'node1bbbbbbbbbbbbbbbbbbbb', 'node2cccccccccccccccccccc'];
export const SELF = NODES[0] as string;
export const NODE_WITHOUT_IPV6 = NODES[1] as string;

/** Told apart by their letters; no keys. */
function keyOf(node: number, slot: number): string {
  return `${'ABC'[node]}${slot}`.padEnd(43, 'x').concat('=');
}

const WIRE: Wire = {
  port: 51_831,
  active: 0,
  keys: [{ slot: 0, publicKey: keyOf(0, 0), keyFile: '/slot-0.key' }],
};

/** What the kernel's side of the first node knows when these tasks are attached there. */
export function selfWith(tasks: readonly TaskAssignment[], localRevision = 0): Self {
  return {
    nodeId: SELF,
    prefix: 'p',
    mtu: 1450,
    vxlanPort: 4789,
    wire: WIRE,
    fastPath: true,
    netnsDir: '/run/netns',
    uplinkSlots: new Map([
      ['front', 1],
      ['ingress', 2],
      ['node', 3],
    ]),
    attached: new Map(tasks.map((task) => [task.taskId, task])),
    ended: new Set(),
    localRevision,
  };
}

/** A place of flows, with tables of both families, to which the kernel has seen none. */
export function flowPlace(more: Partial<FlowPlace>): FlowPlace {
  return {
    netns: more.networkId ?? null,
    networkId: '',
    table: 'shoal',
    families: ['ip', 'ip6'],
    seen: [],
    ...more,
  };
}

const anyone = fc.constantFrom(undefined, ['s0'], ['s1'], ['nobody', 's2'], ['nobody']);

/** Entries of allow-lists; mostly there are none. */
function rules(of: 'service' | 'network'): fc.Arbitrary<AllowRule[] | undefined> {
  const rule = fc
    .record({
      from: anyone,
      to: of === 'network' ? anyone : fc.constant(undefined),
      traffic: fc.constantFrom(
        {},
        { protocol: 'icmp' as const },
        { protocol: 'tcp' as const, ports: [80, 90] as const },
      ),
    })
    .map(({ from, to, traffic }) => ({
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
      ...traffic,
    }));
  return fc.option(fc.array(rule, { maxLength: 3 }), { nil: undefined, freq: 2 });
}

const NETWORKS = [
  network('front', 0x1001, '10.5.0', {
    moreSubnets: [{ subnet: '10.15.0.0/24', gateway: '10.15.0.1' }],
    subnet6: 'fd00:5::/64',
  }),
  network('back', 0x1002, '10.6.0', { internal: true, encrypted: true }),
  network('node', 0x1003, '10.7.0', { local: true, isolated: true, subnet6: 'fd00:7::/112' }),
  network('ingress', 0x1000, '10.0.0', { ingress: true, subnet6: 'fd00:10::/64' }),
];

const BASES: Readonly<Record<string, string>> = {
  front: '10.5.0',
  back: '10.6.0',
  node: '10.7.0',
  ingress: '10.0.0',
};

const service = (index: number) =>
  fc
    .record({
      networks: fc.subarray(['front', 'back', 'node', 'ingress'], { minLength: 1 }),
      vip: fc.boolean(),
      published: fc.boolean(),
      host: fc.boolean(),
      hostIps: fc.constantFrom(
        [undefined],
        [undefined],
        ['0.0.0.0'],
        ['::'],
        ['127.0.0.1', '::1'],
        ['::1', '0.0.0.0'],
        ['192.0.2.7', '127.0.0.1', '::'],
      ),
      balance: fc.constantFrom('random' as const, 'random' as const, 'source-hash' as const),
      allowFrom: rules('service'),
      canary: fc.option(
        fc.record({ of: fc.constantFrom('s0', 's1', 's9'), share: fc.constantFrom(50, 60) }),
        {
          nil: undefined,
          freq: 2,
        },
      ),
    })
    .map(({ networks, vip, published, host, hostIps, balance, allowFrom, canary }) => ({
      name: `s${index}`,
      aliases: [`alias${index % 2}`],
      balance,
      networks,
      ...(allowFrom === undefined ? {} : { allowFrom }),
      ...(canary === undefined || canary.of === `s${index}` ? {} : { canary }),
      vips: vip ? Object.fromEntries(networks.map((id) => [id, `${BASES[id]}.${200 + index}`])) : {},
      meshPorts: published
        ? hostIps.map((hostIp, i) => ({
            protocol: 'tcp' as const,
            publishedPort: 8000 + index,
            targetPort: 80 + i,
            ...(hostIp === undefined ? {} : { hostIp }),
          }))
        : [],
      hostPorts: host
        ? [{ protocol: 'udp' as const, publishedPort: 9000 + index, targetPort: 53, mode: 'host' as const }]
        : [],
    }));

const SERVICES = fc.tuple(service(0), service(1), service(2));

function tunnelKeysOf(node: number, kind: string | undefined): { tunnelKeys?: TunnelKeys } {
  if (kind === undefined || kind === 'none') return {};
  const slots = kind === 'one' ? ([0] as const) : ([0, 1] as const);
  const keys = slots.map((slot) => ({ slot, publicKey: keyOf(node, slot) }));
  return { tunnelKeys: { active: kind === 'old' ? 1 : 0, keys } };
}

export const worlds: fc.Arbitrary<World> = fc
  .tuple(
    SERVICES,
    fc.array(
      fc.record({
        service: fc.nat(2),
        node: fc.nat(2),
        serving: fc.boolean(),
        desired: fc.constantFrom('ready', 'running', 'shutdown'),
        address: fc.integer({ min: 10, max: 40 }),
      }),
      { maxLength: 8 },
    ),
    fc.integer({ min: 1, max: 3 }),
    rules('network'),
    fc.array(fc.constantFrom('none', 'one', 'next', 'old'), { minLength: 3, maxLength: 3 }),
  )
  .map(([services, tasks, nodes, allow, keys]) => ({
    peers: NODES.slice(0, nodes).map((nodeId, index) => ({
      nodeId,
      hostname: `h${index}`,
      index: index + 1,
      address: `10.99.0.${index + 1}`,
      ...(index === 1 ? {} : { ipv6: true as const }),
      ...tunnelKeysOf(index, keys[index]),
    })),
    networks: NETWORKS.map((one) => (one.ingress || allow === undefined ? one : { ...one, allow })),
    services,
    // An address belongs to one task; the id follows from it, so that a change of world moves or changes tasks.
    tasks: [...new Map(tasks.map((task) => [task.address, task])).values()].map((task) => {
      const of = services[task.service] ?? services[0];
      return {
        taskId: `task${task.address}yyyyyyyyyyyyyyyyyyy`,
        service: of.name,
        node: NODES[task.node % nodes] as string,
        slot: task.address,
        serving: task.serving,
        desired: task.desired,
        addresses: Object.fromEntries(of.networks.map((id) => [id, `${BASES[id]}.${task.address}`])),
      };
    }),
  }));
