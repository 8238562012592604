/** Which nodes can take a task, as data: the first filter that a node fails is why it does not. */
import type {
  DeviceRequest,
  GenericRequest,
  Network,
  Node,
  ServiceSpec,
} from '../../../shared/model/index.ts';
import { confinementOf, confinementProblem } from '../../../shared/lib/confinement.ts';
import { chooseDevices } from '../../../shared/lib/cdi.ts';
import { isEncrypted } from '../../../shared/lib/network-encrypted.ts';
import { outsideOf, outsideProblem } from '../../../shared/lib/network-outside.ts';
import { type PortClaim, portText } from '../../../shared/lib/published-port.ts';
import type { View } from '../view.ts';
import type { Constraint } from '../constraint.ts';
import { meetsConstraint, normalArch, parseConstraint } from '../constraint.ts';
import type { AffinityRows } from './affinity.ts';
import { suits } from './affinity.ts';
import type { ClusterColumns } from './columns.ts';
import { hostPortsOf } from './columns.ts';

/** What one service asks of a node, prepared once for all its tasks. */
export interface Request {
  readonly spec: ServiceSpec;
  readonly constraints: readonly Constraint[];
  readonly brokenConstraint: string | undefined;
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly genericResources: readonly GenericRequest[];
  readonly hostPorts: readonly PortClaim[];
  /** Wanted tasks of the service on each row. */
  readonly counts: Int32Array;
  readonly affinities: readonly AffinityRows[];
  /** Name of an encrypted network that it is on. */
  readonly encryptedNetwork: string | undefined;
  /** What of the spec and its networks older nodes do not know. */
  readonly newKeys: readonly NewKey[];
  /** Networks that it is on and that are not Shoal's own. */
  readonly outside: readonly Network[];
}

interface NewKey {
  readonly key: string;
  /** Name of the network that it is of. */
  readonly network?: string;
}

export interface Filter {
  readonly name: string;
  /** A node that fails it may pass when tasks of it are stopped. */
  readonly yields?: true;
  /** False: no node can fail it for this request. */
  applies(request: Request): boolean;
  check(request: Request, columns: ClusterColumns, row: number): boolean;
  /** Why this node failed: continues with "on N nodes". */
  explain(request: Request, columns: ClusterColumns, row: number): string;
}

