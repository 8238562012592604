/** What an upgrade has to know of a cluster, as its managers tell it. */
import { z } from 'zod';
import { delay } from '../../shared/lib/abort.ts';
import { AppError, UnavailableError } from '../../shared/errors/index.ts';
import type { ApiClient } from './client.ts';
import { parseHostPort } from './options.ts';
import type { Machine } from './upgrade-plan.ts';

const managerSchema = z.object({
  ID: z.string(),
  Hostname: z.string(),
  Addr: z.string(),
  NodeID: z.string().optional(),
  State: z.string(),
  Leader: z.boolean(),
  Reachability: z.string(),
  Version: z.string(),
});
const nodeSchema = z.object({
  ID: z.string(),
  Description: z.object({
    Hostname: z.string(),
    Engine: z.object({ EngineVersion: z.string() }),
  }),
  Status: z.object({ State: z.string(), Addr: z.string() }),
});
const taskSchema = z.object({
  ID: z.string(),
  Status: z.object({
    State: z.string(),
    ContainerStatus: z.object({ ContainerID: z.string() }).optional(),
  }),
});
const healthSchema = z.array(z.object({ Part: z.string(), State: z.string(), Message: z.string() }));

type ManagerJson = z.output<typeof managerSchema>;
type NodeJson = z.output<typeof nodeSchema>;

/** A manager that is being restarted does not answer for so long at most. */
const AWAY_MS = 60_000;
const RETRY_MS = 300;

/** Asked again while no manager answers. Rejects as the last attempt did. */
async function get<T>(api: ApiClient, path: string, schema: z.ZodType<T>, signal: AbortSignal): Promise<T> {
  const end = performance.now() + AWAY_MS;
  for (;;) {
    try {
      return schema.parse(await api.get(path, signal));
    } catch (error) {
      signal.throwIfAborted();
      const refused = error instanceof AppError && !(error instanceof UnavailableError);
      const status = error instanceof Error && 'status' in error ? Number(error.status) : 503;
      if ((refused && status < 500) || error instanceof z.ZodError || performance.now() > end) throw error;
      await delay(RETRY_MS, signal);
    }
  }
}

/** The machines of the cluster: a manager and the node that shares its machine are one. */
export async function readMachines(api: ApiClient, signal: AbortSignal): Promise<Machine[]> {
  const managers = await get(api, '/managers', z.array(managerSchema), signal);
  const nodes = await get(api, '/nodes', z.array(nodeSchema), signal);
  const beside = new Set(managers.map(({ NodeID }) => NodeID));
  return [
    ...managers.map((one) =>
      withManager(
        one,
        nodes.find(({ ID }) => ID === one.NodeID),
      ),
    ),
    ...nodes.filter(({ ID }) => !beside.has(ID)).map(withNode),
  ];
}

function withManager(one: ManagerJson, node: NodeJson | undefined): Machine {
  const { host } = parseHostPort(one.Addr);
  const manager = {
    version: one.Version,
    reachable: one.Reachability === 'reachable',
    leads: one.Leader,
    joining: one.State === 'joining',
  };
  const hostname = node?.Description.Hostname ?? one.Hostname;
  const beside = node === undefined ? {} : { node: withNode(node).node };
  return { name: `${hostname} (${host})`, address: host, manager, ...beside } as Machine;
}

function withNode({ ID, Description, Status }: NodeJson): Machine {
  const node = { id: ID, version: Description.Engine.EngineVersion, ready: Status.State === 'ready' };
  return { name: `${Description.Hostname} (${Status.Addr})`, address: Status.Addr, node };
}

/**
 * For so long the node is not called down while its agent is restarted, else its tasks would be moved. False for managers of a
 * release that does not know that.
 */
export async function awaitNode(
  api: ApiClient,
  nodeId: string,
  seconds: number,
  signal: AbortSignal,
): Promise<boolean> {
  const end = performance.now() + AWAY_MS;
  for (;;) {
    try {
      await api.call('POST', `/nodes/${nodeId}/await?seconds=${seconds}`, undefined, signal);
      return true;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof Error && 'status' in error && error.status === 404) return false;
      if (performance.now() > end) throw error;
      await delay(RETRY_MS, signal);
    }
  }
}

/** Of the node's tasks that run: the container's id by the task's. */
export async function runningOn(
  api: ApiClient,
  nodeId: string,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const running = (await tasksOf(api, nodeId, signal)).filter(({ Status }) => Status.State === 'running');
  return new Map(running.map(({ ID, Status }) => [ID, Status.ContainerStatus?.ContainerID ?? '']));
}

/** Those of the tasks whose containers have ended, though nobody wanted them to. */
export async function lostOf(
  api: ApiClient,
  nodeId: string,
  before: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<string[]> {
  const ended = (await tasksOf(api, nodeId, signal)).filter(({ Status }) =>
    ['failed', 'rejected', 'orphaned'].includes(Status.State),
  );
  return ended.flatMap(({ ID }) => before.get(ID) ?? []);
}

function tasksOf(api: ApiClient, nodeId: string, signal: AbortSignal) {
  const filters = encodeURIComponent(JSON.stringify({ node: [nodeId] }));
  return get(api, `/tasks?filters=${filters}`, z.array(taskSchema), signal);
}

/** What is said of stored data, while it is not of today. */
export async function storedDataProblem(api: ApiClient, signal: AbortSignal): Promise<string | undefined> {
  const parts = await get(api, '/health', healthSchema, signal);
  const found = parts.find(({ Part }) => Part === 'stored data');
  return found === undefined || found.State === 'ok' ? undefined : found.Message;
}
