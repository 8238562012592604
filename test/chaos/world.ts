/** Three managers and three nodes, each with a clock that can be moved, most with a disk that can be filled and broken. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ApiClient } from '../../deploy/cli/client.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { movableClock } from '../harness/disturb.ts';
import type { TestNode } from '../harness/test-node.ts';
import { Disk } from './disks.ts';

const NAMES = ['m1', 'm2', 'm3', 'a1', 'a2', 'a3'] as const;
/** Where the state directories of these are. */
const MOUNTS: Readonly<Record<string, string>> = {
  m1: 'manager',
  m2: 'manager-2',
  m3: 'manager-3',
  a3: 'node-3',
};
const never = new AbortController().signal;

export interface WorldManager {
  readonly name: string;
  readonly stateDir: string;
  readonly disk: Disk;
  readonly client: ApiClient;
  /** A file with the offset of its clock. */
  readonly clock: string;
  readonly pid: () => number | undefined;
  readonly crash: () => Promise<void>;
  readonly die: () => Promise<void>;
  readonly start: () => void;
  readonly setCable: (state: 'up' | 'down') => Promise<void>;
}

export interface WorldNode {
  readonly node: TestNode;
  readonly clock: string;
  readonly disk: Disk | undefined;
}

export interface World extends AsyncDisposable {
  readonly swarm: TestCluster;
  readonly managers: readonly WorldManager[];
  readonly nodes: readonly WorldNode[];
}

export async function makeWorld(): Promise<World> {
  const disks = new Map<string, Disk>();
  let clocks = '';
  const clockOf = (name: string): string => path.join(clocks, name);
  const swarm = await cluster()
    .managers(3)
    .agents(3)
    .prepare(async ({ stateDir, runDir }) => {
      clocks = path.join(runDir, 'clocks');
      await mkdir(clocks, { recursive: true });
      for (const name of NAMES) await writeFile(clockOf(name), '+0s');
      for (const [name, directory] of Object.entries(MOUNTS)) {
        const disk = new Disk(path.join(stateDir, directory), path.join(stateDir, 'disks', name));
        disks.set(name, disk);
        await disk.make();
      }
    })
    .environment((name) => movableClock(clockOf(name)))
    .up();
  const managers = [firstManager(swarm), ...otherManagers(swarm)].map((manager) => {
    const disk = disks.get(manager.name);
    if (disk === undefined) throw new Error(`${manager.name} has no disk`);
    return { ...manager, disk, clock: clockOf(manager.name) };
  });
  const nodes = swarm.nodes.map((node) => ({
    node,
    clock: clockOf(node.hostname),
    disk: disks.get(node.hostname),
  }));
  return { swarm, managers, nodes, [Symbol.asyncDispose]: () => swarm[Symbol.asyncDispose]() };
}

type Bare = Omit<WorldManager, 'disk' | 'clock'>;

/** It is on the machine itself, whose cable would cut off everybody: it stays plugged in. */
function firstManager(swarm: TestCluster): Bare {
  return {
    name: 'm1',
    stateDir: path.join(swarm.layout.stateDir, 'manager'),
    client: swarm.client,
    ...swarm.manager,
    setCable: () => Promise.resolve(),
  };
}

function otherManagers(swarm: TestCluster): Bare[] {
  return swarm.others.map((manager) => ({
    name: manager.hostname,
    stateDir: manager.stateDir,
    client: manager.client,
    pid: () => manager.pid,
    crash: () => manager.crash(),
    die: () => manager.die(),
    start: () => manager.start(),
    setCable: (state) => manager.setCable(state, never),
  }));
}
