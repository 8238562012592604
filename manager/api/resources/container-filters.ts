/** The filters of GET /containers/json (API 1.47), over single containers and those of services. */
import { isOffNetworks, nodeNetworkOf } from '../../../shared/model/index.ts';
import { InvalidError, NotFoundError } from '../../../shared/errors/index.ts';
import { containerLabels, type PlacedContainer } from '../codec/container-codec.ts';
import { shownPorts } from '../codec/standalone-codec.ts';
import type { ApiContext } from '../context.ts';
import { type Filters, passes, passesLabels } from '../http/query.ts';
import { clientRegExp } from '../http/regexp.ts';
import type { ContainerState, StoredContainer } from '../ops/container-reads.ts';
import { nodeMatcher } from './nodes.ts';
import { taskSpec } from './tasks.ts';

export const CONTAINER_FILTERS = [
  'ancestor',
  'before',
  'expose',
  'exited',
  'health',
  'id',
  'isolation',
  'is-task',
  'label',
  'name',
  'network',
  'node',
  'publish',
  'since',
  'status',
  'volume',
];

const STATES: readonly ContainerState[] = [
  'created',
  'running',
  'paused',
  'restarting',
  'removing',
  'exited',
  'dead',
];
const HEALTHS: readonly string[] = ['none', 'starting', 'healthy', 'unhealthy'];

/** What is asked for, prepared once for all containers. `all` are those that `before` and `since` may name. */
export function containerFilter(
  ctx: ApiContext,
  filters: Filters,
  all: readonly PlacedContainer[],
): (container: PlacedContainer) => boolean {
  requireKnown(filters, 'status', STATES);
  requireKnown(filters, 'health', HEALTHS);
  requireKnown(filters, 'is-task', ['true', 'false', '1', '0']);
  requireKnown(filters, 'isolation', ['default', 'process', 'hyperv', '']);
  const names = (filters.get('name') ?? []).map(clientRegExp);
  const onNode = nodeMatcher(ctx);
  const inTime = timeFilter(filters, all);
  return (container) =>
    inTime(container) &&
    passes(filters, 'id', (id) => container.id.startsWith(id)) &&
    (names.length === 0 ||
      names.some((name) => name.test(container.name) || name.test(`/${container.name}`))) &&
    passes(filters, 'status', (status) => container.state === status) &&
    passes(filters, 'exited', (code) => container.state === 'exited' && exitCodeIs(container, code)) &&
    passes(filters, 'health', (health) => (container.health ?? 'none') === health) &&
    passes(filters, 'ancestor', (image) => isImage(container, image)) &&
    passes(filters, 'network', (name) => isOnNetwork(ctx, container, name)) &&
    passes(filters, 'volume', (volume) => hasVolume(container, volume)) &&
    passes(filters, 'publish', (ports) => hasPort(container, ports, 'published')) &&
    passes(filters, 'expose', (ports) => hasPort(container, ports, 'exposed')) &&
    // The others are Windows's.
    passes(filters, 'isolation', (isolation) => isolation === 'default' || isolation === '') &&
    passes(filters, 'node', (node) => onNode(node, container.nodeId)) &&
    passes(filters, 'is-task', (on) => ['true', '1'].includes(on) === (container.stored === undefined)) &&
    passesLabels(filters, 'label', containerLabels(container));
}

/** These ask for containers that do not run, whether or not `all` is said. */
export function asksForAll(filters: Filters): boolean {
  return ['status', 'exited'].some((name) => (filters.get(name) ?? []).length > 0);
}

function requireKnown(filters: Filters, name: string, allowed: readonly string[]): void {
  for (const value of filters.get(name) ?? []) {
    if (!allowed.includes(value))
      throw new InvalidError(
        `invalid filter '${name}=${value}': ${allowed.filter((word) => word !== '').join(', ')} are known`,
      );
  }
}

