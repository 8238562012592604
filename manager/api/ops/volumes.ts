/**
 * Volumes are their nodes'. A volume that one node has is called by its name; where several nodes have one of the name, lists
 * show NODE/NAME, and a plain name is refused. NODE/NAME is always taken; NODE is a host name, an id or the start of one.
 */
import {
  InvalidError,
  NotFoundError,
  UnavailableError,
  UnsupportedError,
} from '../../../shared/errors/index.ts';
import { newContainerId } from '../../../shared/lib/ids.ts';
import type { Node } from '../../../shared/model/index.ts';
import type { NewVolume, VolumeInfo } from '../../../shared/model/node-methods/index.ts';
import { ANONYMOUS_LABEL, volumeBytes } from '../../../shared/lib/local-volume.ts';
import { askNodes } from '../ask-nodes.ts';
import type { ShownVolume } from '../codec/volume-codec.ts';
import type { ApiContext } from '../context.ts';
import { callNode } from '../node-call.ts';
import { findNode, nodeName } from '../resources/nodes.ts';

/** A mount may have to wait for a server. */
const CREATE_TIMEOUT_MS = 15_000;

export interface PlacedVolume extends ShownVolume {
  readonly nodeId: string;
}

export interface Volumes {
  readonly volumes: readonly PlacedVolume[];
  readonly missing: readonly string[];
  readonly freeBytes: ReadonlyMap<string, number>;
}

/** Of all nodes, by name. */
export async function listVolumes(ctx: ApiContext, signal: AbortSignal): Promise<Volumes> {
  const { answers, refusals, missing } = await askNodes(ctx, 'volume.list', {}, signal);
  const volumes = answers.flatMap(({ nodeId, result }) =>
    result.volumes.map((volume) => ({ nodeId, volume })),
  );
  const freeBytes = new Map(answers.map(({ nodeId, result }) => [nodeId, result.freeBytes]));
  const silent = [...missing, ...refusals.map(({ nodeId }) => nodeId)];
  return { volumes: showVolumes(ctx, volumes), missing: silent, freeBytes };
}

/** Gives each the name that it is called by. */
export function showVolumes(
  ctx: ApiContext,
  volumes: readonly { nodeId: string; volume: VolumeInfo }[],
): PlacedVolume[] {
  const seen = new Map<string, number>();
  for (const { volume } of volumes) seen.set(volume.name, (seen.get(volume.name) ?? 0) + 1);
  return volumes
    .map(({ nodeId, volume }) => {
      const place = placeName(ctx, nodeId);
      const shownName = (seen.get(volume.name) ?? 0) > 1 ? `${place}/${volume.name}` : volume.name;
      return { nodeId, volume, shownName, nodeName: place };
    })
    .sort((a, b) => (a.shownName < b.shownName ? -1 : 1));
}

/** Its host name, or its id when another node has that host name, too. */
function placeName({ store }: ApiContext, nodeId: string): string {
  const node = store.get('nodes', nodeId);
  if (node === undefined) return nodeId;
  const name = nodeName(node);
  const namesakes = [...store.all('nodes').values()].filter((one) => nodeName(one) === name);
  return namesakes.length > 1 ? nodeId : name;
}

/** NODE/NAME in its parts. */
export function splitVolumeName(ref: string): { node?: string; name: string } {
  const slash = ref.indexOf('/');
  return slash < 0 ? { name: ref } : { node: ref.slice(0, slash), name: ref.slice(slash + 1) };
}

