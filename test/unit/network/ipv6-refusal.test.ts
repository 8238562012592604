/** Where a network can not have its IPv6, its tasks are not: they are not run without it. */
import test from 'ava';
import { desiredState } from '../../../agent/network/desired.ts';
import { requireTunnels, type Self } from '../../../agent/network/local.ts';
import { assignmentsOf, network } from '../../cluster/network-model.ts';
import { SELF, selfWith } from './worlds.ts';

const set = assignmentsOf(
  {
    peers: [{ nodeId: SELF, hostname: 'h0', index: 1, address: '10.99.0.1' }],
    networks: [network('front', 0x1001, '10.5.0', { subnet6: 'fd00:5::/64' })],
    services: [{ name: 's', aliases: [], vips: {}, networks: ['front'], meshPorts: [], hostPorts: [] }],
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
const [task] = set.tasks.values();

for (const [what, more, problem] of [
  ['a kernel without IPv6', { noIpv6: true }, /network front has IPv6, and this node's kernel has none/],
  [
    'an MTU below 1280',
    { mtu: 1279 },
    /front has IPv6, which needs an MTU of 1280: its MTU on this node is 1279/,
  ],
] as const) {
  test(`${what}: refused by name, and the node's sandbox is one of IPv4`, (t) => {
    const self: Self = { ...selfWith([]), ...more };
    if (task === undefined) return t.fail();
    t.throws(() => requireTunnels(task, set, self), { message: problem });
    const objects = [...(desiredState(set, self).sandboxes.get('front')?.objects.values() ?? [])];
    t.true(objects.length > 0);
    t.false(objects.some((one) => /fd00:|fe80:/.test(JSON.stringify(one))));
    t.notThrows(() => requireTunnels(task, set, selfWith([])));
  });
}
