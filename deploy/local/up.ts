/** `shoal up`: checks the machine, makes the cluster, deploys the example, says how to look around. */
import { rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { imageArchive } from '../../agent/image/build-tar.ts';
import { AppError, ConflictError } from '../../shared/errors/index.ts';
import { ApiClient } from '../cli/client.ts';
import {
  checkCgroups,
  checkKernel,
  checkNative,
  checkOverlay,
  checkPorts,
  checkPrograms,
  checkRoot,
  checkSpace,
  type Problem,
} from './checks.ts';
import { readMarker, removeCluster } from './cleanup.ts';
import { buildExampleImage, EXAMPLE_IMAGE } from './example-image.ts';
import { askExample, deployExample, EXAMPLE_IMAGE_FILE, exampleNodes } from './example.ts';
import { describeInventory, takeInventory } from './inventory.ts';
import type { Layout } from './layout.ts';
import { LocalCluster, prepareDirectories } from './local-cluster.ts';
import type { Port } from './ports.ts';
import { readProcess } from './proc.ts';
import type { Progress } from './progress.ts';

export interface UpOptions {
  readonly layout: Layout;
  readonly nodeCount: number;
  /** Port that the example is published on; undefined: no example. */
  readonly examplePort: number | undefined;
  readonly insecureRegistries: readonly string[];
  readonly progress: Progress;
}

/** The machine lacks something; the message says how to mend it. */
class MachineError extends AppError {
  override readonly name = 'MachineError';
  readonly code = 'unavailable';
}

/** Makes it; the caller owns the result and takes it down. On failure nothing is left. */
export async function up(options: UpOptions, signal: AbortSignal): Promise<LocalCluster> {
  const { layout, progress } = options;
  insist(checkRoot(), checkPrograms(), checkNative());
  await refuseSecond(layout, signal);
  await sweep(layout, progress, signal);
  await progress.step('this machine has what is needed', () => checkMachine(options, signal));
  await prepareDirectories(layout);
  try {
    await progress.step(`image ${EXAMPLE_IMAGE}, made of busybox-static`, () => saveExampleImage(layout));
    signal.throwIfAborted();
  } catch (error) {
    await removeCluster(layout, new AbortController().signal);
    throw error;
  }
  const cluster = await LocalCluster.up(
    { ...options, machineIsNode: true, hostnamePrefix: 'node-', onEvent: (text) => progress.say(text) },
    signal,
  );
  try {
    if (options.examplePort !== undefined) await showExample(cluster, options.examplePort, progress, signal);
    return cluster;
  } catch (error) {
    await cluster.down();
    throw error;
  }
}

async function saveExampleImage(layout: Layout): Promise<void> {
  const archive = imageArchive([await buildExampleImage()]);
  await writeFile(path.join(layout.imageDir, EXAMPLE_IMAGE_FILE), archive);
}

function insist(...problems: readonly Problem[]): void {
  const found = problems.filter((problem) => problem !== undefined);
  if (found.length > 0) throw new MachineError(found.join('\n'));
}

async function checkMachine(options: UpOptions, signal: AbortSignal): Promise<void> {
  const { layout } = options;
  try {
    insist(
      await checkOverlay(layout.stateDir, signal),
      await checkSpace(layout.stateDir),
      await checkKernel(layout, signal),
      await checkCgroups(),
      await checkPorts(portsOf(options), signal),
    );
  } catch (error) {
    await rmdir(layout.stateDir).catch(() => undefined); // empty again
    throw error;
  }
}

function portsOf({ layout, examplePort }: UpOptions): Port[] {
  const remedy = 'choose others with --port-base';
  const example: Port[] =
    examplePort === undefined
      ? []
      : [
          {
            protocol: 'tcp',
            port: examplePort,
            purpose: 'the example stack',
            remedy: 'choose another with --example-port, or go without: --no-example',
          },
        ];
  return [
    { protocol: 'tcp', port: layout.managerPort, purpose: 'the manager', remedy },
    { protocol: 'tcp', port: layout.etcdClientPort, purpose: 'etcd', remedy },
    { protocol: 'tcp', port: layout.etcdPeerPort, purpose: "etcd's peers", remedy },
    { protocol: 'udp', port: layout.vxlanPort, purpose: 'the overlays (VXLAN)', remedy },
    ...example,
  ];
}

async function refuseSecond(layout: Layout, signal: AbortSignal): Promise<void> {
  const marker = await readMarker(layout.runDir);
  if (marker === undefined || marker.ownerPid === process.pid) return;
  const owner = await readProcess(marker.ownerPid);
  if (owner?.startTime !== marker.ownerStartTime) return;
  const answers = await new ApiClient(layout.socket)
    .send('GET', '/_ping', undefined, signal)
    .catch(() => undefined);
  throw new ConflictError(
    `the cluster '${layout.name}' is already ${answers === undefined ? 'coming up' : 'up'} (process ${owner.pid}): ` +
      "look at it with 'shoal status', remove it with 'shoal down', or make another with --name",
  );
}

/** Removes what a run that was killed has left. */
async function sweep(layout: Layout, progress: Progress, signal: AbortSignal): Promise<void> {
  const left = describeInventory(await takeInventory(layout, signal));
  if (left.length === 0) return;
  await progress.step(`removed what an earlier run left (${left.length} things)`, async () => {
    const stuck = await removeCluster(layout, signal);
    insist(
      stuck.length === 0 ? undefined : `an earlier run left things that do not go:\n  ${stuck.join('\n  ')}`,
    );
  });
}

async function showExample(
  cluster: LocalCluster,
  port: number,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const say = (text: string): void => progress.say(text);
  await progress.step('example stack runs', () => deployExample(cluster.api, port, say, signal));
  const nodes = await exampleNodes(cluster.api, signal);
  const { requests, counts } = await progress.step(`http://localhost:${port} answers`, () =>
    askExample(port, nodes.size, signal),
  );
  say(`        ${requests} requests were answered by ${counts.size} replicas:`);
  for (const [answer, count] of counts) {
    const [line = ''] = answer.split('\n');
    const node = [...nodes].find(([container]) => line.includes(container))?.[1] ?? 'a node';
    say(`        ${count} x ${line}, on ${node}`);
  }
}

/** How to look around, for the end of `up`. */
export function nextSteps(options: UpOptions, command: string): string {
  const { layout, examplePort } = options;
  const host = `docker -H unix://${layout.socket}`;
  const named = layout.name === 'local' ? '' : ` --name ${layout.name}`;
  return [
    '',
    `The cluster '${layout.name}' is up: ${options.nodeCount} nodes. Look around:`,
    '',
    ...(examplePort === undefined ? [] : [`  curl http://localhost:${examplePort}`]),
    `  ${host} node ls`,
    `  ${host} service ls`,
    ...(examplePort === undefined
      ? []
      : [`  ${host} service ps example_web`, `  ${host} service scale example_web=10`]),
    `  ${command} status${named}`,
    '',
    `Its logs are in ${layout.logDir}. The machine now forwards packets, for the nodes.`,
  ].join('\n');
}