/** Do not depend on what else is placed. */
export const FIXED_FILTERS: readonly Filter[] = [
  {
    name: 'ready',
    applies: () => true,
    check: (_request, columns, row) => {
      const { status, spec } = columns.node(row);
      return status === 'ready' && spec.availability === 'active';
    },
    explain: (_request, columns, row) => {
      const { status, spec } = columns.node(row);
      return status === 'ready' ? `availability is ${spec.availability}` : `status is ${status}`;
    },
  },
  {
    name: 'platform',
    applies: ({ spec }) => (spec.placement.platforms?.length ?? 0) > 0,
    check: ({ spec }, columns, row) => {
      const { description } = columns.node(row);
      return (spec.placement.platforms ?? []).some(
        ({ os, arch }) =>
          (os === '' || os.toLowerCase() === description?.os.toLowerCase()) &&
          (arch === '' || normalArch(arch) === normalArch(description?.arch ?? '')),
      );
    },
    explain: () => 'unsupported platform',
  },
  {
    name: 'version',
    applies: ({ newKeys }) => newKeys.length > 0,
    check: (request, columns, row) => unknownKey(request, columns.node(row)) === undefined,
    explain: (request, columns, row) => {
      const node = columns.node(row);
      const unknown = unknownKey(request, node);
      return unknown === undefined ? '' : unknownText(node, unknown);
    },
  },
  {
    name: 'encryption',
    applies: ({ encryptedNetwork }) => encryptedNetwork !== undefined,
    check: (_request, columns, row) => columns.node(row).description?.tunnelKeys !== undefined,
    explain: ({ encryptedNetwork }) =>
      `network ${encryptedNetwork ?? ''} is encrypted and the kernel has no WireGuard`,
  },
  {
    name: 'disk limit',
    applies: ({ spec }) => limitsDisk(spec),
    check: (_request, columns, row) => columns.node(row).description?.limitsDisks === true,
    explain: () => 'its file system can not limit the disks of containers',
  },
  {
    name: 'other networks',
    applies: ({ outside }) => outside.length > 0,
    check: ({ outside }, columns, row) => outsideProblem(outside, columns.node(row).drivers) === undefined,
    explain: ({ outside }, columns, row) => outsideProblem(outside, columns.node(row).drivers) ?? '',
  },
  {
    name: 'devices',
    applies: ({ spec }) => deviceRequestsOf(spec).length > 0,
    check: ({ spec }, columns, row) => devicesProblem(spec, columns.node(row)) === undefined,
    explain: ({ spec }, columns, row) => devicesProblem(spec, columns.node(row)) ?? '',
  },
  {
    name: 'confinement',
    applies: ({ spec }) => Object.keys(confinementOf(spec.container)).length > 0,
    check: ({ spec }, columns, row) => confinedProblem(spec, columns.node(row)) === undefined,
    explain: ({ spec }, columns, row) => confinedProblem(spec, columns.node(row)) ?? '',
  },
  {
    name: 'image and volumes',
    applies: ({ spec }) => spec.mode.kind === 'container' && spec.mode.nodes !== undefined,
    check: ({ spec: { mode } }, columns, row) =>
      mode.kind !== 'container' || (mode.nodes ?? []).includes(columns.node(row).id),
    explain: () => 'its image or a volume of it is not there',
  },
  {
    name: 'constraints',
    applies: ({ constraints, brokenConstraint }) => constraints.length > 0 || brokenConstraint !== undefined,
    check: ({ constraints, brokenConstraint }, columns, row) =>
      brokenConstraint === undefined &&
      constraints.every((constraint) => meetsConstraint(columns.node(row), constraint)),
    explain: ({ constraints, brokenConstraint }, columns, row) => {
      if (brokenConstraint !== undefined) return brokenConstraint;
      const broken = constraints.find((constraint) => !meetsConstraint(columns.node(row), constraint));
      return `constraint ${broken?.text ?? ''} not met`;
    },
  },
  {
    name: 'affinity',
    applies: ({ affinities }) => affinities.some(({ affinity }) => affinity.hard),
    check: ({ affinities }, _columns, row) =>
      affinities.every((one) => !one.affinity.hard || suits(one, row)),
    explain: ({ affinities }, _columns, row) => {
      const broken = affinities.find((one) => one.affinity.hard && !suits(one, row))?.affinity;
      const what = broken?.kind === 'with' ? 'no task' : 'a task';
      return `${what} of service ${broken?.service ?? ''}`;
    },
  },
];

/** Depend on what is placed already. Within a plan, a node that fails one goes on failing it. */
export const CHANGING_FILTERS: readonly Filter[] = [
  {
    name: 'resources',
    yields: true,
    applies: ({ nanoCpus, memoryBytes }) => nanoCpus > 0 || memoryBytes > 0,
    check: ({ nanoCpus, memoryBytes }, columns, row) => {
      columns.load(row);
      return (
        nanoCpus <= (columns.freeNanoCpus[row] ?? 0) && memoryBytes <= (columns.freeMemoryBytes[row] ?? 0)
      );
    },
    explain: ({ nanoCpus }, columns, row) =>
      nanoCpus > (columns.freeNanoCpus[row] ?? 0) ? 'insufficient CPU' : 'insufficient memory',
  },
  {
    name: 'generic resources',
    yields: true,
    applies: ({ genericResources }) => genericResources.length > 0,
    check: ({ genericResources }, columns, row) =>
      genericResources.every(({ kind, count }) => columns.ledger(row).free(kind) >= count),
    explain: ({ genericResources }, columns, row) => {
      const short = genericResources.find(({ kind, count }) => columns.ledger(row).free(kind) < count);
      return `insufficient generic resource ${short?.kind ?? ''}`;
    },
  },
  {
    name: 'host port',
    yields: true,
    applies: ({ hostPorts }) => hostPorts.length > 0,
    check: ({ hostPorts }, columns, row) => {
      const used = columns.hostPorts(row);
      return hostPorts.every((port) => used.inTheWayOf(port).length === 0);
    },
    explain: ({ hostPorts }, columns, row) => {
      const used = columns.hostPorts(row);
      const taken = hostPorts.find((port) => used.inTheWayOf(port).length > 0);
      return `host port ${taken === undefined ? '' : portText(taken)} already in use`;
    },
  },
  {
    name: 'max replicas per node',
    applies: ({ spec }) => spec.placement.maxReplicasPerNode > 0,
    check: ({ spec, counts }, _columns, row) => (counts[row] ?? 0) < spec.placement.maxReplicasPerNode,
    explain: ({ spec }) => `max replicas per node (${spec.placement.maxReplicasPerNode}) reached`,
  },
];

