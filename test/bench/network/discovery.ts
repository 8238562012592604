/**
 * From an endpoint's state at the manager to the name server of another node: how long until a task that runs is in the
 * answer, and until one that is to stop is not in it any more. The manager's state is that of its API; the time counts from
 * the last look there that had not shown the change yet.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import dnsPacket from 'dns-packet';
import { z } from 'zod';
import { openSocket } from '../../../agent/native/network.ts';
import { cluster, type TestCluster } from '../../harness/cluster.ts';
import { containersOf } from '../../harness/containers.ts';
import { quantile, report } from '../report.ts';

const ROUNDS = Number(process.env['SHOAL_BENCH_ROUNDS'] ?? 20);
const DEADLINE_MS = 60_000;
const LEAST_PAUSE_MS = 1;
const QUESTION = dnsPacket.encode({
  type: 'query',
  id: 1,
  flags: dnsPacket.RECURSION_DESIRED,
  questions: [{ type: 'A', name: 'tasks.web' }],
});

const FILTERS = encodeURIComponent(JSON.stringify({ service: ['web'], 'desired-state': ['running'] }));
const tasksSchema = z.array(z.object({ Status: z.object({ State: z.string() }) }));

/** When a count first was the wanted one, and when it last was not. */
interface Seen {
  readonly lastNotMs: number;
  readonly firstMs: number;
}

async function watch(count: () => Promise<number>, wanted: number): Promise<Seen> {
  let lastNotMs = performance.now();
  for (const endMs = lastNotMs + DEADLINE_MS; ; ) {
    const askedMs = performance.now();
    if ((await count()) === wanted) return { lastNotMs, firstMs: performance.now() };
    lastNotMs = askedMs;
    if (askedMs > endMs) throw new Error(`not ${wanted} within ${DEADLINE_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, LEAST_PAUSE_MS));
  }
}

/** How many addresses the name server of the asker's node has for the service's tasks. */
async function nameServerOf(
  swarm: TestCluster,
): Promise<{ count: () => Promise<number>; close: () => void }> {
  const [asker] = await containersOf(swarm.layout, await swarm.state(), 'asker');
  if (asker === undefined) throw new Error('nobody asks');
  const text = await readFile(`/proc/${asker.pid}/root/etc/resolv.conf`, 'utf8');
  const address = /^nameserver (\S+)/m.exec(text)?.[1] ?? '';
  const fd = await openSocket(`/proc/${asker.pid}/ns/net`, 'datagram', '0.0.0.0', 0);
  const socket = dgram.createSocket('udp4');
  socket.bind({ fd });
  const count = async (): Promise<number> => {
    const answer = once(socket, 'message', { signal: AbortSignal.timeout(DEADLINE_MS) });
    socket.send(QUESTION, 53, address);
    const [message] = (await answer) as [Buffer];
    return dnsPacket.decode(message).answers?.length ?? 0;
  };
  return { count, close: () => socket.close() };
}

/** Milliseconds from the manager's state to the answer. */
async function change(swarm: TestCluster, asked: () => Promise<number>, replicas: number): Promise<number> {
  const atManager = async (): Promise<number> => {
    const tasks = tasksSchema.parse((await swarm.api('GET', `/tasks?filters=${FILTERS}`)).body);
    return tasks.filter(({ Status }) => Status.State === 'running').length;
  };
  const seen = Promise.all([watch(atManager, replicas), watch(asked, replicas)]);
  await swarm.docker('service', 'scale', '--detach', `web=${replicas}`);
  const [manager, answer] = await seen;
  return Math.max(0, answer.firstMs - manager.lastNotMs);
}

export async function benchDiscovery(): Promise<void> {
  await using swarm = await cluster().manager().agents(2).up();
  await swarm.docker('network', 'create', '-d', 'overlay', 'names');
  const at = (node: string): string[] => ['--constraint', `node.hostname==${node}`];
  await swarm.deploy('asker', { networks: ['names'], more: at('a2') });
  const more = ['--stop-grace-period', '1s', ...at('a1')];
  await swarm.deploy('web', { networks: ['names'], more });
  await swarm.eventually((s) => s.running('asker').count === 1 && s.running('web').count === 1);
  const server = await nameServerOf(swarm);
  const [come, gone]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    come.push(await change(swarm, server.count, 2));
    gone.push(await change(swarm, server.count, 1));
  }
  server.close();
  for (const [name, times] of [
    ['a task that runs is in the answer', come],
    ['a task that is to stop is not in it', gone],
  ] as const) {
    report(`discovery: ${name}, after the manager's state, p50`, quantile(times, 0.5), undefined, 'ms');
    report(`discovery: ${name}, after the manager's state, p99`, quantile(times, 0.99), undefined, 'ms');
  }
}
