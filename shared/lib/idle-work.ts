/** Work that is done ahead, one piece at a time and with a rest before each, and none while anything is under way. */

const REST_MS = 10;

export class IdleWork {
  readonly #piece: () => Promise<boolean>;
  #underWay = 0;
  #timer: NodeJS.Timeout | undefined;
  #working = false;
  #closed = false;

  /** `piece` does one, and answers whether there is more to do. When it rejects, the rest is left until something ends. */
  constructor(piece: () => Promise<boolean>) {
    this.#piece = piece;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** What it must not be in the way of begins. */
  begin(): void {
    this.#underWay += 1;
  }

  /** And ends. */
  end(): void {
    this.#underWay -= 1;
    this.soon();
  }

  soon(): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#working || this.#underWay > 0) return;
    this.#timer = setTimeout(() => void this.#work(), REST_MS).unref();
  }

  /** A piece that is being done is finished. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #work(): Promise<void> {
    this.#working = true;
    const isMore = await this.#piece().catch(() => false);
    this.#working = false;
    if (isMore) this.soon();
  }
}
