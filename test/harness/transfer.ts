/** A TCP connection that never rests, between containers of two nodes through a VIP. */
import { readFile } from 'node:fs/promises';
import { delay } from '../../shared/lib/abort.ts';
import type { TestCluster } from './cluster.ts';
import { containersOf } from './containers.ts';

export interface Transfer {
  /** Resolves once much more has come. */
  goesOn(): Promise<void>;
  /** Also removes its services and network. */
  stop(): Promise<void>;
}

const { signal } = new AbortController();
const MUCH = 1_000_000;
const DEADLINE_MS = 60_000;

/**
 * Resolves once it is open. Either end is all that its container does: if the connection broke, both containers would end and
 * others take their place, which who compares the lives of containers sees. It is kept slow, so that it is in nobody's way.
 */
export async function startTransfer(swarm: TestCluster, from: string, to: string): Promise<Transfer> {
  await swarm.deploy('transfer', composeOf(from, to));
  let pid = 0;
  await swarm.eventually(
    async (s) => {
      const [sink] = await containersOf(swarm.layout, s, 'transfer_sink');
      pid = sink?.pid ?? 0;
      return sink !== undefined && (await bytesOf(pid)) > MUCH;
    },
    { within: DEADLINE_MS },
  );
  return {
    goesOn: async () => {
      const [before, end] = [await bytesOf(pid), Date.now() + DEADLINE_MS];
      for (; (await bytesOf(pid)) < before + MUCH; await delay(50, signal))
        if (Date.now() > end) throw new Error('the transfer does not go on');
    },
    stop: async () => {
      await swarm.docker('service', 'rm', 'transfer_source', 'transfer_sink');
      await swarm.eventually(async () => {
        await swarm.docker('network', 'rm', 'transfer_default');
        return true;
      });
    },
  };
}

/** Rejects when the container has ended. */
async function bytesOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/net/dev`, 'utf8');
  return Number(/^ *eth0: *(\d+)/m.exec(text)?.[1] ?? 0);
}

/** The sink's input never ends, as an end of it would end the connection. */
function composeOf(from: string, to: string): string {
  const service = (command: string, node: string): string =>
    `{ image: "shoal/example", entrypoint: [/bin/sh, -c, "${command}"], stop_grace_period: 0s, labels: { shoal.bandwidth-out: 50mbit }, ` +
    `deploy: { placement: { constraints: ["node.hostname == ${node}"] }, restart_policy: { delay: 100ms } } }`;
  return `
services:
  sink: ${service('mkfifo /never; exec nc -l -p 9000 0<>/never >/dev/null', to)}
  source: ${service('exec nc sink 9000 </dev/zero', from)}
`;
}
