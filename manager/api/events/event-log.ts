/** All events that clients of this manager see: made from the store's changes, and emitted by what the API does. */
import type { Clock } from '../../../shared/lib/clock.ts';
import type { Change, Store } from '../../store/store.ts';
import type { ApiEvent, EventDraft } from './event.ts';
import { eventsOf } from './store-events.ts';

/** So many are kept for `since`. */
const KEPT = 1000;

export class EventLog {
  readonly #kept: ApiEvent[] = [];
  readonly #listeners = new Set<(event: ApiEvent) => void>();
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #undo: () => void;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#undo = store.onChange((changes) => this.#take(changes));
  }

  /**
   * Tells the clients of this manager of something that the store does not show: a command in a container, a pull. Those of
   * other managers do not hear of it.
   */
  emit(draft: EventDraft): void {
    const nowMs = this.#clock.now();
    const event = { ...draft, time: Math.floor(nowMs / 1000), timeNano: nowMs * 1e6 };
    this.#kept.push(event);
    if (this.#kept.length > KEPT) this.#kept.shift();
    for (const listener of this.#listeners) listener(event);
  }

  /** Events kept from that time on. */
  since(ms: number): readonly ApiEvent[] {
    return this.#kept.filter((event) => event.timeNano >= ms * 1e6);
  }

  /** Returns the undo. */
  listen(listener: (event: ApiEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Clients that listen now. */
  get listenerCount(): number {
    return this.#listeners.size;
  }

  close(): void {
    this.#undo();
    this.#listeners.clear();
  }

  #take(changes: readonly Change[]): void {
    for (const draft of eventsOf(this.#store, changes)) this.emit(draft);
  }
}
