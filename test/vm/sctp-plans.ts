/**
 * What two agents would do for a service with a published SCTP port, as files that the virtual machine carries out
 * (native/test/vm-sctp.c). The service's task is on b; a has a client, and is the node that is asked from outside.
 */
import { attachPlan } from '../../agent/network/attach.ts';
import { desiredState } from '../../agent/network/desired.ts';
import type { Self } from '../../agent/network/local.ts';
import { prefixOf, sandboxName } from '../../agent/network/names.ts';
import { makePlan } from '../../agent/network/plan.ts';
import { assignmentsOf, network, type World, type WorldTask } from '../cluster/network-model.ts';

const NODES = { a: 'nodeaaaaaaaaaaaaaaaaaaaaa', b: 'nodebbbbbbbbbbbbbbbbbbbbb' } as const;
type Name = keyof typeof NODES;

/** By the path that they have in the machine. */
export function sctpPlans(dir: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const name of ['a', 'b'] as const) {
    const self = selfOf(name);
    const set = assignmentsOf(WORLD, NODES[name]);
    const pathOf = (vni: number): string => `/run/netns/${sandboxName(self.prefix, vni)}`;
    const nothing = { host: new Map(), sandboxes: new Map() };
    const plan = makePlan(nothing, desiredState(set, self), self.prefix, pathOf);
    files.set(`${dir}/sctp-${name}.json`, JSON.stringify(plan.batches));
    for (const task of set.tasks.values()) {
      const { batches } = attachPlan(task, set, self, `/run/netns/sctp-task-${name}`);
      files.set(`${dir}/sctp-attach-${name}.json`, JSON.stringify(batches));
    }
  }
  return files;
}

function selfOf(name: Name): Self {
  return {
    nodeId: NODES[name],
    prefix: prefixOf('sctp', NODES[name]),
    mtu: 1450,
    vxlanPort: 4789,
    netnsDir: '/run/netns',
    uplinkSlots: new Map([
      ['front', 1],
      ['ingress', 2],
    ]),
    attached: new Map(),
    ended: new Set(),
    localRevision: 0,
  };
}

function taskOf(name: Name, service: string, addresses: WorldTask['addresses']): WorldTask {
  const taskId = `${service}${'y'.repeat(25)}`.slice(0, 25);
  return { taskId, service, node: NODES[name], slot: 1, addresses, serving: true, desired: 'running' };
}

const PORT = { protocol: 'sctp', publishedPort: 8443, targetPort: 7000 } as const;

const WORLD: World = {
  peers: (['a', 'b'] as const).map((name, i) => ({
    nodeId: NODES[name],
    hostname: name,
    index: i + 1,
    address: `192.0.2.${i + 1}`,
  })),
  networks: [network('front', 0x2001, '10.8.0'), network('ingress', 0x2000, '10.0.0', { ingress: true })],
  services: [
    {
      name: 'web',
      aliases: [],
      networks: ['front', 'ingress'],
      vips: { front: '10.8.0.200' },
      meshPorts: [PORT],
      hostPorts: [{ ...PORT, mode: 'ingress' }],
    },
    { name: 'client', aliases: [], networks: ['front'], vips: {}, meshPorts: [], hostPorts: [] },
  ],
  tasks: [
    taskOf('a', 'client', { front: '10.8.0.10' }),
    taskOf('b', 'web', { front: '10.8.0.11', ingress: '10.0.0.11' }),
  ],
};