export function requestFor(
  spec: ServiceSpec,
  counts: Int32Array,
  affinities: readonly AffinityRows[] = [],
  view: Pick<View, 'networks' | 'newKeysOf' | 'newKeysOfNetwork'> = { networks: new Map() },
): Request {
  const constraints: Constraint[] = [];
  let brokenConstraint: string | undefined;
  for (const text of spec.placement.constraints) {
    try {
      constraints.push(parseConstraint(text));
    } catch (error) {
      brokenConstraint = error instanceof Error ? error.message : String(error);
    }
  }
  const attached = spec.networks.flatMap(({ network }) => view.networks.get(network) ?? []);
  return {
    spec,
    constraints,
    brokenConstraint,
    nanoCpus: spec.reservations.nanoCpus ?? 0,
    memoryBytes: spec.reservations.memoryBytes ?? 0,
    genericResources: spec.reservations.genericResources ?? [],
    hostPorts: hostPortsOf(spec),
    counts,
    affinities,
    newKeys: [
      ...(view.newKeysOf?.(spec) ?? []).map((key) => ({ key })),
      ...attached.flatMap((network) => newKeysIn(view, network)),
    ],
    encryptedNetwork: attached.find((network) => isEncrypted(network.spec))?.spec.name,
    outside: attached.filter((network) => outsideOf(network.spec) !== undefined),
  };
}

function newKeysIn({ newKeysOfNetwork }: Pick<View, 'newKeysOfNetwork'>, network: Network): NewKey[] {
  return (newKeysOfNetwork?.(network) ?? []).map((key) => ({ key, network: network.spec.name }));
}

function unknownKey({ newKeys }: Pick<Request, 'newKeys'>, { description }: Node): NewKey | undefined {
  return newKeys.find(({ key }) => description?.knows?.includes(key) !== true);
}

function unknownText(node: Node, { key, network }: NewKey): string {
  const of = network === undefined ? '' : ` of network ${network}`;
  return `Shoal ${node.description?.engineVersion ?? ''} does not know ${key}${of}`;
}

/** Why this node can not be on one of the networks as it is; undefined: it can. */
export function networkSkew(
  view: Pick<View, 'newKeysOfNetwork'>,
  networks: readonly Network[],
  node: Node,
): string | undefined {
  const unknown = unknownKey({ newKeys: networks.flatMap((network) => newKeysIn(view, network)) }, node);
  return unknown === undefined ? undefined : unknownText(node, unknown);
}

/** Of the container, or of a volume that it makes. */
function limitsDisk({ container }: ServiceSpec): boolean {
  const sized = container.mounts.some(
    (mount) => mount.kind === 'volume' && mount.options?.['size'] !== undefined,
  );
  return sized || container.runtime?.diskBytes !== undefined;
}

function deviceRequestsOf({ container }: ServiceSpec): readonly DeviceRequest[] {
  return container.runtime?.deviceRequests ?? [];
}

function devicesProblem(spec: ServiceSpec, { devices }: Node): string | undefined {
  const choice = chooseDevices(deviceRequestsOf(spec), devices);
  return 'problem' in choice ? choice.problem : undefined;
}

function confinedProblem({ container }: ServiceSpec, { confinement }: Node): string | undefined {
  return confinementProblem(confinementOf(container), confinement);
}

const NO_NODE = 'no suitable node (the cluster has no node)';

/** Before the first node has come there are no networks either, which would be the wrong thing to complain of. */
export function whyNoNode(nodes: Iterable<Node>): string | undefined {
  for (const { description } of nodes) if (description !== undefined) return undefined;
  return NO_NODE;
}

/** Reasons and the number of nodes for each. */
export type Refusals = Map<string, number>;

/** The filters of a list that matter to a request, as one question: undefined means that the node passes. */
export function whyNot(
  filters: readonly Filter[],
  request: Request,
  columns: ClusterColumns,
  row: number,
): string | undefined {
  for (const filter of filters) {
    if (!filter.check(request, columns, row)) return filter.explain(request, columns, row);
  }
  return undefined;
}

/** "no suitable node (insufficient memory on 2 nodes; constraint node.labels.zone==a not met on 1 node)". */
export function describeRefusals(refusals: Refusals): string {
  if (refusals.size === 0) return NO_NODE;
  const parts = [...refusals]
    .sort(([a, many], [b, few]) => few - many || (a < b ? -1 : 1))
    .map(([reason, count]) => `${reason} on ${count} ${count === 1 ? 'node' : 'nodes'}`);
  return `no suitable node (${parts.join('; ')})`;
}