/** Throws NotFoundError, or InvalidError that names the nodes when several have one of the name. */
export async function findVolume(ctx: ApiContext, ref: string, signal: AbortSignal): Promise<PlacedVolume> {
  const { node, name } = splitVolumeName(ref);
  if (node !== undefined) {
    const { id } = nodeOf(ctx, node, ref);
    const volume = await callNode(ctx, id, 'volume.inspect', { name }, signal);
    return { nodeId: id, volume, shownName: ref, nodeName: placeName(ctx, id) };
  }
  const { volumes, missing } = await listVolumes(ctx, signal);
  const found = volumes.filter(({ volume }) => volume.name === name);
  if (found.length > 1) throw ambiguous(name, found);
  const [only] = found;
  if (only !== undefined) return only;
  if (missing.length > 0)
    throw new UnavailableError(`get ${name}: no such volume, but ${missing.length} nodes did not answer`);
  throw new NotFoundError(`get ${name}: no such volume`);
}

function ambiguous(name: string, found: readonly PlacedVolume[]): InvalidError {
  const names = found.map(({ shownName }) => shownName).join(', ');
  return new InvalidError(
    `volume name ${name} is ambiguous (${found.length} nodes have one): use one of ${names}`,
  );
}

function nodeOf(ctx: ApiContext, node: string, ref: string): Node {
  try {
    return findNode(ctx, node);
  } catch (cause) {
    if (cause instanceof NotFoundError) throw new NotFoundError(`get ${ref}: no such volume`, { cause });
    throw cause;
  }
}

/**
 * One that exists is given back as it is. A new one is made on the node that its name says, else on the ready and active
 * node with the most free space where volumes are kept; of equals, the one with the fewest volumes.
 */
export async function createVolume(
  ctx: ApiContext,
  asked: NewVolume,
  signal: AbortSignal,
): Promise<PlacedVolume & { readonly created: boolean }> {
  const { node, name } = splitVolumeName(asked.name);
  const unnamed = name === '';
  const labels = unnamed ? { ...asked.labels, [ANONYMOUS_LABEL]: '' } : asked.labels;
  const wanted = { ...asked, name: unnamed ? newContainerId() : name, labels };
  if (node !== undefined) return make(ctx, findNode(ctx, node).id, wanted, asked.name, signal);
  const all = await listVolumes(ctx, signal);
  const found = all.volumes.filter(({ volume }) => volume.name === wanted.name);
  if (found.length > 1) throw ambiguous(wanted.name, found);
  const [known] = found;
  if (known !== undefined) return { ...known, created: false };
  return make(
    ctx,
    roomiest(ctx, all, volumeBytes(wanted.options) !== undefined),
    wanted,
    wanted.name,
    signal,
  );
}

async function make(
  ctx: ApiContext,
  nodeId: string,
  wanted: NewVolume,
  shownName: string,
  signal: AbortSignal,
) {
  const { volume, created } = await callNode(ctx, nodeId, 'volume.create', wanted, signal, CREATE_TIMEOUT_MS);
  return { nodeId, volume, shownName, nodeName: placeName(ctx, nodeId), created };
}

/** Free space within a sixteenth of the most counts as equal: it changes all the time. */
function roomiest(ctx: ApiContext, { volumes, freeBytes }: Volumes, limited: boolean): string {
  const ready = [...freeBytes.keys()]
    .flatMap((id) => ctx.store.get('nodes', id) ?? [])
    .filter((node) => node.status === 'ready' && node.spec.availability === 'active');
  const nodes = limited ? ready.filter(({ description }) => description?.limitsDisks === true) : ready;
  if (nodes.length < ready.length && nodes.length === 0)
    throw new UnsupportedError(
      'volume option "size": quota size requested but no quota support: no node keeps its volumes on ext4 or xfs, mounted with prjquota',
    );
  const most = Math.max(...nodes.map(({ id }) => freeBytes.get(id) ?? 0));
  const count = (id: string): number => volumes.filter(({ nodeId }) => nodeId === id).length;
  const [best] = nodes
    .filter(({ id }) => (freeBytes.get(id) ?? 0) >= most - most / 16)
    .sort((a, b) => count(a.id) - count(b.id) || (nodeName(a) < nodeName(b) ? -1 : 1));
  if (best === undefined) throw new UnavailableError('no node is ready to hold a volume');
  return best.id;
}
