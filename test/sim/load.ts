/** A program whose users do not care how many tasks serve them: its load is shared by those that run. */
import type { UsageSample, UsageSource } from '../../manager/plan/view.ts';
import type { Autoscale, Service, ServiceSpec } from '../../shared/model/index.ts';
import { replicasOf, withinBounds } from '../../shared/model/index.ts';
import type { Usage } from '../../agent/container/usage.ts';
import type { Container } from './sim-machine.ts';
import type { World } from './world.ts';

/** The service that is scaled by what it uses, in worlds that have one. */
export const SCALED = 'web';
export const AUTOSCALE: Autoscale = { min: 1, max: 8, cpuPercent: 50, coolDownMs: 30_000 };
const ONE_CPU = 1e9;
/** A mean so near to the target is left alone. */
const TOLERANCE = 0.1;

export class Load implements UsageSource {
  /** Processors that the program's users would keep busy. */
  cpus = 0;
  readonly #world: World;
  /** What each container has used, and until when that is counted. */
  readonly #used = new Map<string, { cpuNs: number; atMs: number }>();

  constructor(world: World) {
    this.#world = world;
  }

  change(): void {
    this.cpus = this.#world.random.below(60) / 10;
    this.#world.trace.note('user', `load of ${SCALED}`, String(this.cpus));
  }

  /** What the container's cgroup would say. */
  read({ taskId }: Container): Usage {
    const { now } = this.#world.time;
    const before = this.#used.get(taskId) ?? { cpuNs: 0, atMs: now };
    const share = this.cpus / Math.max(1, this.#containers().length);
    // One task has no more than its machine's four.
    const cpuNs = before.cpuNs + Math.min(4, share) * (now - before.atMs) * 1e6;
    this.#used.set(taskId, { cpuNs, atMs: now });
    return { cpuNs, memoryBytes: 1e6 };
  }

  /** Managers tell one another what their nodes say. */
  samples(nodeId: string, taskId: string): readonly UsageSample[] {
    for (const { dispatcher } of this.#world.managers.values()) {
      const samples = dispatcher?.usages.samples(nodeId, taskId) ?? [];
      if (samples.length > 0) return samples;
    }
    return [];
  }

  /** Undefined when there are as many tasks as the load asks for; else what is wrong. */
  problem(service: Service, spec: ServiceSpec): string | undefined {
    const { autoscale } = spec;
    const replicas = replicasOf(service, spec);
    if (autoscale?.cpuPercent === undefined || replicas === undefined) return undefined;
    const running = this.#containers().length;
    const target = (autoscale.cpuPercent * ONE_CPU) / 100;
    const each = Math.min(4, this.cpus / Math.max(1, running)) * ONE_CPU;
    const best = withinBounds(Math.ceil((running * each) / target - 1e-6), autoscale);
    if (replicas !== running || replicas === best || Math.abs(each / target - 1) <= TOLERANCE + 0.01)
      return undefined;
    return `${replicas} tasks of ${spec.name} for a load of ${this.cpus} processors, not ${best}`;
  }

  #containers(): Container[] {
    return [...this.#world.machines.values()]
      .flatMap(({ running }) => running)
      .filter(({ task }) => task.spec.name === SCALED);
  }
}
