/** The power goes in the whole building: every process dies, and what is in memory (kernel objects, tmpfs) is gone. */
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { killCgroup } from '../../deploy/local/cgroups.ts';
import { run, tryRun } from '../../deploy/local/command.ts';
import { mountsUnder } from '../../deploy/local/inventory.ts';
import { clusterProcesses, signalProcess, waitGone } from '../../deploy/local/proc.ts';
import type { TestCluster } from './cluster.ts';

const signal = new AbortController().signal;
const KILL_MS = 20_000;

/** All machines of the cluster lose their power; `powerOn` starts them again. Their cables stay plugged in. */
export async function powerOff(swarm: TestCluster): Promise<void> {
  const { layout, nodes } = swarm;
  await Promise.all([swarm.manager.kill(), ...nodes.map((node) => node.kill())]);
  await killCgroup(layout.cgroup, KILL_MS);
  const rest = await clusterProcesses(layout.stateDir, layout.runDir);
  for (const info of rest) await signalProcess(info, 'SIGKILL');
  await waitGone(rest, KILL_MS);
  for (const target of await mountsUnder([layout.stateDir, layout.runDir])) {
    await run('umount', ['--lazy', target], signal);
  }
  const hosts = new Set(nodes.map(({ index }) => `${layout.netnsPrefix}host_${index}`));
  for (const name of await readdir('/run/netns')) {
    if (name.startsWith(layout.netnsPrefix) && !hosts.has(name))
      await run('ip', ['netns', 'delete', name], signal);
  }
  for (const node of nodes) {
    await node.run('nft', 'flush', 'ruleset');
    for (const entry of await readdir(node.runDir)) {
      await rm(path.join(node.runDir, entry), { recursive: true, force: true });
    }
  }
  await tryRun('rm', ['-f', layout.socket], signal);
}

/** Everything starts in any order, as after a power cut. */
export async function powerOn(swarm: TestCluster): Promise<void> {
  for (const node of swarm.nodes) node.start();
  await swarm.manager.restart();
}
