/**
 * One container through the agent: from a prepared task to its process running on an overlay network (OCI configuration,
 * files, overlay, namespaces, cgroups, seccomp, interface, routes), against `docker run -d` with the default bridge, in
 * turns. Needs root.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ContainerBuilder } from '../../agent/container/builder.ts';
import { Containers } from '../../agent/container/containers.ts';
import { imageArchive } from '../../agent/image/build-tar.ts';
import { ImageService } from '../../agent/image/image-service.ts';
import { NetworkDriver } from '../../agent/network/driver.ts';
import { TaskFiles } from '../../agent/files/task-files.ts';
import { Volumes } from '../../agent/volume/volumes.ts';
import { ContainerClaims } from '../../agent/worker/container-claims.ts';
import { TaskExecutor } from '../../agent/worker/executor.ts';
import { removeCgroup } from '../../deploy/local/cgroups.ts';
import { buildExampleImage, EXAMPLE_IMAGE } from '../../deploy/local/example-image.ts';
import { formatAddress, parseAddress } from '../../shared/lib/cidr.ts';
import { UndoStack } from '../../shared/lib/undo-stack.ts';
import {
  type AssignmentSet,
  DEFAULT_RESTART,
  DEFAULT_UPDATE,
  type EndpointAssignment,
  type ServiceSpec,
  type TaskAssignment,
} from '../../shared/model/index.ts';
import { importBusybox, startDockerd } from '../harness/dockerd.ts';
import { leftoverName } from '../harness/leftovers.ts';
import { silentLogger } from '../harness/silent-logger.ts';
import { quantile, report } from './report.ts';

const ROUNDS = 60;
const PEER_ROUNDS = 15;
const WARM_UP = 5;
const CLUSTER = `bench${process.pid}`;
const NODE = 'benchnode';
const NETWORK = 'net1';
const never = new AbortController().signal;

const spec: ServiceSpec = {
  name: 'bench',
  labels: {},
  mode: { kind: 'replicated', replicas: ROUNDS },
  container: {
    image: EXAMPLE_IMAGE,
    labels: {},
    command: ['sleep', '1000'],
    args: [],
    env: [],
    mounts: [],
    stopSignal: 'SIGKILL',
  },
  limits: { memoryBytes: 64 << 20, nanoCpus: 500_000_000, pids: 64 },
  reservations: {},
  restart: DEFAULT_RESTART,
  placement: { constraints: [], spread: [], maxReplicasPerNode: 0 },
  update: DEFAULT_UPDATE,
  rollback: DEFAULT_UPDATE,
  networks: [{ network: NETWORK, aliases: [] }],
  endpointMode: 'vip',
  ports: [],
  forceUpdate: 0,
};

function taskOf(slot: number): TaskAssignment {
  const taskId = createHash('sha256').update(String(slot)).digest('hex').slice(0, 25);
  const address = formatAddress(parseAddress('10.97.0.10') + slot);
  const addresses = [{ network: NETWORK, address }];
  const names = { serviceId: 'service1', serviceName: 'bench', nodeId: NODE };
  return { taskId, ...names, slot, desired: 'running', revision: 1, spec, addresses };
}

/** All tasks are known from the start, so that what is measured is the start and not the assignment. */
function assignments(tasks: readonly TaskAssignment[]): AssignmentSet {
  const subnet = { subnet: '10.97.0.0/16', gateway: '10.97.0.1', vni: 7_654_321 };
  const endpoints = tasks.map((task): [string, EndpointAssignment] => [
    `${NETWORK}/${task.taskId}`,
    { ...task, networkId: NETWORK, address: task.addresses[0]?.address ?? '', aliases: [], serving: true },
  ]);
  const peer = { nodeId: NODE, hostname: NODE, index: 1, address: '127.0.0.1' };
  return {
    tasks: new Map(tasks.map((task) => [task.taskId, task])),
    networks: new Map([
      [NETWORK, { networkId: NETWORK, name: 'net', ...subnet, internal: false, ingress: false }],
    ]),
    endpoints: new Map(endpoints),
    services: new Map(),
    peers: new Map([[NODE, peer]]),
    secrets: new Map(),
    configs: new Map(),
  };
}

async function startOurs(): Promise<() => Promise<number>> {
  const directory = await mkdtemp(join(tmpdir(), 'shoal-test-bench-'));
  undo.defer(() => rm(directory, { recursive: true, force: true }));
  const images = await ImageService.open({ dir: join(directory, 'images'), logger: silentLogger });
  await images.importTar(imageArchive([await buildExampleImage()]), never);
  const network = new NetworkDriver({
    clusterName: CLUSTER,
    nodeId: NODE,
    vxlanPort: 14_789,
    logger: silentLogger,
  });
  undo.defer(async () => {
    await network.close();
    await NetworkDriver.removeAll(CLUSTER);
  });
  const volumes = new Volumes(directory, () => containers.list(), silentLogger);
  const containers: Containers = new Containers(directory, join(directory, 'run'), silentLogger);
  await containers.load();
  const cgroupParent = `/${leftoverName('bench')}${CLUSTER}`;
  undo.defer(() => removeCgroup(cgroupParent));
  const builder = new ContainerBuilder({
    images,
    containers,
    volumes,
    resolvConf: (task) => network.resolvConfFor(task.taskId),
    cgroupParent,
    files: new TaskFiles(undefined),
    platform: { os: 'linux', arch: 'x86_64' },
    nodeId: NODE,
    hostname: NODE,
  });
  const executor = new TaskExecutor(
    containers,
    builder,
    network,
    silentLogger,
    new ContainerClaims(),
    (name) => volumes.discard(name),
  );
  const tasks = Array.from({ length: ROUNDS + WARM_UP }, (_, slot) => taskOf(slot + 1));
  await network.apply(assignments(tasks), never);
  return async () => {
    const task = tasks.pop();
    if (task === undefined) throw new Error('no task is left');
    await executor.prepare(task, never);
    const begin = performance.now();
    const outcome = await executor.start(task, () => undefined, never);
    const took = performance.now() - begin;
    if (outcome.state !== 'running') throw new Error(JSON.stringify(outcome));
    await executor.stop(task.taskId, never);
    await executor.remove(task.taskId);
    return took;
  };
}

async function startPeer(): Promise<() => Promise<number>> {
  const dockerd = await startDockerd();
  undo.defer(() => dockerd[Symbol.asyncDispose]());
  await importBusybox(dockerd, 'busybox:bench');
  return async () => {
    const begin = performance.now();
    const limits = ['--memory', '64m', '--cpus', '0.5', '--pids-limit', '64'];
    const id = await dockerd.docker('run', '-d', ...limits, 'busybox:bench', 'sleep', '1000');
    const took = performance.now() - begin;
    await dockerd.docker('rm', '-f', id.trim());
    return took;
  };
}

const undo = new UndoStack();
try {
  const [startOne, startPeerOne] = [await startOurs(), await startPeer()];
  for (let i = 0; i < WARM_UP; i += 1) await startOne();
  const [ours, peer]: [number[], number[]] = [[], []];
  for (let i = 0; i < ROUNDS; i += 1) {
    ours.push(await startOne());
    if (i % Math.ceil(ROUNDS / PEER_ROUNDS) === 0) peer.push(await startPeerOne());
  }
  report('agent-start-p50', quantile(ours, 0.5), quantile(peer, 0.5), 'ms');
  report('agent-start-p99', quantile(ours, 0.99), quantile(peer, 0.99), 'ms');
} finally {
  await undo[Symbol.asyncDispose]();
}
