/** What goes wrong in a simulated cluster that is no user's doing, and how it ends. */
import type { Partition } from './network.ts';
import type { SimMachine } from './sim-machine.ts';
import type { SimManager } from './sim-manager.ts';
import type { World } from './world.ts';

/** A leader that does not renew its lease is out after this. */
const LEASE_MS = 5000;
const ORDINARY_LATENCY_MS = 10;

const KINDS = [
  'partition',
  'partition',
  'heal',
  'heal',
  'heal',
  'reset',
  'kill-agent',
  'stop-agent',
  'power',
  'power',
  'stall-agent',
  'disk-full',
  'kill-manager',
  'stall-manager',
  'stall-manager',
  'elect',
  'elect',
  'etcd-away',
  'etcd-mute',
  'etcd-full',
  'slow-network',
] as const;
type Kind = (typeof KINDS)[number];

export class Troubles {
  readonly counts: Partial<Record<Kind, number>> = {};
  leaders = 0;
  #leader: SimManager | undefined;
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  something(): void {
    const world = this.#world;
    const kind = world.pick(KINDS);
    const machine = world.pick([...world.machines.values()]);
    const manager = world.pick([...world.managers.values()]);
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
    world.trace.note('trouble', kind, `${machine.nodeId} or ${manager.id}`);
    if (kind.endsWith('manager')) this.#ofManager(kind, manager);
    else if (kind === 'elect' || kind.startsWith('etcd')) this.#ofStore(kind);
    else this.#ofMachine(kind, machine);
  }

  /** Everything is as it should be again: what is broken comes back. */
  end(): void {
    const { etcd, network, machines, managers, trace, time } = this.#world;
    trace.note('trouble', 'ends');
    network.latencyMs = ORDINARY_LATENCY_MS;
    etcd.setAway(false);
    etcd.full = false;
    this.#world.files.full.clear();
    for (const machine of machines.values()) this.#heal(machine);
    for (const manager of managers.values()) manager.restart();
    if (this.#leader?.leads !== true) this.elect();
    this.#world.troubledAtMs = time.now;
    this.#world.managersTroubledAtMs = time.now;
  }

  /** Another leader, or the same anew. The one before may hear of it late, or only when it is refused. */
  elect(): void {
    const { swarm, managers, trace, random, time } = this.#world;
    const candidates = [...managers.values()].filter(({ alive }) => alive);
    if (candidates.length === 0)
      return void time.world(1000, () => this.#leader?.leads === true || this.elect());
    const before = this.#leader;
    const leader = this.#world.pick(candidates);
    this.leaders += 1;
    const fence = { key: `/shoal/v1-election/${this.leaders}`, createRevision: String(this.leaders) };
    swarm.store.leader = fence;
    this.#leader = leader;
    trace.note('etcd', `${leader.id} leads`, fence.createRevision);
    const hears = random.below(3);
    if (before !== undefined && before !== leader && hears > 0)
      time.world(hears === 1 ? random.below(50) : random.below(5000), () => {
        if (this.#leader !== before) before.depose();
      });
    leader.lead(fence);
  }

  #ofMachine(kind: Kind, machine: SimMachine): void {
    const world = this.#world;
    const { random, time, network, files } = world;
    const { nodeId } = machine;
    machine.troubledAtMs = time.now;
    const again = (ms: number): void =>
      void time.world(random.below(ms), () => {
        machine.troubledAtMs = time.now;
        machine.startAgent();
      });
    if (kind === 'heal') this.#heal(machine);
    else if (kind === 'partition')
      network.partition(nodeId, world.pick<Partition>(['up', 'down', 'both', 'both']));
    else if (kind === 'reset') network.reset(nodeId);
    else if (kind === 'kill-agent') {
      machine.killAgent();
      again(5000);
    } else if (kind === 'stop-agent') {
      machine.stopAgent();
      time.world(2000 + random.below(1000), () => machine.killAgent());
      time.world(3000, () => again(3000));
    } else if (kind === 'power') machine.losePower();
    else if (kind === 'disk-full') files.full.add(nodeId);
    else if (kind === 'slow-network') network.latencyMs = world.pick([ORDINARY_LATENCY_MS, 100, 400]);
    else if (kind === 'stall-agent' && machine.agent !== undefined)
      this.#stallAgent(machine, random.below(5000));
  }

  #stallAgent(machine: SimMachine, ms: number): void {
    const { time } = this.#world;
    machine.agent?.stall(time.now + ms);
    time.world(ms, () => {
      machine.troubledAtMs = time.now;
    });
  }

  #ofManager(kind: Kind, manager: SimManager): void {
    const world = this.#world;
    const { random, time } = world;
    // That it stands still for a moment is no excuse for calling a node down.
    if (kind === 'stall-manager') return manager.stall(random.below(3000));
    world.managersTroubledAtMs = time.now;
    manager.kill();
    time.world(random.below(6000), () => {
      manager.restart();
      world.managersTroubledAtMs = time.now;
      world.troubledAtMs = time.now;
    });
    if (manager === this.#leader)
      time.world(LEASE_MS, () => {
        if (this.#leader === manager) this.elect();
      });
  }

  #ofStore(kind: Kind): void {
    const world = this.#world;
    const { random, time, etcd } = world;
    if (kind === 'elect') return this.elect();
    if (kind === 'etcd-full') etcd.full = true;
    else etcd.setAway(true, kind === 'etcd-mute');
    world.managersTroubledAtMs = time.now;
    time.world(random.below(8000), () => {
      etcd.setAway(false);
      etcd.full = false;
      world.managersTroubledAtMs = time.now;
      world.troubledAtMs = time.now;
    });
  }

  #heal(machine: SimMachine): void {
    const { network, time, files } = this.#world;
    if (network.partitionOf(machine.nodeId) !== 'none' || !machine.powered) machine.troubledAtMs = time.now;
    network.partition(machine.nodeId, 'none');
    files.full.delete(machine.nodeId);
    machine.start();
  }
}
