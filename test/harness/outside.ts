/** A host on the underlay that is no node: where a cluster's clients are. */
import { networkInterfaces } from 'node:os';
import { run } from '../../deploy/local/command.ts';
import type { LocalNode } from '../../deploy/local/layout.ts';
import { createHost } from '../../deploy/local/underlay.ts';
import type { TestCluster } from './cluster.ts';

const signal = new AbortController().signal;
/** Above every node's. */
const INDEX = 250;

export interface Outside {
  readonly address: string;
  /** Body of the answer on a connection of its own; rejects when there is none within 5 s. */
  get(url: string): Promise<string>;
}

/** Makes the host; it goes with the cluster. */
export async function outsideOf(swarm: TestCluster): Promise<Outside> {
  const { layout } = swarm;
  const subnet = swarm.machineAddress.split('.').slice(0, 3).join('.');
  const name = `${layout.netnsPrefix}host_${INDEX}`;
  const host: LocalNode = {
    index: INDEX,
    hostname: 'outside',
    address: `${subnet}.${INDEX}`,
    netns: { name, path: `/run/netns/${name}` },
    stateDir: layout.stateDir,
    runDir: layout.runDir,
  };
  await createHost(layout, subnet, host, signal);
  const get = (url: string): Promise<string> =>
    run('curl', ['-sS', '-f', '-m', '5', url], signal, { netns: host.netns?.path });
  return { address: host.address, get };
}

/** An address of this machine that its namespaces reach by their default route. */
export function reachableAddress(): string {
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    if (/^(shoal|su|shc|docker)/.test(name)) continue;
    for (const { family, internal, address } of addresses ?? []) {
      if (family === 'IPv4' && !internal) return address;
    }
  }
  throw new Error('this machine has no IPv4 address besides 127.0.0.1: the registry of this test needs one');
}