function timeFilter(
  filters: Filters,
  all: readonly PlacedContainer[],
): (container: PlacedContainer) => boolean {
  const limit = (name: 'before' | 'since'): number | undefined => {
    const [ref] = filters.get(name) ?? [];
    if (ref === undefined) return undefined;
    const wanted = ref.replace(/^\//, '');
    const found = all.find((one) => one.name === wanted || one.id.startsWith(wanted));
    if (found === undefined) throw new NotFoundError(`No such container: ${ref}`);
    return found.createdAtMs;
  };
  const [before, since] = [limit('before'), limit('since')];
  return ({ createdAtMs }) =>
    (before === undefined || createdAtMs < before) && (since === undefined || createdAtMs > since);
}

function exitCodeIs(container: PlacedContainer, text: string): boolean {
  if (!/^-?\d+$/.test(text)) throw new InvalidError(`invalid filter 'exited=${text}': a number is expected`);
  return (container.exitCode ?? 0) === Number(text);
}

/** By name, with or without `:latest`, by repository, or by id. */
function isImage({ image, imageId }: PlacedContainer, wanted: string): boolean {
  const name = image.replace(/@.*$/, '');
  const digits = wanted.replace(/^sha256:/, '');
  return (
    image === wanted ||
    name === wanted ||
    name === `${wanted}:latest` ||
    name.replace(/:[^/:]*$/, '') === wanted ||
    (/^[0-9a-f]{4,64}$/.test(digits) && imageId.replace(/^sha256:/, '').startsWith(digits))
  );
}

function isOnNetwork(ctx: ApiContext, container: PlacedContainer, name: string): boolean {
  const own = nodeNetworkOf(name);
  const { stored } = container;
  // Those of a single container change while it runs, which its node's record of it does not say.
  const networks = stored === undefined ? container.networks : networksNow(stored);
  if (own === undefined) return networks.some(({ network }) => networkIs(ctx, network, name));
  const task = ctx.store.get('tasks', container.taskId);
  const spec =
    container.stored?.revision.spec ?? (task === undefined ? undefined : taskSpec(ctx.store, task));
  // What is on no network of its own is what Docker puts on its bridge.
  if (own === 'bridge') return spec?.networks.length === 0 && !isOffNetworks(spec.container.runtime);
  return spec?.container.runtime?.network === own;
}

function networksNow({ task, revision }: StoredContainer): readonly { readonly network: string }[] {
  return [...(task?.addresses ?? []), ...revision.spec.networks];
}

function networkIs(ctx: ApiContext, network: string, ref: string): boolean {
  return network === ref || ctx.store.get('networks', network)?.spec.name === ref;
}

/** By the volume's name, or by where something is mounted. */
function hasVolume(container: PlacedContainer, wanted: string): boolean {
  const mounts = container.details?.mounts ?? container.stored?.revision.spec.container.mounts ?? [];
  return mounts.some(
    (mount) =>
      mount.target === wanted || ('name' in mount && mount.name === wanted) || sourceIs(mount, wanted),
  );
}

function sourceIs(mount: { kind: string; source?: string }, wanted: string): boolean {
  return (mount.kind === 'volume' || mount.kind === 'bind') && mount.source === wanted;
}

/** "80", "80/udp", "8000-8010/tcp". */
function hasPort(container: PlacedContainer, text: string, kind: 'published' | 'exposed'): boolean {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(text);
  if (match === null)
    throw new InvalidError(
      `invalid filter '${text}': a port, or a range, with or without /tcp or /udp, is expected`,
    );
  const [first, protocol] = [Number(match[1]), match[3] ?? 'tcp'];
  const last = match[2] === undefined ? first : Number(match[2]);
  const ports = portsOf(container, kind);
  return ports.some((port) => port.protocol === protocol && port.number >= first && port.number <= last);
}

function portsOf(
  container: PlacedContainer,
  kind: 'published' | 'exposed',
): { number: number; protocol: string }[] {
  const { stored } = container;
  if (stored === undefined) return [];
  const shown = shownPorts(container, stored);
  if (kind === 'published')
    return shown.published.map((port) => ({ number: port.publishedPort, protocol: port.protocol }));
  const exposed = shown.exposed.map((text) => {
    const [number, protocol = 'tcp'] = text.split('/');
    return { number: Number(number), protocol };
  });
  return [
    ...shown.published.map((port) => ({ number: port.targetPort, protocol: port.protocol })),
    ...exposed,
  ];
}
