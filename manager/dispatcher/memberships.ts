/** Which node is on which network, counted by the tasks that put it there. Pure. */
export class Memberships {
  readonly #counts = new Map<string, Map<string, number>>();
  /** What a node was on at the last flush, for the nodes that changed since. */
  readonly #before = new Map<string, ReadonlySet<string>>();

  add(nodeId: string, networkId: string): void {
    this.#remember(nodeId);
    const counts = this.#counts.get(nodeId) ?? new Map<string, number>();
    this.#counts.set(nodeId, counts.set(networkId, (counts.get(networkId) ?? 0) + 1));
  }

  remove(nodeId: string, networkId: string): void {
    this.#remember(nodeId);
    const counts = this.#counts.get(nodeId);
    const left = (counts?.get(networkId) ?? 0) - 1;
    if (left > 0) counts?.set(networkId, left);
    else counts?.delete(networkId);
    if (counts?.size === 0) this.#counts.delete(nodeId);
  }

  now(nodeId: string): ReadonlySet<string> {
    return new Set(this.#counts.get(nodeId)?.keys());
  }

  before(nodeId: string): ReadonlySet<string> {
    return this.#before.get(nodeId) ?? this.now(nodeId);
  }

  settle(): void {
    this.#before.clear();
  }

  #remember(nodeId: string): void {
    if (!this.#before.has(nodeId)) this.#before.set(nodeId, this.now(nodeId));
  }
}
