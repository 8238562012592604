/**
 * What two agents would do for one encrypted network while the key of the first is replaced, as files that the virtual
 * machine carries out (native/test/vm-wireguard.c): there is no Node in it, and these plans are pure.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { attachPlan } from '../../agent/network/attach.ts';
import { desiredState } from '../../agent/network/desired.ts';
import type { Scope } from '../../agent/network/kernel-object.ts';
import { SETTLE_MS } from '../../agent/network/key-rotation.ts';
import type { Self, Wire } from '../../agent/network/local.ts';
import { prefixOf, sandboxName, wireName } from '../../agent/network/names.ts';
import { type Batch, makePlan, type ObservedState } from '../../agent/network/plan.ts';
import { TunnelKeys } from '../../agent/network/tunnel-keys.ts';
import type { PeerAssignment } from '../../shared/model/index.ts';
import { assignmentsOf, network, type World } from '../cluster/network-model.ts';
import { silentLogger } from '../harness/silent-logger.ts';

const NODES = { a: 'nodeaaaaaaaaaaaaaaaaaaaaa', b: 'nodebbbbbbbbbbbbbbbbbbbbb' } as const;
type Name = keyof typeof NODES;
const DAY_MS = 24 * 3600 * 1000;
const VNI = 0x1001;

export interface WireGuardPlans {
  /** By the path that they have in the machine. */
  readonly files: ReadonlyMap<string, string>;
  /** What each host's own namespace should hold at the end. */
  readonly hosts: Readonly<Record<Name, Scope>>;
  readonly prefixes: Readonly<Record<Name, string>>;
}

interface Moment {
  readonly wires: Readonly<Record<Name, Wire>>;
  readonly peers: readonly PeerAssignment[];
}

export async function wireGuardPlans(dir: string): Promise<WireGuardPlans> {
  const { moments, keys } = await momentsOfAll();
  const files = new Map(Object.entries(keys).map(([name, text]) => [`${dir}/${name}`, text]));
  const hosts = {} as Record<Name, Scope>;
  const prefixes = { a: prefixOf('vm', NODES.a), b: prefixOf('vm', NODES.b) };
  const put = (name: string, batches: readonly Batch[]): void => {
    files.set(`${dir}/${name}.json`, JSON.stringify(batches));
  };
  for (const name of ['a', 'b'] as const) {
    let now: ObservedState = { host: new Map(), sandboxes: new Map() };
    for (const [step, moment] of moments.entries()) {
      const self = selfOf(name, moment, step > 0, dir);
      const set = assignmentsOf(worldOf(moment), NODES[name]);
      const next = desiredState(set, self);
      const pathOf = (vni: number): string => `/run/netns/${sandboxName(self.prefix, vni)}`;
      put(`${name}${step}`, makePlan(now, next, self.prefix, pathOf).batches);
      const [task] = set.tasks.values();
      if (step === 0 && task !== undefined) {
        put(`attach-${name}`, attachPlan(task, set, self, `/run/netns/task-${name}`).batches);
        const attached = desiredState(set, selfOf(name, moment, true, dir));
        const dev = wireName(self.prefix, 0);
        const broken = new Map(
          [...attached.host].filter(
            ([key, object]) => key !== `link ${dev}` && !('dev' in object && object.dev === dev),
          ),
        );
        put(`break-${name}`, [{ netns: null, ops: [{ op: 'link-del', name: dev }] }]);
        now = observedOf(attached);
        put(`mend-${name}`, makePlan({ ...now, host: broken }, attached, self.prefix, pathOf).batches);
      } else now = observedOf(next);
      hosts[name] = next.host;
    }
  }
  return { files, hosts, prefixes };
}

function observedOf(state: ReturnType<typeof desiredState>): ObservedState {
  const sandboxes = new Map([...state.sandboxes.values()].map(({ vni, objects }) => [vni, objects]));
  return { host: state.host, sandboxes };
}

function selfOf(name: Name, { wires }: Moment, isAttached: boolean, dir: string): Self {
  const nodeId = NODES[name];
  const wire = wires[name];
  const [task] = assignmentsOf(worldOf({ wires, peers: [] }), nodeId).tasks.values();
  return {
    nodeId,
    prefix: prefixOf('vm', nodeId),
    mtu: 1450,
    vxlanPort: 4789,
    wire: {
      ...wire,
      keys: wire.keys.map((key) => ({ ...key, keyFile: `/${dir}/${name}-${key.slot}.key` })),
    },
    netnsDir: '/run/netns',
    uplinkSlots: new Map([['secret', 1]]),
    attached: new Map(isAttached && task !== undefined ? [[task.taskId, task]] : []),
    ended: new Set(),
    localRevision: isAttached ? 1 : 0,
  };
}

function worldOf({ peers }: Moment): World {
  return {
    peers: [...peers],
    networks: [network('secret', VNI, '10.7.0', { encrypted: true, subnet6: 'fd00:7::/64' })],
    services: [{ name: 'web', aliases: [], vips: {}, networks: ['secret'], meshPorts: [], hostPorts: [] }],
    tasks: (['a', 'b'] as const).map((name, index) => ({
      taskId: `task${name}yyyyyyyyyyyyyyyyyyyy`,
      service: 'web',
      node: NODES[name],
      slot: index + 1,
      addresses: { secret: `10.7.0.${10 + index}` },
      serving: true,
      desired: 'running',
    })),
  };
}

/** The two nodes' real keys, and how they are through a replacement of the first one's. */
async function momentsOfAll(): Promise<{ moments: Moment[]; keys: Record<string, string> }> {
  const dir = await mkdtemp(path.join(tmpdir(), 'shoal-keys-'));
  try {
    let nowMs = 1_000_000;
    const open = (name: Name): Promise<TunnelKeys> =>
      TunnelKeys.open({
        dir: path.join(dir, name),
        nodeId: NODES[name],
        port: 51_831,
        clock: { now: () => nowMs },
        logger: silentLogger,
      });
    const [a, b] = [await open('a'), await open('b')];
    const moments: Moment[] = [];
    const keys: Record<string, string> = {};
    const note = async (): Promise<void> => {
      moments.push({ wires: { a: a.wire, b: b.wire }, peers: [peerOf('a', a), peerOf('b', b)] });
      for (const [name, { wire }] of Object.entries({ a, b }))
        for (const key of wire.keys) keys[`${name}-${key.slot}.key`] = await readFile(key.keyFile, 'utf8');
    };
    await note();
    for (nowMs += DAY_MS; moments.length < 4; ) {
      a.heard(a.published);
      if (!(await a.step(performance.now() + SETTLE_MS))) throw new Error('no step was due');
      await note();
    }
    return { moments, keys };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function peerOf(name: Name, keys: TunnelKeys): PeerAssignment {
  const index = name === 'a' ? 1 : 2;
  return {
    nodeId: NODES[name],
    hostname: name,
    index,
    address: `192.0.2.${index}`,
    tunnelKeys: keys.published,
  };
}
