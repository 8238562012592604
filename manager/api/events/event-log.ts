/** All events that clients of this manager see: made from the store's changes, and emitted by what the API does. */
import type { Clock } from '../../../shared/lib/clock.ts';
import type { Change, Store } from '../../store/store.ts';
import { type Records, stackOfEvent } from '../access/owners.ts';
import type { ApiEvent, EventDraft } from './event.ts';
import { eventsOf, withGone } from './store-events.ts';

/** So many are kept for `since`. */
const KEPT = 1000;

/** What the resources need of it. */
export type Events = Pick<EventLog, 'emit' | 'since' | 'listen' | 'listenerCount'>;

export class EventLog {
  readonly #kept: ApiEvent[] = [];
  /** Of the stack that it was about, in that moment: later there may be no record to tell. */
  readonly #stacks = new WeakMap<ApiEvent, string>();
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
    this.#emit(draft, this.#store);
  }

  #emit(draft: EventDraft, records: Records): void {
    const nowMs = this.#clock.now();
    const event = { ...draft, time: Math.floor(nowMs / 1000), timeNano: nowMs * 1e6 };
    const stack = stackOfEvent(records, draft);
    if (stack !== undefined) this.#stacks.set(event, stack);
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

  /** Undefined: of no stack, such as those of nodes and images. */
  stackOf(event: ApiEvent): string | undefined {
    return this.#stacks.get(event);
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
    const records = withGone(this.#store, changes);
    for (const draft of eventsOf(this.#store, changes)) this.#emit(draft, records);
  }
}
