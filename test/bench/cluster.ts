/**
 * A service from its creation to its tasks running, against Swarm on the distribution's dockerd: the same requests over
 * the same API, on one node each, polled the same way. Also what the daemons of a node weigh. Needs root.
 */
import { readFile } from 'node:fs/promises';
import { ApiClient } from '../../deploy/cli/client.ts';
import { clusterProcesses } from '../../deploy/local/proc.ts';
import { cluster, type TestCluster } from '../harness/cluster.ts';
import { importBusybox, startDockerd, type Dockerd } from '../harness/dockerd.ts';
import { report, quantile } from './report.ts';

const CREATE_ROUNDS = 9;
const SCALE = 50;
const REMOVE = 50;
const DEADLINE_MS = 180_000;
const POLL_MS = 5;
const OUR_IMAGE = 'shoal/example:latest';
const PEER_IMAGE = 'busybox:bench';

interface Task {
  readonly Status: { readonly State: string };
}

interface Service {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: { readonly Mode: { readonly Replicated: { Replicas: number } } };
}

/** One side of the comparison: an API and an image that it has. */
class Side {
  readonly #client: ApiClient;
  readonly #image: string;
  readonly #signal = AbortSignal.timeout(10 * DEADLINE_MS);

  constructor(socket: string, image: string) {
    this.#client = new ApiClient(socket);
    this.#image = image;
  }

  /** Milliseconds from the request to create a service of one replica until its task runs. */
  async createToRunning(name: string): Promise<number> {
    const begin = performance.now();
    const id = await this.create(name, 1);
    await this.#until(() => this.#running(id), 1);
    const took = performance.now() - begin;
    await this.remove(id);
    return took;
  }

  /** Milliseconds from the request to scale from 0 to `count` until all run; then until all are gone again. */
  async scaleAndRemove(name: string, count: number): Promise<{ scaleMs: number; removeMs: number }> {
    const id = await this.create(name, 0);
    const service = (await this.#client.get(`/v1.41/services/${id}`, this.#signal)) as Service;
    service.Spec.Mode.Replicated.Replicas = count;
    const begin = performance.now();
    await this.#post(`/v1.41/services/${id}/update?version=${service.Version.Index}`, service.Spec);
    await this.#until(() => this.#running(id), count);
    const scaled = performance.now();
    await this.remove(id);
    return { scaleMs: scaled - begin, removeMs: performance.now() - scaled };
  }

  async create(name: string, replicas: number): Promise<string> {
    const answer = await this.#post('/v1.41/services/create', {
      Name: name,
      Mode: { Replicated: { Replicas: replicas } },
      // It ends at SIGTERM by itself: the grace period is not what is measured.
      TaskTemplate: {
        ContainerSpec: {
          Image: this.#image,
          Command: ['/bin/sh', '-c', 'trap "exit 0" TERM; while :; do sleep 1 & wait; done'],
        },
      },
    });
    return (answer as { ID: string }).ID;
  }

  async remove(id: string): Promise<void> {
    await this.#client.call('DELETE', `/v1.41/services/${id}`, undefined, this.#signal);
    await this.#until(async () => (await this.#containers()) === 0, true);
  }

  async #running(service: string): Promise<number> {
    const filters = encodeURIComponent(JSON.stringify({ service: [service] }));
    const tasks = (await this.#client
      .get(`/v1.41/tasks?filters=${filters}`, this.#signal)
      .catch(() => [])) as Task[];
    return tasks.filter((task) => task.Status.State === 'running').length;
  }

  async #containers(): Promise<number> {
    return ((await this.#client.get('/v1.41/containers/json', this.#signal)) as unknown[]).length;
  }

  async #post(path: string, body: unknown): Promise<unknown> {
    return this.#client.call(
      'POST',
      path,
      { type: 'application/json', text: JSON.stringify(body) },
      this.#signal,
    );
  }

  async #until<T>(look: () => Promise<T>, wanted: T): Promise<void> {
    for (const deadline = Date.now() + DEADLINE_MS; (await look()) !== wanted; ) {
      if (Date.now() > deadline) throw new Error(`not reached within ${DEADLINE_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}

async function createRounds(side: Side): Promise<number[]> {
  const took: number[] = [];
  for (let round = 0; round < CREATE_ROUNDS; round += 1)
    took.push(await side.createToRunning(`create${round}`));
  return took;
}

async function residentMiB(pids: readonly number[]): Promise<number> {
  const texts = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')));
  return texts.reduce((sum, text) => sum + Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? 0), 0) / 1024;
}

async function agentMiB(swarm: TestCluster): Promise<number> {
  const all = await clusterProcesses(swarm.layout.stateDir, swarm.layout.runDir);
  return residentMiB(all.filter((info) => / agent /.test(info.command)).map((info) => info.pid));
}

async function ours(): Promise<{ create: number[]; scaleMs: number; removeMs: number; residentMiB: number }> {
  await using swarm = await cluster().manager().agents(1).up();
  const side = new Side(swarm.layout.socket, OUR_IMAGE);
  const create = await createRounds(side);
  const scale = await side.scaleAndRemove('scale', SCALE);
  return { create, ...scale, residentMiB: await agentMiB(swarm) };
}

async function peers(dockerd: Dockerd): Promise<Awaited<ReturnType<typeof ours>>> {
  await importBusybox(dockerd, PEER_IMAGE);
  await dockerd.docker('swarm', 'init', '--advertise-addr', '127.0.0.1');
  const side = new Side(dockerd.socket, PEER_IMAGE);
  const create = await createRounds(side);
  const scale = await side.scaleAndRemove('scale', SCALE);
  return { create, ...scale, residentMiB: await residentMiB(await dockerd.pids()) };
}

const we = await ours();
const they = await (async () => {
  await using dockerd = await startDockerd();
  return await peers(dockerd);
})();
report('service-create-to-running-p50', quantile(we.create, 0.5), quantile(they.create, 0.5), 'ms');
report(`scale-0-to-${SCALE}`, we.scaleMs, they.scaleMs, 'ms');
report(`remove-${REMOVE}-tasks`, we.removeMs, they.removeMs, 'ms');
report('agent-rss-after-scale', we.residentMiB, they.residentMiB, 'MiB');
