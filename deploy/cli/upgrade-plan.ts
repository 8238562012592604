/** PURE. Which machine is upgraded next, or why none may be: managers first, the one that leads last, then nodes. */
import { versionSkew } from '../../shared/lib/version-skew.ts';

export interface Machine {
  /** For people. */
  readonly name: string;
  /** Where the managers see it. */
  readonly address: string;
  readonly manager?: {
    readonly version: string;
    readonly reachable: boolean;
    readonly leads: boolean;
    /** Its etcd does not vote yet. */
    readonly joining: boolean;
  };
  readonly node?: { readonly id: string; readonly version: string; readonly ready: boolean };
}

export type UpgradeStep =
  | { readonly kind: 'upgrade'; readonly machine: Machine }
  | { readonly kind: 'stop'; readonly reason: string }
  /** May pass by itself within seconds, else it is a reason to stop. */
  | { readonly kind: 'wait'; readonly reason: string }
  /** Nodes that are not there and of another version. */
  | { readonly kind: 'done'; readonly leftOut: readonly Machine[] };

export interface UpgradeView {
  readonly machines: readonly Machine[];
  readonly target: string;
  /** Ids of the nodes that were ready when the upgrade began: they have to stay so. */
  readonly readyBefore: ReadonlySet<string>;
}

export function nextStep(view: UpgradeView): UpgradeStep {
  const reason = unfit(view);
  if (reason !== undefined) return { kind: 'stop', reason };
  const trouble = unwell(view);
  if (trouble !== undefined) return { kind: 'wait', reason: trouble };
  const machine = order(view).find((one) => !isDone(one, view.target));
  if (machine !== undefined) return { kind: 'upgrade', machine };
  return {
    kind: 'done',
    leftOut: view.machines.filter(
      ({ node }) => node !== undefined && !node.ready && node.version !== view.target,
    ),
  };
}

/** True when all that runs on it, and is there, is of the version. */
export function isDone({ manager, node }: Machine, target: string): boolean {
  const nodeIsDone = node === undefined || !node.ready || node.version === target;
  return nodeIsDone && (manager === undefined || manager.version === target);
}

/** What still keeps it from being well after its upgrade; undefined: it is. */
export function waitsFor({ manager, node }: Machine, target: string, wasReady: boolean): string | undefined {
  if (manager !== undefined) {
    if (manager.version !== target) return `its manager says it is ${manager.version}`;
    if (!manager.reachable) return 'its manager is not reachable';
    if (manager.joining) return 'its etcd does not vote';
  }
  if (node === undefined || !wasReady) return undefined;
  if (!node.ready) return 'its node is not ready';
  return node.version === target ? undefined : `its node says it is ${node.version}`;
}

/** Versions that this release must not be mixed with. */
function unfit({ machines, target }: UpgradeView): string | undefined {
  for (const { name, manager, node } of machines) {
    const versions = [manager?.version, node?.ready === true ? node.version : undefined];
    for (const version of versions) {
      if (version === undefined || version === '') continue;
      const skew = versionSkew(target, version);
      if (skew === 'newer')
        return `${name} has ${version}, and ${target} is older: a way back is described in docs/operate.md (Upgrade)`;
      if (skew === 'apart')
        return `${name} has ${version}, more than one minor release from ${target}: upgrade to the releases between first`;
    }
  }
  return undefined;
}

function unwell({ machines, readyBefore }: UpgradeView): string | undefined {
  const managers = machines.filter(({ manager }) => manager !== undefined);
  const away = managers.filter(({ manager }) => manager?.reachable === false).map(({ name }) => name);
  if (away.length > 0)
    return `the manager ${away.join(', ')} is not reachable, and another one must not be away too: start it, or shoal manager rm`;
  const joining = managers.filter(({ manager }) => manager?.joining === true).map(({ name }) => name);
  if (joining.length > 0) return `the manager ${joining.join(', ')} is joining: wait until it votes`;
  if (!managers.some(({ manager }) => manager?.leads === true)) return 'no manager leads';
  const lost = machines.filter(({ node }) => node !== undefined && !node.ready && readyBefore.has(node.id));
  if (lost.length === 0) return undefined;
  return `${lost.map(({ name }) => name).join(', ')} was ready when the upgrade began, and is not any more`;
}

/** Of two that lead and follow the one that leads is asked to go last: the leadership moves once. */
function order({ machines }: UpgradeView): Machine[] {
  const rank = ({ manager }: Machine): number => (manager === undefined ? 2 : manager.leads ? 1 : 0);
  return machines.toSorted(
    (a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name, 'en', { numeric: true }),
  );
}
