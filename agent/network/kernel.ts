/** This node's part of the kernel: reads it back, and makes it as desired. Not for concurrent use. */
import { mkdir, readdir } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { applyDespite } from './apply-despite.ts';
import { applyBatches, dumpNamespace, listNft, NetworkCallError } from '../native/network.ts';
import { hostSysctls } from './desired-host.ts';
import { SANDBOX_SYSCTLS } from './desired-sandbox.ts';
import type { DesiredState, SandboxState } from './desired.ts';
import type { DetachPlan } from './detach.ts';
import type { DesiredChange, ScopeChange } from './desired-tracker.ts';
import { IPV4, IPV6, tableIn } from './family.ts';
import { FAST_TABLE, fastPathProbe } from './fast-path.ts';
import type { KernelObject, Scope } from './kernel-object.ts';
import { familied } from './nft-diff.ts';
import { hostTable, sandboxName, uplinkPrefix, vniOfSandbox, wirePrefix, wireTable } from './names.ts';
import { type NamespaceDump, observeScope, observeSeen, type TableDump } from './observe.ts';
import { observeVlans } from './outside-links.ts';
import { type Batch, makePlan, type ObservedState, type Plan } from './plan.ts';

/** A reading of the kernel. */
export interface Reading extends ObservedState {
  readonly hostDump: NamespaceDump;
  /** Backends that the kernel had noted UDP flows to, by namespace; null is the host's. */
  readonly seen: ReadonlyMap<string | null, readonly string[]>;
}

interface ScopeReading {
  readonly scope: Map<string, KernelObject>;
  readonly seen: readonly string[];
}

/** The scopes are this class's own, and change with what it does. */
interface Known extends Reading {
  host: Map<string, KernelObject>;
  readonly sandboxes: Map<number, Map<string, KernelObject>>;
}

export class Kernel {
  readonly #prefix: string;
  readonly #netnsDir: string;
  #last: Known | undefined;
  #hasFastPath: boolean | undefined;

  constructor(prefix: string, netnsDir: string) {
    this.#prefix = prefix;
    this.#netnsDir = netnsDir;
  }

  pathOf(vni: number): string {
    return `${this.#netnsDir}/${sandboxName(this.#prefix, vni)}`;
  }

  /** Whether the kernel has what fast-path.ts needs; known from the first reading on. */
  get hasFastPath(): boolean {
    return this.#hasFastPath === true;
  }

  /** What was last read or made; read now if there is none. */
  async observed(): Promise<Reading> {
    this.#last ??= await this.#read();
    return this.#last;
  }

  /** The next look reads the kernel itself. */
  forget(): void {
    this.#last = undefined;
  }

  /** True when the next look needs no reading. */
  get isKnown(): boolean {
    return this.#last !== undefined;
  }

