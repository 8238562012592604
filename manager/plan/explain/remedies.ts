/** For each filter of the scheduler: what would make one node pass it. Every remedy is true: the tests apply them. */
import { type PortClaim, portsCollide, portText } from '../../../shared/lib/published-port.ts';
import type { Node, ServiceSpec } from '../../../shared/model/index.ts';
import type { Constraint } from '../constraint.ts';
import { meetsConstraint } from '../constraint.ts';
import { amountOf } from '../../../shared/model/index.ts';
import { suits } from '../schedule/affinity.ts';
import type { ClusterColumns } from '../schedule/columns.ts';
import { hostPortsOf } from '../schedule/columns.ts';
import type { Request } from '../schedule/filters.ts';
import { holdsResources, revisionKey } from '../states.ts';
import type { View } from '../view.ts';
import { cpuText, memoryText, type Step, writtenValue } from './step.ts';

/** What validation takes at least; less can not be reserved. */
const MIN_NANO_CPUS = 1_000_000;
const MIN_MEMORY_BYTES = 4 * 1024 * 1024;
const MIB = 1024 * 1024;
const NODE_LABEL = 'node.labels.';

export interface Case {
  readonly view: View;
  readonly columns: ClusterColumns;
  readonly request: Request;
  readonly row: number;
}

type Remedy = (one: Case) => Step[];

/** By the filter's name. A filter without an entry is told without a remedy. */
export const REMEDIES: Readonly<Record<string, Remedy>> = {
  ready: readySteps,
  platform: platformSteps,
  version: versionSteps,
  encryption: encryptionSteps,
  'disk limit': diskSteps,
  devices: deviceSteps,
  constraints: constraintSteps,
  affinity: affinitySteps,
  resources: resourceSteps,
  'generic resources': genericSteps,
  'host port': portSteps,
  'max replicas per node': maxReplicasSteps,
};

export function nodeName(node: Node): string {
  return node.description?.hostname ?? node.id;
}

function readySteps({ columns, row }: Case): Step[] {
  const node = columns.node(row);
  const { availability } = node.spec;
  const name = nodeName(node);
  const steps: Step[] = [];
  if (node.status !== 'ready') {
    const text = `${name} is ${node.status}: start its machine or its agent`;
    steps.push({ change: { kind: 'start-node', nodeId: node.id }, text });
  }
  if (availability !== 'active') {
    const what = availability === 'drain' ? 'drained' : 'paused';
    const text = `${name} is ${what}: docker node update --availability active ${name}`;
    steps.push({ change: { kind: 'activate-node', nodeId: node.id }, text });
  }
  return steps;
}

function platformSteps({ columns, request, row }: Case): Step[] {
  const { description } = columns.node(row);
  const wanted = (request.spec.placement.platforms ?? []).map(({ os, arch }) => `${os}/${arch}`).join(', ');
  const os = description?.os ?? '';
  const arch = description?.arch ?? '';
  const text = `the image is for ${wanted}: use one for ${os}/${arch}, or join a node that it is for`;
  return [{ change: { kind: 'use-platform', os, arch }, text }];
}

function versionSteps({ columns, row }: Case): Step[] {
  const node = columns.node(row);
  const text = `${nodeName(node)} runs Shoal ${node.description?.engineVersion ?? ''}: upgrade its agent`;
  return [{ change: { kind: 'other' }, text }];
}

function encryptionSteps({ columns, row }: Case): Step[] {
  const text = `${nodeName(columns.node(row))} needs a kernel with WireGuard: modprobe wireguard, then restart its agent`;
  return [{ change: { kind: 'other' }, text }];
}

function diskSteps({ columns, row }: Case): Step[] {
  const name = nodeName(columns.node(row));
  const text = `${name} needs ext4 or xfs, mounted with prjquota, below its state directory, then restart its agent`;
  return [{ change: { kind: 'other' }, text }];
}

function deviceSteps({ columns, row }: Case): Step[] {
  const name = nodeName(columns.node(row));
  const text = `${name} needs a CDI file for it in /etc/cdi or /var/run/cdi, or join a node that has one`;
  return [{ change: { kind: 'other' }, text }];
}

/** Labels are set where that is enough; whatever can not be met together with the rest is to be removed. */
function constraintSteps(one: Case): Step[] {
  const { columns, request, row } = one;
  const { constraints, brokenConstraint, spec } = request;
  if (brokenConstraint !== undefined) return [{ change: { kind: 'other' }, text: brokenConstraint }];
  const node = columns.node(row);
  const labels: Record<string, string> = { ...node.spec.labels };
  const steps: Step[] = [];
  for (const constraint of constraints) {
    if (meetsConstraint(node, constraint) || !constraint.key.startsWith(NODE_LABEL)) continue;
    const label = constraint.key.slice(NODE_LABEL.length);
    if (constraint.operator === '==') labels[label] = writtenValue(constraint);
    else delete labels[label];
    steps.push(labelStep(node, constraint, label));
  }
  const changed: Node = { ...node, spec: { ...node.spec, labels } };
  const left = constraints.filter((constraint) => !meetsConstraint(changed, constraint));
  const conflict = left.some(({ key }) => key.startsWith(NODE_LABEL));
  // Labels that contradict one another help nobody.
  const broken = conflict ? constraints.filter((constraint) => !meetsConstraint(node, constraint)) : left;
  return [...(conflict ? [] : steps), ...broken.map((constraint) => removalStep(spec, node, constraint))];
}

