/** What managers say to each other: calls to the nodes of another one, and what tasks use, for the one that leads. */
import type { WebSocket } from 'ws';
import type { Clock } from '../../shared/lib/clock.ts';
import type { Logger, TaskUsage } from '../../shared/model/index.ts';
import { CLOSE } from '../../shared/wire/frames.ts';
import type { Change, Store } from '../store/store.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { ManagerTls } from './manager-link.ts';
import { managerOf } from './node-records.ts';
import { Relays } from './relay-client.ts';
import { serveRelay } from './relay-server.ts';
import type { ManagerWants } from './server.ts';
import { serveUsage, UsageRelay } from './usage-relay.ts';
import { WithdrawalLinks } from './withdrawal-links.ts';

export interface ManagerLinksOptions {
  readonly store: Store;
  readonly managerId: string;
  readonly tls: () => ManagerTls;
  readonly leaderAddress?: () => string | undefined;
  readonly peers?: () => readonly { readonly id: string; readonly address: string }[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export class ManagerLinks {
  readonly relays: Relays;
  readonly usage: UsageRelay;
  readonly withdrawals: WithdrawalLinks;
  /** Of this manager; set once it is made. */
  dispatcher: Dispatcher | undefined;
  readonly #options: ManagerLinksOptions;
  /** Opened by other managers, by their ids. */
  readonly #serving = new Map<string, Set<WebSocket>>();
  readonly #unwatch: () => void;

  constructor(options: ManagerLinksOptions) {
    this.#options = options;
    this.relays = new Relays(options);
    const { tls, logger, leaderAddress = () => undefined } = options;
    this.usage = new UsageRelay({ leaderAddress, tls, logger });
    this.withdrawals = new WithdrawalLinks({
      peers: options.peers ?? (() => []),
      tls,
      logger,
      onConfirmed: (managerId, seq) => this.dispatcher?.otherConfirmed(managerId, seq),
      onLost: (managerId) => this.dispatcher?.otherLost(managerId),
    });
    this.#unwatch = options.store.onChange((changes) => this.#onChange(changes));
  }

  close(): void {
    this.#unwatch();
    this.usage.close();
    this.withdrawals.close();
  }

  /** Another manager, by its certificate, has opened a socket. */
  serve(socket: WebSocket, managerId: string, wants: ManagerWants): void {
    const { store, logger } = this.#options;
    if (store.get('managers', managerId) === undefined) return this.#refuse(socket, managerId);
    this.#keep(socket, managerId);
    if (wants.kind === 'node') serveRelay(socket, this.dispatcher?.session(wants.nodeId), logger);
    else if (wants.kind === 'usage')
      serveUsage(socket, (of, tasks) => this.#take(managerId, of, tasks), logger);
    else this.dispatcher?.answers.serve(socket, logger);
  }

  #keep(socket: WebSocket, managerId: string): void {
    const open = this.#serving.get(managerId) ?? new Set();
    this.#serving.set(managerId, open.add(socket));
    socket.once('close', () => {
      open.delete(socket);
      if (open.size === 0 && this.#serving.get(managerId) === open) this.#serving.delete(managerId);
    });
  }

  #refuse(socket: WebSocket, managerId: string): void {
    this.#options.logger.warn({ managerId }, 'a manager that was removed was refused');
    socket.close(CLOSE.forbidden, 'no manager any more');
  }

  /** Who is removed is listened to no longer, whatever was open. */
  #onChange(changes: readonly Change[]): void {
    for (const { table, key, after } of changes) {
      if (table !== 'managers' || after !== undefined) continue;
      for (const socket of this.#serving.get(key) ?? []) socket.terminate();
    }
  }

  /** A manager is believed of its own nodes. */
  #take(managerId: string, nodeId: string, tasks: readonly TaskUsage[]): void {
    const { store, clock } = this.#options;
    const node = store.get('nodes', nodeId);
    if (node === undefined || managerOf(node) !== managerId) return;
    this.dispatcher?.usages.take(nodeId, tasks, clock.now());
  }
}