  /** `without`: what is taken for not being there, as `VNI KEY`. */
  async plan(change: DesiredChange, without: ReadonlySet<string> = new Set()): Promise<Plan> {
    const { host, sandboxes } = await this.observed();
    const changes = new Map([...change.sandboxes.values()].map(({ vni, scope }) => [vni, scope]));
    const concerned: ObservedState = {
      host: observedPart(host, change.host),
      sandboxes: new Map(
        [...sandboxes].map(([vni, scope]) => {
          const part = observedPart(scope, changes.get(vni) ?? WHOLE);
          const stays = ([key]: [string, KernelObject]): boolean => !without.has(`${vni} ${key}`);
          return [vni, without.size === 0 ? part : new Map([...part].filter(stays))];
        }),
      ),
    };
    await otherTurn(change);
    const plan = makePlan(concerned, desiredPart(change), this.#prefix, (vni) => this.pathOf(vni));
    await otherTurn(change);
    return plan;
  }

  /**
   * Carries the plan out. On failure nothing is taken for known. `despite`: it does what the kernel takes, and resolves with
   * the first refusal.
   */
  async carryOut(plan: Plan, change: DesiredChange, despite = false): Promise<Error | undefined> {
    await this.observed();
    const known = this.#last;
    this.#last = undefined;
    if (despite) return applyDespite(plan.batches, applyBatches);
    await applyBatches(plan.batches);
    if (known === undefined) return undefined;
    known.host = changed(known.host, change.host);
    const stay = new Set([...change.sandboxes.values()].map(({ vni }) => vni));
    for (const vni of known.sandboxes.keys()) if (!stay.has(vni)) known.sandboxes.delete(vni);
    for (const { vni, scope } of change.sandboxes.values())
      known.sandboxes.set(vni, changed(known.sandboxes.get(vni) ?? new Map(), scope));
    this.#last = known;
    return undefined;
  }

  /** Does more in sandboxes than was planned, and remembers it. On failure nothing is taken for known: part of it may be there. */
  async extend(batches: readonly Batch[], added: ReadonlyMap<number, Scope>): Promise<void> {
    try {
      await applyBatches(batches);
    } catch (error) {
      this.forget();
      throw error;
    }
    for (const [vni, objects] of added) {
      const scope = this.#last?.sandboxes.get(vni);
      for (const [key, object] of objects) scope?.set(key, object);
    }
  }

  /** Takes away from sandboxes what was not planned, and remembers it. False on failure, and nothing is taken for known. */
  async shrink({ batches, removed }: DetachPlan): Promise<boolean> {
    try {
      await applyBatches(batches);
    } catch {
      this.forget();
      return false;
    }
    for (const [vni, keys] of removed) for (const key of keys) this.#last?.sandboxes.get(vni)?.delete(key);
    return true;
  }

  async #read(): Promise<Known> {
    await mkdir(this.#netnsDir, { recursive: true });
    this.#hasFastPath ??= await isTaken(fastPathProbe(hostTable(this.#prefix)));
    const names = await readdir(this.#netnsDir);
    const vnis = names.flatMap((name) => vniOfSandbox(this.#prefix, name) ?? []);
    const [host, ...sandboxes] = await Promise.all([
      this.#readHost(),
      ...vnis.map((vni) => this.#readSandbox(vni)),
    ]);
    await setImmediate();
    const there = sandboxes.filter((one) => one !== undefined);
    return {
      host: host.scope,
      hostDump: host.dump,
      sandboxes: new Map(there.map(({ vni, scope }) => [vni, scope])),
      seen: new Map([[null, host.seen], ...there.map(({ vni, seen }) => [this.pathOf(vni), seen] as const)]),
    };
  }

  async #readHost(): Promise<ScopeReading & { dump: NamespaceDump }> {
    const dump = (await dumpNamespace(null, hostSysctls(this.#prefix))) as NamespaceDump;
    const own = hostTable(this.#prefix);
    const table = await readTables(null, [own, tableIn(IPV6, own), wireTable(this.#prefix)]);
    const mine = [uplinkPrefix(this.#prefix), wirePrefix(this.#prefix)];
    const owns = (dev: string): boolean => mine.some((start) => dev.startsWith(start));
    const vlans = observeVlans(dump, this.#prefix);
    const scope = new Map([...observeScope(dump, table, owns), ...vlans]);
    return { dump, scope, seen: observeSeen(table) };
  }

  async #readSandbox(vni: number): Promise<(ScopeReading & { vni: number }) | undefined> {
    try {
      const netns = this.pathOf(vni);
      const dump = (await dumpNamespace(netns, SANDBOX_SYSCTLS)) as NamespaceDump;
      const tables = dump.sysctls['ipv6/conf/all/disable_ipv6'] === '0' ? [IPV4, IPV6] : [IPV4];
      const table = await readTables(netns, [...tables.map((family) => family.table), FAST_TABLE]);
      await setImmediate();
      return { vni, scope: observeScope(dump, table, () => true), seen: observeSeen(table) };
    } catch (error) {
      // A file that is no namespace any more (EINVAL) is what a reboot leaves; it is made anew.
      if (error instanceof NetworkCallError && (error.code === 'ENOENT' || error.code === 'EINVAL'))
        return undefined;
      throw error;
    }
  }
}

/** Where all is gone through it may be a second's work: what is asked meanwhile has its turn in between. */
async function otherTurn({ host, sandboxes }: DesiredChange): Promise<void> {
  if (host.whole || [...sandboxes.values()].some(({ scope }) => scope.whole)) await setImmediate();
}

const WHOLE: ScopeChange = { whole: true, objects: new Map() };

/** Of what a scope holds, what a change may touch. */
function observedPart(observed: Scope, { whole, objects }: ScopeChange): Scope {
  if (whole) return observed;
  const part = new Map<string, KernelObject>();
  for (const key of objects.keys()) {
    const object = observed.get(key);
    if (object !== undefined) part.set(key, object);
  }
  return part;
}

function desiredPart({ host, sandboxes }: DesiredChange): DesiredState {
  const states = [...sandboxes].map(([id, { scope, ...place }]): [string, SandboxState] => [
    id,
    { ...place, objects: present(scope) },
  ]);
  return { host: present(host), sandboxes: new Map(states) };
}

function present({ objects }: ScopeChange): Map<string, KernelObject> {
  return changed(new Map(), { whole: false, objects });
}

/** The scope itself, changed; or another when the change is of all. */
function changed(
  scope: Map<string, KernelObject>,
  { whole, objects }: ScopeChange,
): Map<string, KernelObject> {
  const next = whole ? new Map<string, KernelObject>() : scope;
  for (const [key, object] of objects) {
    if (object === undefined) next.delete(key);
    else next.set(key, object);
  }
  return next;
}

/** Whether the kernel knows all of it. */
async function isTaken(commands: string): Promise<boolean> {
  try {
    await applyBatches([{ netns: null, ops: [{ op: 'nft', commands }] }]);
    return true;
  } catch (error) {
    if (error instanceof NetworkCallError) return false;
    throw error;
  }
}

async function readTables(netns: string | null, names: readonly string[]): Promise<TableDump> {
  const tables = await Promise.all(names.map((name) => readTable(netns, name)));
  return { nftables: tables.flatMap((one) => one?.nftables ?? []) };
}

async function readTable(netns: string | null, table: string): Promise<TableDump | undefined> {
  try {
    return (await listNft(netns, `list table ${familied(table)}`)) as TableDump;
  } catch (error) {
    if (error instanceof NetworkCallError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
