/** One source for several readers, none of which may hold it in memory: it goes at the pace of the slowest. */

/** One reader's end. Each chunk is taken by all before the next is read. */
class Outlet implements AsyncIterable<Buffer> {
  #chunk: Buffer | undefined;
  #ended: { readonly error?: Error } | undefined;
  #wakeReader: () => void = () => undefined;
  #wakeSource: () => void = () => undefined;

  /** Resolves when the reader has room for the next, or takes no more. */
  async offer(chunk: Buffer): Promise<void> {
    while (this.#chunk !== undefined && this.#ended === undefined) {
      await new Promise<void>((resolve) => {
        this.#wakeSource = resolve;
      });
    }
    if (this.#ended !== undefined) return;
    this.#chunk = chunk;
    this.#wakeReader();
  }

  end(error?: Error): void {
    this.#ended ??= error === undefined ? {} : { error };
    this.#wakeReader();
    this.#wakeSource();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for (;;) {
      const chunk = this.#chunk;
      this.#chunk = undefined;
      this.#wakeSource();
      if (chunk !== undefined) yield chunk;
      else if (this.#ended?.error !== undefined) throw this.#ended.error;
      else if (this.#ended !== undefined) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve;
        });
      }
    }
  }
}

export interface FanOut {
  readonly outlets: readonly { readonly input: AsyncIterable<Buffer>; readonly close: () => void }[];
  /** Reads the source to its end. An error of the source is every reader's. */
  readonly done: Promise<void>;
}

/** `close` says that a reader takes no more. */
export function fanOut(source: AsyncIterable<Buffer>, count: number): FanOut {
  const open = new Set<Outlet>();
  const outlets = Array.from({ length: count }, () => new Outlet());
  for (const outlet of outlets) open.add(outlet);
  const pump = async (): Promise<void> => {
    for await (const chunk of source) {
      // Also with nobody left: a client that still sends hears of the failure at its end.
      await Promise.all([...open].map((outlet) => outlet.offer(chunk)));
    }
  };
  const done = pump().then(
    () => outlets.forEach((outlet) => outlet.end()),
    (error: unknown) => {
      const reason = error instanceof Error ? error : new Error(String(error));
      for (const outlet of outlets) outlet.end(reason);
    },
  );
  return {
    outlets: outlets.map((outlet) => ({
      input: outlet,
      close: () => {
        open.delete(outlet);
        outlet.end();
      },
    })),
    done,
  };
}
