/** A manager of the simulated cluster: the real store on a simulated etcd, the real dispatcher, the real leader's loop. */
import type { WebSocket } from 'ws';
import { Dispatcher } from '../../manager/dispatcher/dispatcher.ts';
import { NodeRecords } from '../../manager/dispatcher/node-records.ts';
import { lead } from '../../manager/leader/leader.ts';
import { type OpenStore, openStoreOn } from '../../manager/store/open-store.ts';
import type { Fence } from '../../manager/store/store.ts';
import type { Vault } from '../../manager/vault/seal.ts';
import { SimProcess } from './timeline.ts';
import type { World } from './world.ts';

const WITHDRAW_TIMEOUT_MS = 2000;
const clock = { now: (): number => Date.now() };

export class SimManager {
  readonly id: string;
  process: SimProcess;
  store: OpenStore | undefined;
  dispatcher: Dispatcher | undefined;
  /** Of the leadership that it has, or believes to have. */
  #leading: AbortController | undefined;
  readonly #world: World;

  constructor(world: World, id: string) {
    this.#world = world;
    this.id = id;
    this.process = new SimProcess(id);
    this.#begin();
  }

  get alive(): boolean {
    return this.process.alive;
  }

  /** Or believes so. */
  get leads(): boolean {
    return this.#leading !== undefined;
  }

  /** SIGKILL. */
  kill(): void {
    this.process.alive = false;
    this.#world.network.hangUp(this.process);
    this.store = undefined;
    this.dispatcher = undefined;
    this.#leading = undefined;
  }

  restart(): void {
    if (this.alive) return;
    this.process = new SimProcess(this.id);
    this.#begin();
  }

  /** Its event loop is blocked. */
  stall(ms: number): void {
    this.process.stall(this.#world.time.now + ms);
  }

  /** It has won an election. */
  lead(fence: Fence): void {
    const leading = new AbortController();
    this.#world.roots.push(leading);
    this.#leading?.abort();
    this.#leading = leading;
    const { time, faults, trace, load } = this.#world;
    const begin = (): void => {
      const { store } = this;
      if (store === undefined) return void time.in(100, begin);
      if (leading.signal.aborted) return;
      const logger = trace.logger(this.id);
      const usage = load === undefined ? {} : { usage: load };
      const options = { store: faults.leaderStore?.(store) ?? store, fence, clock, logger, ...usage };
      time.start(this.process, () => lead({ ...options, ...this.#sizes() }, leading.signal));
    };
    time.in(0, begin, this.process);
  }

  /** It has heard that another leads. */
  depose(): void {
    const leading = this.#leading;
    this.#leading = undefined;
    this.#world.time.in(0, () => leading?.abort(), this.process);
  }

  /** Sometimes small, so that a plan takes several turns and several commits. */
  #sizes(): { slotsPerTurn?: number; operationsPerCommit?: number } {
    const { random } = this.#world;
    return {
      ...(random.below(2) === 0 ? { slotsPerTurn: 5 + random.below(20) } : {}),
      ...(random.below(3) === 0 ? { operationsPerCommit: 8 } : {}),
    };
  }

  #begin(): void {
    const { time, network } = this.#world;
    const { process } = this;
    time.start(process, () => this.#run(process), 1 + this.#world.random.below(300));
    network.listen(this.id, {
      process,
      onSocket: (socket, nodeId) => {
        // The port opens when the store has been read.
        if (this.dispatcher === undefined) socket.terminate();
        else this.dispatcher.onSocket(socket as unknown as WebSocket, { nodeId });
      },
    });
  }

  /** As manager/main.ts and start-dispatcher.ts put it together. */
  async #run(process: SimProcess): Promise<void> {
    const { etcd, faults, random, time, trace } = this.#world;
    const logger = trace.logger(this.id);
    const root = new AbortController();
    this.#world.roots.push(root);
    const { signal } = root;
    const client = etcd.client(this.id, process, 1 + random.below(random.below(3) === 0 ? 300 : 10));
    const store = await openStoreOn(client, { endpoints: [], logger, signal });
    const seen = faults.dispatcherStore?.(store) ?? store;
    this.store = store;
    this.dispatcher = new Dispatcher({
      store: seen,
      vault: {} as Vault,
      records: new NodeRecords(seen, this.id, clock, logger),
      managerId: this.id,
      nodeDownAfterMs: store.get('cluster', 'self')?.nodeDownAfterMs ?? 2000,
      withdrawTimeoutMs: faults.withdrawTimeoutMs ?? WITHDRAW_TIMEOUT_MS,
      steadyMs: () => time.now,
      clock,
      logger,
      signal,
    });
  }
}
