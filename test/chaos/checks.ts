/** What must hold once all is well again. Each check resolves with what is wrong, one line each. */
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { delay } from '../../shared/lib/abort.ts';
import { ClusterState } from '../harness/cluster-state.ts';
import { containersOf, inContainer, runsExactlyTheDesired } from '../harness/containers.ts';
import type { Ledger } from './ledger.ts';
import { readAll } from './load.ts';
import type { World } from './world.ts';

const CALM_MS = 180_000;
const ASK_MS = 10_000;
const never = new AbortController().signal;

/** Resolves with undefined once it holds, else with the last reason why not. */
async function within(ms: number, ask: () => Promise<string | undefined>): Promise<string | undefined> {
  for (const end = performance.now() + ms; ; await delay(200, never)) {
    const why = await ask().catch((error: unknown) => String(error));
    if (why === undefined || performance.now() > end) return why;
  }
}

/** Every node is ready, every service has its tasks, and just their containers live: by what each manager says. */
export async function checkDesired({ swarm, managers }: World): Promise<string[]> {
  const wrong: string[] = [];
  for (const { name, client } of managers) {
    const why = await within(CALM_MS, async () => {
      const state = await ClusterState.read(client, AbortSignal.timeout(ASK_MS));
      const away = state.nodes.find((node) => node.Status.State !== 'ready');
      if (away !== undefined) return `a node is ${away.Status.State}\n${state.toString()}`;
      const replicas = await replicasOf(client);
      const short = [...replicas].find(([service, count]) => state.running(service).count !== count);
      if (short !== undefined) return `${short[0]} should have ${short[1]} tasks\n${state.toString()}`;
      const exact = await runsExactlyTheDesired(swarm.layout, state);
      return exact ? undefined : `other containers live than should\n${state.toString()}`;
    });
    if (why !== undefined) wrong.push(`${name}: ${why}`);
  }
  return wrong;
}

interface ServiceJson {
  readonly Spec: {
    readonly Name: string;
    readonly Mode: { readonly Replicated: { readonly Replicas: number } };
  };
}

async function replicasOf(client: World['managers'][number]['client']): Promise<Map<string, number>> {
  const services = (await client.get('/services', AbortSignal.timeout(ASK_MS))) as ServiceJson[];
  return new Map(services.map(({ Spec }) => [Spec.Name, Spec.Mode.Replicated.Replicas]));
}

/** What was acknowledged is there, at each manager. */
export async function checkLedger({ managers }: World, ledger: Ledger): Promise<string[]> {
  const wrong: string[] = [];
  for (const { name, client } of managers) {
    const why = await within(30_000, async () => {
      const lines = ledger.compare(await readAll(client, AbortSignal.timeout(ASK_MS)));
      return lines.length === 0 ? undefined : lines.join('\n');
    });
    if (why !== undefined) wrong.push(`${name}: ${why}`);
  }
  return wrong;
}

/** The secret is in each container that should have it: else it would be easy to keep. */
export async function checkDelivered(
  { swarm, managers }: World,
  service: string,
  secret: string,
): Promise<string[]> {
  const client = managers[0]?.client;
  if (client === undefined) return ['there is no manager'];
  const state = await ClusterState.read(client, AbortSignal.timeout(ASK_MS));
  const wrong: string[] = [];
  for (const container of await containersOf(swarm.layout, state, service)) {
    const got = await inContainer(container, 'cat /run/secrets/chaos-vault');
    if (got.trim() !== secret) wrong.push(`${container.id} has another secret`);
  }
  return wrong;
}

/** Each node answers on the published port. */
export async function checkPublished({ nodes }: World, port: number): Promise<string[]> {
  const wrong: string[] = [];
  for (const { node } of nodes) {
    const why = await within(30_000, async () => {
      const text = await node.curl(`http://${node.address}:${port}/`);
      return text === '' ? 'an empty answer' : undefined;
    });
    if (why !== undefined) wrong.push(`${node.hostname} does not answer on ${port}: ${why}`);
  }
  return wrong;
}

/** Files with one of these texts: state directories, logs, and the disks as they are, deleted files and all. */
export async function checkDisks(
  { swarm, managers }: World,
  control: string,
  needles: readonly string[],
): Promise<string[]> {
  // Deleted again, on the disk of a manager: what is not found then is not there.
  const written = path.join(managers[2]?.stateDir ?? '', 'control');
  await writeFile(written, `x${control}`, { flush: true });
  await rm(written);
  const { stateDir } = swarm.layout;
  const image = managers[2]?.disk.image ?? '';
  const controls = await searchFiles(swarm, [image], [control]);
  if (controls.length === 0)
    return ['the search of the disks has not found what was written: it proves nothing'];
  return (await searchFiles(swarm, [stateDir], needles)).map((file) => `a secret is in ${file}`);
}

/** The files, in these directories too, that have one of the texts. */
async function searchFiles(
  { layout }: World['swarm'],
  places: readonly string[],
  texts: readonly string[],
): Promise<string[]> {
  // Not as arguments, which everybody can read; in memory.
  const list = path.join(layout.runDir, 'needles');
  await writeFile(list, texts.join('\n'), { mode: 0o600 });
  const args = ['-rlaF', '--devices=skip', '-f', list, ...places];
  try {
    await promisify(execFile)('sync');
    return lines((await promisify(execFile)('grep', args, { env: { LC_ALL: 'C' } })).stdout);
  } catch (error) {
    const { code, stdout = '' } = error as { code?: number; stdout?: string };
    // 1: nothing was found; 2: a file went away meanwhile
    if (code === 1 || code === 2) return lines(stdout);
    throw error;
  } finally {
    await rm(list, { force: true });
  }
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** One that can not start without its disk says so and ends; its supervisor starts it again. */
const NO_DISK = /ENOSPC|EROFS|no space|read-only file system|can not be written/i;

/** A manager or agent that ended by itself: what it said, or that it said nothing. Those that were killed are no finding. */
export async function checkEnds({ swarm }: World): Promise<string[]> {
  const wrong: string[] = [];
  const ends = swarm.ends.filter((end) => !end.includes('killed by SIGKILL'));
  const titles = new Set(ends.map((end) => end.split(' ')[0] ?? ''));
  for (const title of titles) {
    const log = await readFile(path.join(swarm.layout.logDir, `${title}.log`), 'utf8');
    const said = lines(log).filter((line) => line.startsWith('shoal: '));
    const count = ends.filter((end) => end.startsWith(`${title} `)).length;
    if (said.length < count)
      wrong.push(`${title} ended ${count} times by itself and said why ${said.length} times`);
    wrong.push(
      ...said.filter((line) => !NO_DISK.test(line)).map((line) => `${title} ended by itself: ${line}`),
    );
  }
  return wrong;
}
