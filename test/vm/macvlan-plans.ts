/**
 * What an agent would do for containers on networks of the driver macvlan, as files that the virtual machine carries out
 * (native/test/vm-macvlan.c): there is no Node in it, and these plans are pure.
 */
import { attachPlan } from '../../agent/network/attach.ts';
import { desiredState } from '../../agent/network/desired.ts';
import type { Scope } from '../../agent/network/kernel-object.ts';
import type { Self } from '../../agent/network/local.ts';
import { prefixOf, sandboxName } from '../../agent/network/names.ts';
import type { NamespaceDump } from '../../agent/network/observe.ts';
import { type Batch, makePlan } from '../../agent/network/plan.ts';
import { rewirePlan } from '../../agent/network/rewire.ts';
import type { OutsideNetwork, TaskAssignment } from '../../shared/model/index.ts';
import { assignmentsOf, network, type World } from '../cluster/network-model.ts';
import { EMPTY_DUMP } from '../harness/empty-dump.ts';

const NODE = 'nodemmmmmmmmmmmmmmmmmmmmm';
const PREFIX = prefixOf('vm', NODE);
const VLAN = 'eth1.50';
const TASKS = {
  one: '10.7.0.10',
  two: '10.7.0.11',
  tagged: '10.8.0.10',
  alone: '10.9.0.10',
  apart: '10.9.0.11',
};
type Name = keyof typeof TASKS;
const NAMES = Object.keys(TASKS) as Name[];

export interface MacvlanPlans {
  /** By the path that they have in the machine. */
  readonly files: ReadonlyMap<string, string>;
  /** What the host's own namespace should hold while the containers are there. */
  readonly host: Scope;
  readonly prefix: string;
}

export function macvlanPlans(dir: string): MacvlanPlans {
  const files = new Map<string, string>();
  const put = (name: string, batches: readonly Batch[]): void => {
    files.set(`${dir}/${name}.json`, JSON.stringify(batches));
  };
  const set = assignmentsOf(world(), NODE);
  const taskOf = (name: Name): TaskAssignment => {
    const task = [...set.tasks.values()].find(({ serviceName }) => serviceName === name);
    if (task === undefined) throw new Error(`no task ${name}`);
    return task;
  };
  const pathOf = (vni: number): string => `/run/netns/${sandboxName(PREFIX, vni)}`;
  const before = selfOf([]);
  put('setup', setup());
  put(
    'begin',
    makePlan({ host: new Map(), sandboxes: new Map() }, desiredState(set, before), PREFIX, pathOf).batches,
  );
  for (const name of NAMES)
    put(`attach-${name}`, attachPlan(taskOf(name), set, before, netnsOf(name)).batches);
  const self = selfOf(NAMES.map(taskOf), [VLAN]);
  const now = desiredState(set, self);
  const sandboxes = new Map([...now.sandboxes.values()].map(({ vni, objects }) => [vni, objects]));
  put('break', [{ netns: null, ops: [{ op: 'link-del', name: VLAN }] }]);
  put('mend', rewirePlan(taskOf('tagged'), set, selfOf(NAMES.map(taskOf)), netnsOf('tagged'), LEFT).batches);
  const nothing = { host: new Map(), sandboxes: new Map() };
  put('end', makePlan({ host: now.host, sandboxes }, nothing, PREFIX, pathOf).batches);
  return { files, host: now.host, prefix: PREFIX };
}

/** What a container has when the device below its interface went. */
const LEFT: NamespaceDump = {
  ...EMPTY_DUMP,
  links: [
    { name: 'lo', up: true, mtu: 65_536 },
    { name: 'dns0', up: true, mtu: 1500, kind: 'veth' },
  ],
};

function netnsOf(name: string): string {
  return `/run/netns/m-${name}`;
}

/** The host, and a machine on its LAN, which is the LAN's router too. */
function setup(): Batch[] {
  const [host, lan] = ['/run/netns/host-m', '/run/netns/lan-m'];
  const spaces = [host, lan, ...NAMES.map(netnsOf)];
  const address = (dev: string, text: string) => ({ op: 'addr-add', dev, address: text });
  const vlan = { op: 'link-add', kind: 'vlan', name: VLAN, link: 'eth1', id: 50, alias: 'the router' };
  return [
    { netns: null, ops: spaces.map((path) => ({ op: 'netns-add', path })) },
    ...spaces.map((netns) => ({ netns, ops: [{ op: 'link-set', name: 'lo', up: true }] })),
    {
      netns: host,
      ops: [
        {
          op: 'link-add',
          kind: 'veth',
          name: 'eth1',
          mtu: 1500,
          peer: { name: 'eth1', netns: lan, mtu: 1500 },
        },
      ],
    },
    {
      netns: lan,
      ops: [
        address('eth1', '10.7.0.254/24'),
        address('lo', '203.0.113.9/32'),
        vlan,
        address(VLAN, '10.8.0.254/24'),
      ],
    },
  ];
}

function selfOf(attached: readonly TaskAssignment[], ownVlans: readonly string[] = []): Self {
  return {
    nodeId: NODE,
    prefix: PREFIX,
    mtu: 1450,
    vxlanPort: 4789,
    netnsDir: '/run/netns',
    uplinkSlots: new Map(),
    attached: new Map(attached.map((task) => [task.taskId, task])),
    ended: new Set(),
    localRevision: attached.length,
    ownVlans: new Set(ownVlans),
    hostLinks: new Set(['lo', 'eth1', ...ownVlans]),
  };
}

function world(): World {
  const lan = (
    id: string,
    vni: number,
    base: string,
    parent: string,
    mode: 'bridge' | 'private' = 'bridge',
  ) => {
    const outside: OutsideNetwork = { kind: 'macvlan', parent, mode };
    return network(id, vni, base, { gateway: `${base}.254`, local: true, outside });
  };
  const networks = {
    lan: lan('lan', 0x2001, '10.7.0', 'eth1'),
    vlan: lan('vlan', 0x2002, '10.8.0', VLAN),
    private: lan('private', 0x2003, '10.9.0', 'eth1', 'private'),
  };
  const networkOf = (name: Name): string =>
    name === 'tagged' ? 'vlan' : name === 'alone' || name === 'apart' ? 'private' : 'lan';
  return {
    peers: [{ nodeId: NODE, hostname: 'm', index: 1, address: '192.0.2.1' }],
    networks: Object.values(networks),
    services: NAMES.map((name) => ({
      ...{ name, aliases: [], vips: {}, networks: [networkOf(name)], meshPorts: [], hostPorts: [] },
    })),
    tasks: NAMES.map((name) => ({
      taskId: `${name}yyyyyyyyyyyyyyyyyyyyyyyy`.slice(0, 25),
      service: name,
      node: NODE,
      slot: 1,
      addresses: { [networkOf(name)]: TASKS[name] },
      serving: true,
      desired: 'running',
    })),
  };
}
