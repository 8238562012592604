/** What the cluster says of itself at one moment, in the words of tests. */
import { z } from 'zod';
import type { ApiClient } from '../../deploy/cli/client.ts';
import { type ServiceJson, serviceSchema, type TaskJson, taskSchema } from '../../deploy/cli/convergence.ts';

const nodeSchema = z.object({
  ID: z.string(),
  Description: z.object({ Hostname: z.string() }).optional(),
  Status: z.object({ State: z.string(), Message: z.string().optional() }),
});
type NodeJson = z.infer<typeof nodeSchema>;

/** A set of tasks that can be narrowed. */
export class TaskSet {
  readonly tasks: readonly TaskJson[];
  readonly #hostname: (nodeId: string | undefined) => string;

  constructor(tasks: readonly TaskJson[], hostname: (nodeId: string | undefined) => string) {
    this.tasks = tasks;
    this.#hostname = hostname;
  }

  get count(): number {
    return this.tasks.length;
  }

  /** Host names of their nodes, each once, sorted. */
  get nodes(): string[] {
    return [...new Set(this.tasks.map((task) => this.#hostname(task.NodeID)))].toSorted();
  }

  on(hostname: string): TaskSet {
    return this.#where((task) => this.#hostname(task.NodeID) === hostname);
  }

  notOn(hostname: string): TaskSet {
    return this.#where((task) => this.#hostname(task.NodeID) !== hostname);
  }

  in(state: string): TaskSet {
    return this.#where((task) => task.Status.State === state);
  }

  /** What their statuses complain of. */
  get errors(): string[] {
    return this.tasks.flatMap((task) => (task.Status.Err === undefined ? [] : [task.Status.Err]));
  }

  #where(keep: (task: TaskJson) => boolean): TaskSet {
    return new TaskSet(this.tasks.filter(keep), this.#hostname);
  }
}

export class ClusterState {
  readonly nodes: readonly NodeJson[];
  readonly services: readonly ServiceJson[];
  readonly #tasks: readonly TaskJson[];

  private constructor(
    nodes: readonly NodeJson[],
    services: readonly ServiceJson[],
    tasks: readonly TaskJson[],
  ) {
    this.nodes = nodes;
    this.services = services;
    this.#tasks = tasks;
  }

  static async read(api: ApiClient, signal: AbortSignal): Promise<ClusterState> {
    const [nodes, services, tasks] = await Promise.all([
      api.get('/nodes', signal),
      api.get('/services?status=true', signal),
      api.get('/tasks', signal),
    ]);
    return new ClusterState(
      z.array(nodeSchema).parse(nodes),
      z.array(serviceSchema).parse(services),
      z.array(taskSchema).parse(tasks),
    );
  }

  hostname(nodeId: string | undefined): string {
    return this.nodes.find((node) => node.ID === nodeId)?.Description?.Hostname ?? '-';
  }

  /** State of a node: ready, down, unknown; undefined when there is none of this host name. */
  node(hostname: string): string | undefined {
    return this.nodes.find((node) => node.Description?.Hostname === hostname)?.Status.State;
  }

  /** All tasks of a service, past ones too; none when there is no such service. */
  tasks(service: string): TaskSet {
    const id = this.services.find((candidate) => candidate.Spec.Name === service)?.ID;
    const own = this.#tasks.filter((task) => task.ServiceID === id);
    return new TaskSet(own, (nodeId) => this.hostname(nodeId));
  }

  /** Tasks that run and shall run. */
  running(service: string): TaskSet {
    const { tasks } = this.tasks(service);
    const own = tasks.filter((task) => task.Status.State === 'running' && task.DesiredState === 'running');
    return new TaskSet(own, (nodeId) => this.hostname(nodeId));
  }

  /** For a person who wonders why a condition was not met. */
  toString(): string {
    const names = new Map(this.services.map((service) => [service.ID, service.Spec.Name]));
    const nodes = this.nodes.map((node) => `${this.hostname(node.ID)}: ${node.Status.State}`);
    const tasks = this.#tasks.map((task) => {
      const name = `${names.get(task.ServiceID) ?? '?'}.${task.Slot ?? ''}`;
      const error = task.Status.Err === undefined ? '' : ` (${task.Status.Err})`;
      const states = `${task.Status.State}, desired ${task.DesiredState}`;
      return `${name} on ${this.hostname(task.NodeID)}: ${states}${error}`;
    });
    return [...nodes, ...tasks].map((line) => `    ${line}`).join('\n');
  }
}
