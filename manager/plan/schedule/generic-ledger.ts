/**
 * Who holds which generic resources of one node. What tasks were given they keep until they have ended, also when the node
 * no longer has it; what they hold is given to nobody else.
 *
 * A task that is `leaving` was stopped so that one that is `coming` can start in its room: the two hold the same for a
 * while, and the second does not start before the first has ended.
 */
import type { GenericRequest, GenericResource, Node } from '../../../shared/model/index.ts';
import { amountOf } from '../../../shared/model/index.ts';

export type Part = 'staying' | 'leaving' | 'coming';

const ALL: readonly Part[] = ['staying', 'leaving', 'coming'];
const LASTING: readonly Part[] = ['staying', 'coming'];

interface Kind {
  /** What the node has: of a named kind the names, in its order. */
  readonly has: GenericResource;
  readonly names: Readonly<Record<Part, Set<string>>>;
  /** Held without a name that the node has. */
  readonly units: Record<Part, number>;
}

export class GenericLedger {
  readonly #kinds = new Map<string, Kind>();

  constructor(node: Node) {
    for (const has of node.description?.genericResources ?? []) {
      const names = { staying: new Set<string>(), leaving: new Set<string>(), coming: new Set<string>() };
      this.#kinds.set(has.kind, { has, names, units: { staying: 0, leaving: 0, coming: 0 } });
    }
  }

  hold(granted: readonly GenericResource[], part: Part): void {
    for (const resource of granted) this.#add(resource, part, 1);
  }

  /** A task that stayed is told to leave. */
  leave(granted: readonly GenericResource[]): void {
    for (const resource of granted) this.#add(resource, 'staying', -1);
    this.hold(granted, 'leaving');
  }

  drop(granted: readonly GenericResource[], part: Part): void {
    for (const resource of granted) this.#add(resource, part, -1);
  }

  /** How many of a kind nobody holds. */
  free(name: string): number {
    const kind = this.#kinds.get(name);
    if (kind === undefined) return 0;
    const { staying, leaving, coming } = kind.units;
    return countFree(kind, ALL) - staying - Math.max(leaving, coming);
  }

  /** How many nobody holds once those that leave have ended. */
  freeAfterLeaving(name: string): number {
    const kind = this.#kinds.get(name);
    if (kind === undefined) return 0;
    return countFree(kind, LASTING) - kind.units.staying - kind.units.coming;
  }

  /** How many of a kind there will be for others when these are given back. */
  worth(granted: readonly GenericResource[], name: string): number {
    const kind = this.#kinds.get(name);
    const resource = granted.find((one) => one.kind === name);
    if (kind === undefined || resource === undefined) return 0;
    const { names, units } = splitNames(kind.has, resource);
    return names.length + units;
  }

  /** Chooses what a task is given, and holds it. Undefined: there is not enough. */
  take(requests: readonly GenericRequest[], part: 'staying' | 'coming'): GenericResource[] | undefined {
    const enough = part === 'staying' ? this.free.bind(this) : this.freeAfterLeaving.bind(this);
    if (requests.some(({ kind, count }) => enough(kind) < count)) return undefined;
    const granted = requests.map(({ kind: name, count }): GenericResource => {
      const kind = this.#kinds.get(name);
      if (kind === undefined || !('names' in kind.has)) return { kind: name, count };
      // What nobody has comes before what somebody leaves.
      const free = freeNames(kind, kind.has.names, ALL);
      const later = part === 'coming' ? freeNames(kind, kind.has.names, LASTING) : [];
      return { kind: name, names: [...new Set([...free, ...later])].slice(0, count) };
    });
    this.hold(granted, part);
    return granted;
  }

  #add(resource: GenericResource, part: Part, sign: 1 | -1): void {
    const kind = this.#kinds.get(resource.kind);
    if (kind === undefined) return;
    const { names, units } = splitNames(kind.has, resource);
    for (const name of names) {
      if (sign > 0) kind.names[part].add(name);
      else kind.names[part].delete(name);
    }
    kind.units[part] += sign * units;
  }
}

/**
 * Which names of the node's a task holds, and how many units besides. A name that the node no longer has takes nothing away
 * from those that it has; of a kind that is counted each takes one.
 */
function splitNames(
  has: GenericResource,
  held: GenericResource,
): { readonly names: readonly string[]; readonly units: number } {
  if (!('names' in has)) return { names: [], units: amountOf(held) };
  if (!('names' in held)) return { names: [], units: held.count };
  return { names: held.names.filter((name) => has.names.includes(name)), units: 0 };
}

function freeNames({ names }: Kind, all: readonly string[], held: readonly Part[]): string[] {
  return all.filter((name) => !held.some((part) => names[part].has(name)));
}

function countFree(kind: Kind, held: readonly Part[]): number {
  const { has } = kind;
  return 'names' in has ? freeNames(kind, has.names, held).length : has.count;
}
