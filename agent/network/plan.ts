/** The differences of all namespaces of a node in one order of work. */
import type { DesiredState, SandboxState } from './desired.ts';
import { deviceOf, diffScope, isEmpty, type NetOp, type ScopeDiff } from './diff.ts';
import type { KernelObject, Scope } from './kernel-object.ts';
import { TUNNEL, UPLINK, uplinkName } from './names.ts';
import { isWire } from './wire.ts';

/** What the kernel holds, as last read or made. Sandboxes by VNI. */
export interface ObservedState {
  readonly host: Scope;
  readonly sandboxes: ReadonlyMap<number, Scope>;
}

/** Operations in one namespace; null is the host's. */
export interface Batch {
  readonly netns: string | null;
  readonly ops: readonly NetOp[];
}

export interface Plan {
  readonly batches: readonly Batch[];
  /** VNIs of sandboxes that are made, and that go: what has sockets in them lets go first. */
  readonly created: readonly number[];
  readonly removed: readonly number[];
}

interface SandboxDiff {
  readonly sandbox: SandboxState;
  readonly isNew: boolean;
  readonly diff: ScopeDiff;
}

/** `pathOf` gives the path of a sandbox that is not desired any more. */
export function makePlan(
  observed: ObservedState,
  desired: DesiredState,
  prefix: string,
  pathOf: (vni: number) => string,
): Plan {
  const halves = lostEnds(observed.host, desired.host);
  const sandboxes = [...desired.sandboxes.values()].map((sandbox): SandboxDiff => {
    const { netns, objects } = sandbox;
    const now = observed.sandboxes.get(sandbox.vni);
    const diff = diffScope(now ?? new Map(), objects, netns, halves.has(netns) ? [UPLINK] : []);
    return { sandbox, isNew: now === undefined, diff };
  });
  const created = sandboxes.filter((one) => one.isNew).map((one) => one.sandbox.vni);
  const wanted = new Set([...desired.sandboxes.values()].map((sandbox) => sandbox.vni));
  const removed = [...observed.sandboxes.keys()].filter((vni) => !wanted.has(vni));
  // The uplink of a sandbox that is made anew still leads into the old one.
  const orphans = created
    .map((vni) => uplinkName(prefix, vni))
    .filter((name) => observed.host.has(`link ${name}`));
  const isOther = (object: KernelObject): boolean => !isWire(object, prefix);
  const host = diffScope(
    where(withoutDevices(observed.host, orphans), isOther),
    where(desired.host, isOther),
    '',
    strayedEnds(observed, desired, prefix),
  );
  const wire = wireBatch(observed.host, desired.host, prefix);
  const batches = [
    // Encryption is there before what needs it, and goes after it.
    ...(wire.isLast ? [] : [wire.batch]),
    hostBatch(orphans.map((name) => ({ op: 'link-del', name }))),
    ...sandboxes.flatMap(foundation),
    hostBatch([...host.before, ...sandboxes.flatMap(({ diff }) => diff.fromHost), ...host.links]),
    ...sandboxes.map(({ sandbox, diff }) => inside(sandbox, [...diff.links, ...diff.rest])),
    hostBatch([...host.sysctls, ...host.rest]),
    ...removed.flatMap((vni) => removal(pathOf(vni))),
    ...(wire.isLast ? [wire.batch] : []),
  ];
  return { batches: batches.filter((batch) => batch.ops.length > 0), created, removed };
}

/** Namespaces of the sandboxes whose uplink has no end on the host: that has another name now, say. */
function lostEnds(observed: Scope, desired: Scope): Set<string> {
  return new Set(
    [...desired].flatMap(([key, object]) =>
      object.type === 'veth' && object.peer !== undefined && !observed.has(key) ? [object.peer.netns] : [],
    ),
  );
}

/** Uplinks whose end in the sandbox is gone, or has another name: both are made anew. */
function strayedEnds({ host, sandboxes }: ObservedState, desired: DesiredState, prefix: string): string[] {
  return [...desired.sandboxes.values()].flatMap(({ vni, objects }) => {
    const [now, name] = [sandboxes.get(vni), uplinkName(prefix, vni)];
    const strayed = now !== undefined && objects.has(`link ${UPLINK}`) && !now.has(`link ${UPLINK}`);
    return strayed && host.has(`link ${name}`) ? [name] : [];
  });
}

function where(scope: Scope, keep: (object: KernelObject) => boolean): Scope {
  return new Map([...scope].filter(([, object]) => keep(object)));
}

function wireBatch(now: Scope, wanted: Scope, prefix: string): { batch: Batch; isLast: boolean } {
  const isOf = (object: KernelObject): boolean => isWire(object, prefix);
  const next = where(wanted, isOf);
  const diff = diffScope(where(now, isOf), next, '');
  const ops = [...diff.before, ...diff.links, ...diff.sysctls, ...diff.rest];
  return { batch: hostBatch(ops), isLast: next.size === 0 };
}

function hostBatch(ops: readonly NetOp[]): Batch {
  return { netns: null, ops };
}

function inside(sandbox: SandboxState, ops: readonly NetOp[]): Batch {
  return { netns: sandbox.netns, ops };
}

function foundation({ sandbox, isNew, diff }: SandboxDiff): Batch[] {
  if (isEmpty(diff)) return [];
  return [
    hostBatch(isNew ? [{ op: 'netns-add', path: sandbox.netns }] : []),
    inside(sandbox, [
      ...diff.before,
      ...diff.sysctls,
      ...(isNew ? [{ op: 'link-set', name: 'lo', up: true }] : []),
    ]),
  ];
}

/** The tunnel goes by itself: a namespace is taken down later, and until then its VNI would stay taken. */
function removal(netns: string): Batch[] {
  return [{ netns, ops: [{ op: 'link-del', name: TUNNEL }] }, hostBatch([{ op: 'netns-del', path: netns }])];
}

function withoutDevices(scope: Scope, devices: readonly string[]): Scope {
  if (devices.length === 0) return scope;
  const gone = new Set(devices);
  return new Map(
    [...scope].filter(([, object]) => {
      return !gone.has((object.type === 'veth' ? object.name : deviceOf(object)) ?? '');
    }),
  );
}
