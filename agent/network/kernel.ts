/** This node's part of the kernel: reads it back, and makes it as desired. Not for concurrent use. */
import { mkdir, readdir } from 'node:fs/promises';
import { applyBatches, dumpNamespace, listNft, NetworkCallError } from '../native/network.ts';
import { hostSysctls } from './desired-host.ts';
import { SANDBOX_SYSCTLS } from './desired-sandbox.ts';
import type { DesiredState } from './desired.ts';
import type { KernelObject, Scope } from './kernel-object.ts';
import { hostTable, SANDBOX_TABLE, sandboxName, uplinkPrefix, vniOfSandbox } from './names.ts';
import { type NamespaceDump, observeScope, type TableDump } from './observe.ts';
import { type Batch, makePlan, type ObservedState, type Plan } from './plan.ts';

/** A reading of the kernel. */
export interface Reading extends ObservedState {
  readonly hostDump: NamespaceDump;
}

export class Kernel {
  readonly #prefix: string;
  readonly #netnsDir: string;
  #last: Reading | undefined;

  constructor(prefix: string, netnsDir: string) {
    this.#prefix = prefix;
    this.#netnsDir = netnsDir;
  }

  pathOf(vni: number): string {
    return `${this.#netnsDir}/${sandboxName(this.#prefix, vni)}`;
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

  async plan(desired: DesiredState): Promise<Plan> {
    return makePlan(await this.observed(), desired, this.#prefix, (vni) => this.pathOf(vni));
  }

  /** Carries the plan out. On failure nothing is taken for known. */
  async carryOut(plan: Plan, desired: DesiredState): Promise<void> {
    const { hostDump } = await this.observed();
    this.#last = undefined;
    await applyBatches(plan.batches);
    const sandboxes = [...desired.sandboxes.values()];
    this.#last = {
      hostDump,
      host: desired.host,
      sandboxes: new Map(sandboxes.map(({ vni, objects }) => [vni, objects])),
    };
  }

  /** Does more in sandboxes than was planned, and remembers it. */
  async extend(batches: readonly Batch[], added: ReadonlyMap<number, Scope>): Promise<void> {
    await applyBatches(batches);
    if (this.#last === undefined) return;
    const sandboxes = new Map(this.#last.sandboxes);
    for (const [vni, objects] of added)
      sandboxes.set(vni, new Map([...(sandboxes.get(vni) ?? []), ...objects]));
    this.#last = { ...this.#last, sandboxes };
  }

  async #read(): Promise<Reading> {
    await mkdir(this.#netnsDir, { recursive: true });
    const names = await readdir(this.#netnsDir);
    const vnis = names.flatMap((name) => vniOfSandbox(this.#prefix, name) ?? []);
    const [host, ...sandboxes] = await Promise.all([
      this.#readHost(),
      ...vnis.map((vni) => this.#readSandbox(vni)),
    ]);
    return { ...host, sandboxes: new Map(sandboxes.filter((entry) => entry !== undefined)) };
  }

  async #readHost(): Promise<{ host: Scope; hostDump: NamespaceDump }> {
    const hostDump = (await dumpNamespace(null, hostSysctls(this.#prefix))) as NamespaceDump;
    const table = await readTable(null, hostTable(this.#prefix));
    const mine = uplinkPrefix(this.#prefix);
    return { hostDump, host: observeScope(hostDump, table, (dev) => dev.startsWith(mine)) };
  }

  async #readSandbox(vni: number): Promise<[number, Map<string, KernelObject>] | undefined> {
    try {
      const netns = this.pathOf(vni);
      const dump = (await dumpNamespace(netns, SANDBOX_SYSCTLS)) as NamespaceDump;
      return [vni, observeScope(dump, await readTable(netns, SANDBOX_TABLE), () => true)];
    } catch (error) {
      // A file that is no namespace any more (EINVAL) is what a reboot leaves; it is made anew.
      if (error instanceof NetworkCallError && (error.code === 'ENOENT' || error.code === 'EINVAL'))
        return undefined;
      throw error;
    }
  }
}

async function readTable(netns: string | null, table: string): Promise<TableDump | undefined> {
  try {
    return (await listNft(netns, `list table ip ${table}`)) as TableDump;
  } catch (error) {
    if (error instanceof NetworkCallError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
