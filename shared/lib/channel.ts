/** A queue between one who tells and one who reads, in this process. It holds what was pushed until it is read. */
export class Channel<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #ended: { readonly error?: Error } | undefined;
  #wake: (() => void) | undefined;

  /** How much waits. */
  get size(): number {
    return this.#items.length;
  }

  push(item: T): void {
    if (this.#ended !== undefined) return;
    this.#items.push(item);
    this.#wake?.();
  }

  /** No more follows. The reader gets the error after what came before. */
  end(error?: unknown): void {
    this.#ended ??=
      error === undefined ? {} : { error: error instanceof Error ? error : new Error(String(error)) };
    this.#wake?.();
  }

  /** One reader. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      for (let item = this.#items.shift(); item !== undefined; item = this.#items.shift()) yield item;
      if (this.#ended?.error !== undefined) throw this.#ended.error;
      if (this.#ended !== undefined) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
