/**
 * A node's cable is pulled: how long until it is called down, and until what ran there runs elsewhere, against Swarm on two
 * of the distribution's dockerd, each in a network namespace of its own. Both with their defaults. Needs root.
 */
import { ApiClient } from '../../deploy/cli/client.ts';
import { run } from '../../deploy/local/command.ts';
import { UndoStack } from '../../shared/lib/undo-stack.ts';
import { cluster } from '../harness/cluster.ts';
import { startDockerdSwarm } from '../harness/dockerd-swarm.ts';
import { quantile, report } from './report.ts';

const OUR_ROUNDS = 7;
const PEER_ROUNDS = 3;
const REPLICAS = 4;
const DEADLINE_MS = 180_000;
const POLL_MS = 10;
const PEER_IMAGE = 'busybox:bench';
const BRIDGE = 'shbfail0';
const PEER_NET = '10.254.77';
const signal = new AbortController().signal;

interface Side {
  readonly client: ApiClient;
  readonly image: string;
  /** The node that is cut off. */
  readonly hostname: string;
  cut(): Promise<void>;
  heal(): Promise<void>;
}

interface Took {
  readonly downMs: number;
  readonly replacedMs: number;
}

interface Node {
  readonly ID: string;
  readonly Description: { readonly Hostname: string };
  readonly Status: { readonly State: string };
}

interface Task {
  readonly NodeID?: string;
  readonly DesiredState: string;
  readonly Status: { readonly State: string };
}

async function get<T>({ client }: Side, path: string): Promise<T> {
  return (await client.get(`/v1.41${path}`, signal)) as T;
}

async function until(look: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + DEADLINE_MS; !(await look().catch(() => false)); ) {
    if (Date.now() > deadline) throw new Error(`not reached within ${DEADLINE_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function runningOn(side: Side, likes: (nodeId: string | undefined) => boolean): Promise<number> {
  const tasks = await get<Task[]>(side, '/tasks');
  return tasks.filter(
    (task) => task.Status.State === 'running' && task.DesiredState === 'running' && likes(task.NodeID),
  ).length;
}

async function call(side: Side, method: string, path: string, body: unknown): Promise<unknown> {
  return side.client.call(
    method,
    `/v1.41${path}`,
    body === undefined ? undefined : { type: 'application/json', text: JSON.stringify(body) },
    signal,
  );
}

/** One service a round: it is spread over both nodes, and all of it runs on the other one in the end. */
async function round(side: Side, name: string): Promise<Took> {
  const nodes = await get<Node[]>(side, '/nodes');
  const victim = nodes.find((node) => node.Description.Hostname === side.hostname)?.ID;
  const command = ['/bin/sh', '-c', 'trap "exit 0" TERM; while :; do sleep 1 & wait; done'];
  const service = {
    Name: name,
    Mode: { Replicated: { Replicas: REPLICAS } },
    TaskTemplate: { ContainerSpec: { Image: side.image, Command: command } },
  };
  await call(side, 'POST', '/services/create', service);
  await until(async () => (await runningOn(side, () => true)) === REPLICAS);
  if ((await runningOn(side, (node) => node === victim)) === 0) throw new Error('nothing runs there');
  const begin = performance.now();
  await side.cut();
  await until(async () => (await get<Node>(side, `/nodes/${victim}`)).Status.State === 'down');
  const downMs = performance.now() - begin;
  await until(async () => (await runningOn(side, (node) => node !== victim)) === REPLICAS);
  const replacedMs = performance.now() - begin;
  await side.heal();
  await until(async () => (await get<Node>(side, `/nodes/${victim}`)).Status.State === 'ready');
  await call(side, 'DELETE', `/services/${name}`, undefined);
  await until(async () => (await get<Task[]>(side, '/tasks')).length === 0);
  return { downMs, replacedMs };
}

async function rounds(side: Side, count: number): Promise<Took[]> {
  const took: Took[] = [];
  for (let i = 0; i < count; i += 1) took.push(await round(side, `failover${i}`));
  return took;
}

async function ours(): Promise<Took[]> {
  await using swarm = await cluster().manager().agents(2).up();
  const node = swarm.node('a2');
  const client = new ApiClient(swarm.layout.socket);
  return await rounds(
    {
      client,
      image: 'shoal/example:latest',
      hostname: 'a2',
      cut: () => node.partition(),
      heal: () => node.heal(),
    },
    OUR_ROUNDS,
  );
}

async function peers(): Promise<Took[]> {
  await run('ip', ['link', 'add', BRIDGE, 'type', 'bridge'], signal);
  try {
    await run('ip', ['link', 'set', BRIDGE, 'up'], signal);
    await using undo = new UndoStack();
    const addresses = [`${PEER_NET}.1`, `${PEER_NET}.2`] as const;
    const { manager, cable } = await startDockerdSwarm(
      { bridge: BRIDGE, addresses, image: PEER_IMAGE },
      undo,
    );
    const client = new ApiClient(manager.socket);
    const [cut, heal] = [() => cable('down'), () => cable('up')];
    const side = { client, image: PEER_IMAGE, hostname: 'second', cut, heal };
    return await rounds(side, PEER_ROUNDS);
  } finally {
    await run('ip', ['link', 'del', BRIDGE], signal);
  }
}

const we = await ours();
const they = await peers().catch((error: unknown) => {
  process.stderr.write(`no Swarm to compare with: ${String(error)}\n`);
  return undefined;
});
for (const [bench, of] of [
  ['cut-to-down', (took: Took) => took.downMs],
  ['cut-to-replaced', (took: Took) => took.replacedMs],
] as const) {
  for (const [suffix, q] of [
    ['p50', 0.5],
    ['max', 1],
  ] as const) {
    const peer = they === undefined ? undefined : quantile(they.map(of), q);
    report(`${bench}-${suffix}`, quantile(we.map(of), q), peer, 'ms');
  }
}
