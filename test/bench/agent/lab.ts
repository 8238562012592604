/** The part of an agent that starts containers on an overlay network, without a manager, for benchmarks. Needs root. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CdiDirectories } from '../../../agent/cdi/directories.ts';
import { ContainerBuilder } from '../../../agent/container/builder.ts';
import { Containers } from '../../../agent/container/containers.ts';
import { imageArchive } from '../../../agent/image/build-tar.ts';
import { ImageService } from '../../../agent/image/image-service.ts';
import { NetworkDriver } from '../../../agent/network/driver.ts';
import { mountMemory } from '../../../agent/files/memory-directory.ts';
import { TaskFiles } from '../../../agent/files/task-files.ts';
import { removeTmpfs } from '../../../agent/native/tmpfs.ts';
import { Volumes } from '../../../agent/volume/volumes.ts';
import { ContainerClaims } from '../../../agent/worker/container-claims.ts';
import { TaskExecutor } from '../../../agent/worker/executor.ts';
import { removeCgroup } from '../../../deploy/local/cgroups.ts';
import { buildExampleImage, EXAMPLE_IMAGE } from '../../../deploy/local/example-image.ts';
import { formatAddress, parseAddress } from '../../../shared/lib/cidr.ts';
import type { UndoStack } from '../../../shared/lib/undo-stack.ts';
import {
  type AssignmentSet,
  DEFAULT_RESTART,
  DEFAULT_UPDATE,
  type EndpointAssignment,
  type ServiceSpec,
  type TaskAssignment,
} from '../../../shared/model/index.ts';
import { leftoverName } from '../../harness/leftovers.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const CLUSTER = `bench${process.pid}`;
const NODE = 'benchnode';
const NETWORK = 'net1';
/** An agent's is in memory, too: on /run. */
const RUN_BYTES = 256 << 20;
const never = new AbortController().signal;

const spec: ServiceSpec = {
  name: 'bench',
  labels: {},
  mode: { kind: 'replicated', replicas: 1 },
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

export interface Lab {
  readonly tasks: readonly TaskAssignment[];
  readonly containers: Containers;
  readonly prepare: (task: TaskAssignment) => Promise<void>;
  /** Rejects when it does not run. */
  readonly start: (task: TaskAssignment) => Promise<void>;
  readonly remove: (task: TaskAssignment) => Promise<void>;
}

/** `count` tasks, known to the network from the start, so that what is measured is the start and not the assignment. */
export async function startLab(count: number, undo: UndoStack): Promise<Lab> {
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
  const runDirectory = join(directory, 'run');
  await mountMemory(runDirectory, RUN_BYTES);
  undo.defer(() => removeTmpfs(runDirectory));
  const containers: Containers = new Containers(directory, runDirectory, silentLogger);
  await containers.load();
  const cgroupParent = `/${leftoverName('bench')}${CLUSTER}`;
  undo.defer(() => removeCgroup(cgroupParent));
  const builder = new ContainerBuilder({
    images,
    containers,
    volumes,
    cdi: await CdiDirectories.open({ cdiDirectories: [], logger: silentLogger }, () => undefined, never),
    resolvConf: (task) => network.resolvConfFor(task.taskId),
    cgroupParent,
    files: new TaskFiles(undefined),
    platform: { os: 'linux', arch: 'x86_64' },
    nodeId: NODE,
    hostname: NODE,
    nodeAddress: '127.0.0.1',
  });
  const executor = new TaskExecutor(
    containers,
    builder,
    network,
    silentLogger,
    new ContainerClaims(),
    (name) => volumes.discard(name),
  );
  const tasks = Array.from({ length: count }, (_, slot) => taskOf(slot + 1));
  await network.apply(assignments(tasks), never);
  return {
    tasks,
    containers,
    prepare: async (task) => void (await executor.prepare(task, never)),
    start: async (task) => {
      const outcome = await executor.start(task, () => undefined, never);
      if (outcome.state !== 'running') throw new Error(JSON.stringify(outcome));
    },
    remove: async (task) => {
      await executor.stop(task.taskId, never);
      await executor.remove(task.taskId);
    },
  };
}
