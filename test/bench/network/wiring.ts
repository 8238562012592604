/**
 * What giving one container its interfaces costs, once its namespace is there. The peer, in the same run, is the least that a
 * script needs for one: a veth into another namespace with an address and a default route, by ip(8).
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { attachPlan } from '../../../agent/network/attach.ts';
import { portName, sandboxName } from '../../../agent/network/names.ts';
import { applyBatches } from '../../../agent/native/network.ts';
import type { NetworkAssignment, TaskAssignment } from '../../../shared/model/index.ts';
import { assignmentsOf, network } from '../../cluster/network-model.ts';
import { quantile, report } from '../report.ts';

const ROUNDS = 200;
const PEER_ROUNDS = 20;
const DIR = '/run/netns';
const PREFIX = 'bench-wiring00';
const CONTAINER = `${DIR}/shoal-bench-wired`;
const NETWORKS = [1, 2, 3].map((i) => network(`n${i}`, 0x1000 + i, `10.9.${i}`));

/** What a sandbox has already when a container comes to it. */
const FAST_PATH = [
  'add table netdev shoal',
  'add set netdev shoal translated { type ipv4_addr; size 4096; flags dynamic; }',
  'add map netdev shoal here { type ipv4_addr : iface_index; }',
  'add chain netdev shoal out',
].join('\n');

const run = promisify(execFile);
const sandboxes = NETWORKS.map(({ vni }) => `${DIR}/${sandboxName(PREFIX, vni)}`);

export async function benchWiring(): Promise<void> {
  for (const path of sandboxes)
    await applyBatches([
      { netns: null, ops: [{ op: 'netns-add', path }] },
      { netns: path, ops: [{ op: 'nft', commands: FAST_PATH }] },
    ]);
  try {
    const peer = await bareKernel();
    for (const count of [1, 3]) {
      const tookMs = await rounds(NETWORKS.slice(0, count));
      const shown = count === 1 ? peer : undefined;
      report(`wiring a container, networks ${count}`, quantile(tookMs, 0.5), shown, 'ms p50');
    }
  } finally {
    const gone = [CONTAINER, ...sandboxes].map((path) => ({ op: 'netns-del', path }));
    await applyBatches([{ netns: null, ops: gone }]);
  }
}

async function rounds(networks: readonly NetworkAssignment[]): Promise<number[]> {
  const tookMs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await applyBatches([{ netns: null, ops: [{ op: 'netns-add', path: CONTAINER }] }]);
    const { task, plan } = planFor(round, networks);
    const begin = performance.now();
    await applyBatches(plan.batches);
    tookMs.push(performance.now() - begin);
    const name = portName(task.taskId);
    const fast = [...plan.added.values()].flatMap((scope) => scope.get(`fast-path ${name}`) ?? []);
    const leaving = fast.map((object) => ({ op: 'fast-path-del', ...object }));
    await applyBatches(
      sandboxes.slice(0, networks.length).map((netns, at) => ({
        netns,
        ops: [...leaving.slice(at, at + 1), { op: 'link-del', name }],
      })),
    );
    await applyBatches([{ netns: null, ops: [{ op: 'netns-del', path: CONTAINER }] }]);
  }
  return tookMs;
}

function planFor(round: number, networks: readonly NetworkAssignment[]) {
  const taskId = `t${String(round).padStart(11, '0')}`;
  const address = (one: NetworkAssignment): string => one.gateway.replace(/1$/, String(5 + (round % 200)));
  const world = {
    peers: [],
    networks: [...networks],
    services: [
      {
        name: 's',
        aliases: [],
        vips: {},
        networks: networks.map((one) => one.networkId),
        meshPorts: [],
        hostPorts: [],
      },
    ],
    tasks: [
      {
        taskId,
        service: 's',
        node: 'n',
        slot: 1,
        serving: true,
        desired: 'running' as const,
        addresses: Object.fromEntries(networks.map((one) => [one.networkId, address(one)])),
      },
    ],
  };
  const set = assignmentsOf(world, 'n');
  const task = set.tasks.get(taskId) as TaskAssignment;
  const self = {
    nodeId: 'n',
    prefix: PREFIX,
    mtu: 1450,
    vxlanPort: 4789,
    fastPath: true,
    netnsDir: DIR,
    uplinkSlots: new Map(),
    attached: new Map(),
    localRevision: 0,
    ended: new Set<string>(),
  };
  return { task, plan: attachPlan(task, set, self, CONTAINER) };
}

/** Two processes of ip(8), as a script would have it. */
async function bareKernel(): Promise<number> {
  const tookMs: number[] = [];
  for (let round = 0; round < PEER_ROUNDS; round += 1) {
    await run('ip', ['netns', 'add', 'shoal-bench-wired']);
    const inside = [
      'ip addr add 10.9.1.9/24 dev eth0',
      'ip link set eth0 up',
      'ip route add default via 10.9.1.1',
    ];
    const begin = performance.now();
    await run('ip', [
      ...['-n', sandboxName(PREFIX, NETWORKS[0]?.vni ?? 0), 'link', 'add', 'cpeer', 'up', 'type', 'veth'],
      ...['peer', 'name', 'eth0', 'netns', 'shoal-bench-wired'],
    ]);
    await run('ip', ['netns', 'exec', 'shoal-bench-wired', 'sh', '-c', inside.join(' && ')]);
    tookMs.push(performance.now() - begin);
    await run('ip', ['netns', 'del', 'shoal-bench-wired']);
    await run('ip', ['-n', sandboxName(PREFIX, NETWORKS[0]?.vni ?? 0), 'link', 'del', 'cpeer']).catch(
      () => undefined,
    );
  }
  return quantile(tookMs, 0.5);
}