function labelStep(node: Node, constraint: Constraint, label: string): Step {
  const name = nodeName(node);
  if (constraint.operator === '==') {
    const value = writtenValue(constraint);
    const text = `${name} does not have the label ${label}=${value}: docker node update --label-add ${label}=${value} ${name}`;
    return { change: { kind: 'add-label', nodeId: node.id, label, value }, text };
  }
  const text = `${name} has the label ${label}=${node.spec.labels[label] ?? ''}: docker node update --label-rm ${label} ${name}`;
  return { change: { kind: 'remove-label', nodeId: node.id, label }, text };
}

function removalStep(spec: ServiceSpec, node: Node, { text: constraint }: Constraint): Step {
  const command = `docker service update --constraint-rm '${constraint}' ${spec.name}`;
  const text = `${nodeName(node)} is not what ${constraint} asks for: ${command}, or join a node that is`;
  return { change: { kind: 'remove-constraint', text: constraint }, text };
}

function affinitySteps({ columns, request, row }: Case): Step[] {
  const name = nodeName(columns.node(row));
  return request.affinities.flatMap((one): Step[] => {
    const { affinity } = one;
    if (!affinity.hard || suits(one, row)) return [];
    const label = `shoal.placement.${affinity.kind}`;
    const take = `take ${affinity.service} out of the label ${label} of ${request.spec.name}`;
    const text =
      affinity.kind === 'with'
        ? `${name} has no task of service ${affinity.service}: have one there, or ${take}`
        : `${name} has a task of service ${affinity.service}: have it elsewhere, or ${take}`;
    return [{ change: { kind: 'drop-affinity', affinity }, text }];
  });
}

function resourceSteps({ columns, request, row }: Case): Step[] {
  columns.load(row);
  const { id } = columns.node(row);
  const name = nodeName(columns.node(row));
  const { nanoCpus, memoryBytes, spec } = request;
  const cpu = columns.freeNanoCpus[row] ?? 0;
  const memory = columns.freeMemoryBytes[row] ?? 0;
  const steps: Step[] = [];
  const short = (
    free: number,
    least: number,
    text: string,
    command: string,
    change: Step['change'],
  ): void => {
    if (free < least) {
      const room = `${text}: free room there, or join a node`;
      steps.push({ change: { kind: 'free-room', nodeId: id }, text: room });
    } else {
      const less = `docker service update ${command} ${spec.name}`;
      steps.push({ change, text: `${text}: reserve at most that (${less}), or free room` });
    }
  };
  if (nanoCpus > cpu) {
    const floor = Math.floor(cpu / 1e6) * 1e6;
    const text = `${name} has ${cpuText(cpu)} of the ${cpuText(nanoCpus)} CPUs free that ${spec.name} reserves`;
    short(floor, MIN_NANO_CPUS, text, `--reserve-cpu ${cpuText(cpu)}`, {
      kind: 'reserve-cpu',
      nanoCpus: floor,
    });
  }
  if (memoryBytes > memory) {
    const floor = Math.floor(memory / MIB) * MIB;
    const text = `${name} has ${memoryText(memory)} of the ${memoryText(memoryBytes)} of memory free that ${spec.name} reserves`;
    short(floor, MIN_MEMORY_BYTES, text, `--reserve-memory ${floor / MIB}M`, {
      kind: 'reserve-memory',
      memoryBytes: floor,
    });
  }
  return steps;
}

function genericSteps({ columns, request, row }: Case): Step[] {
  const node = columns.node(row);
  const name = nodeName(node);
  return request.genericResources.flatMap(({ kind, count }): Step[] => {
    const free = columns.ledger(row).free(kind);
    if (free >= count) return [];
    const offered = node.description?.genericResources?.find((one) => one.kind === kind);
    const all = offered === undefined ? 0 : amountOf(offered);
    const what = `${name} has ${free} of ${all} ${kind} free, and ${request.spec.name} reserves ${count}`;
    if (all < count) {
      const text = `${what}: reserve fewer, or join a node that has them (shoal agent --generic-resource)`;
      return [{ change: { kind: 'other' }, text }];
    }
    const text = `${what}: stop tasks there that hold them, reserve fewer, or join a node that has them`;
    return [{ change: { kind: 'free-room', nodeId: node.id }, text }];
  });
}

function portSteps({ view, columns, request, row }: Case): Step[] {
  const node = columns.node(row);
  const used = columns.hostPorts(row);
  return request.hostPorts.flatMap((port): Step[] => {
    if (used.inTheWayOf(port).length === 0) return [];
    const holder = portHolder(view, node.id, port);
    const by = holder === undefined ? '' : ` by task ${holder.taskId} of service ${holder.service}`;
    const text = `port ${portText(port)} of ${nodeName(node)} is held in mode host${by}: publish another port, or have that task elsewhere`;
    return [{ change: { kind: 'free-port', nodeId: node.id, port: portText(port) }, text }];
  });
}

function portHolder(
  view: View,
  nodeId: string,
  port: PortClaim,
): { taskId: string; service: string } | undefined {
  for (const taskId of view.tasksOfNode(nodeId)) {
    const task = view.tasks.get(taskId);
    if (task === undefined || !holdsResources(task, view.statuses.get(taskId))) continue;
    const spec = view.revisions.get(revisionKey(task.serviceId, task.revision))?.spec;
    if (spec !== undefined && hostPortsOf(spec).some((held) => portsCollide(held, port)))
      return { taskId, service: spec.name };
  }
  return undefined;
}

function maxReplicasSteps({ columns, request, row }: Case): Step[] {
  const count = (request.counts[row] ?? 0) + 1;
  const { name } = request.spec;
  const text = `${nodeName(columns.node(row))} has ${count - 1} tasks of ${name}: docker service update --replicas-max-per-node ${count} ${name}, or join a node`;
  return [{ change: { kind: 'raise-max-replicas', count }, text }];
}
