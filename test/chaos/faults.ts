/** What goes wrong, to whom, for how long; each fault knows how it ends. What is chosen follows from the seed alone. */
import { writeFile } from 'node:fs/promises';
import { signalProcess } from '../../deploy/local/proc.ts';
import type { Prng } from '../../shared/lib/prng.ts';
import { liveContainers } from '../harness/containers.ts';
import { etcdsOf } from '../harness/managers.ts';
import type { World, WorldManager, WorldNode } from './world.ts';

type Undo = () => Promise<void>;
const nothing: Undo = () => Promise.resolve();

const MANAGER_FAULTS = {
  /** SIGKILL; its supervisor starts it again. */
  'crash-manager': async ({ crash }) => {
    await crash();
    return nothing;
  },
  /** Manager and etcd at once, as if the machine had died. */
  'lose-manager': async ({ die, start }) => {
    await die();
    return async () => start();
  },
  'kill-etcd': async ({ stateDir }) => {
    for (const etcd of await etcdsOf(stateDir)) await signalProcess(etcd, 'SIGKILL');
    return nothing;
  },
  'stall-manager': async ({ pid }) => stop(pid()),
  'stall-etcd': async ({ stateDir }) => stop((await etcdsOf(stateDir))[0]?.pid),
  'cut-manager': async ({ setCable }) => {
    await setCable('down');
    return () => setCable('up');
  },
  'fill-disk': async ({ disk }) => {
    await disk.fill();
    return () => disk.empty();
  },
  /** Nothing can be written; the machine is then switched off and its disk is checked. */
  'break-disk': async ({ disk, die, start }) => {
    await disk.breakDown();
    return async () => {
      await die();
      await disk.mend();
      start();
    };
  },
  'skew-manager': async ({ clock }, offset) => {
    await writeFile(clock, offset);
    return () => writeFile(clock, '+0s');
  },
} as const satisfies Record<string, (manager: WorldManager, offset: string) => Promise<Undo>>;

const NODE_FAULTS = {
  'crash-agent': async ({ node }) => {
    await node.crash();
    return nothing;
  },
  'stop-agent': async ({ node }) => {
    await node.kill();
    return async () => node.start();
  },
  'stall-agent': async ({ node }) => stop(node.pid),
  'cut-node': async ({ node }) => {
    await node.partition();
    return () => node.heal();
  },
  'skew-agent': async ({ clock }, offset) => {
    await writeFile(clock, offset);
    return () => writeFile(clock, '+0s');
  },
  'fill-node-disk': async ({ disk }) => {
    await disk?.fill();
    return async () => disk?.empty();
  },
} as const satisfies Record<string, (node: WorldNode, offset: string) => Promise<Undo>>;

type ManagerFault = keyof typeof MANAGER_FAULTS;
type NodeFault = keyof typeof NODE_FAULTS;

export interface Fault {
  readonly kind: ManagerFault | NodeFault | 'kill-monitor';
  /** Of a manager or a node, by its number from 0. */
  readonly target: number;
  readonly forMs: number;
  readonly offset: string;
  /** Which of the containers that live then. */
  readonly which: number;
}

const KINDS = [
  ...(Object.keys(MANAGER_FAULTS) as ManagerFault[]),
  ...(Object.keys(NODE_FAULTS) as NodeFault[]),
  'kill-monitor',
] as const;

/** The first manager has no cable, only the last node has a disk. */
const TARGETS: Partial<Record<Fault['kind'], readonly number[]>> = {
  'cut-manager': [1, 2],
  'fill-node-disk': [2],
};

/** One to three, of any kind, each at another machine; they go on at the same time. */
export function chooseFaults(random: Prng): Fault[] {
  const machines = new Set<string>();
  const faults: Fault[] = [];
  for (let left = 1 + random.below(3); left > 0; left -= 1) {
    const kind = KINDS[random.below(KINDS.length)] ?? 'kill-monitor';
    const targets = TARGETS[kind] ?? [0, 1, 2];
    const target = targets[random.below(targets.length)] ?? 0;
    const fault = {
      kind,
      target,
      forMs: 300 + random.below(random.below(4) === 0 ? 12_000 : 4_000),
      offset: `${random.below(2) === 0 ? '-' : '+'}${1 + random.below(1_200)}s`,
      which: random.below(1_000),
    };
    const machine =
      kind === 'kill-monitor' ? kind : `${kind in MANAGER_FAULTS ? 'manager' : 'node'} ${target}`;
    if (!machines.has(machine)) faults.push(fault);
    machines.add(machine);
  }
  return faults;
}

/** Begins it; resolves with what ends it. */
export async function begin(fault: Fault, world: World): Promise<Undo> {
  const { kind, target, offset } = fault;
  if (kind === 'kill-monitor') return killMonitor(world, fault.which);
  const manager = world.managers[target];
  const node = world.nodes[target];
  if (kind in MANAGER_FAULTS && manager !== undefined)
    return MANAGER_FAULTS[kind as ManagerFault](manager, offset);
  if (node !== undefined) return NODE_FAULTS[kind as NodeFault](node, offset);
  throw new Error(`there is nobody for ${kind}`);
}

async function killMonitor({ swarm }: World, which: number): Promise<Undo> {
  const all = [...(await liveContainers(swarm.layout)).values()];
  const one = all[which % Math.max(1, all.length)];
  if (one !== undefined) send(one.monitorPid, 'SIGKILL');
  return nothing;
}

function stop(pid: number | undefined): Undo {
  if (pid === undefined) return nothing;
  send(pid, 'SIGSTOP');
  return async () => send(pid, 'SIGCONT');
}

/** It may have ended meanwhile. */
function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
