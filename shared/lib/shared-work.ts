/** A piece of work that several callers wait for. It is aborted when the last of them gives up. */
interface Running<T> {
  readonly promise: Promise<T>;
  readonly controller: AbortController;
  waiters: number;
}

/** Runs at most one piece of work a key at a time; who asks meanwhile shares it. */
export class SharedWork<T> {
  readonly #running = new Map<string, Running<T>>();

  /** `work` gets a signal of its own: one caller's abort does not take the work away from the others. */
  async run(key: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const running = this.#running.get(key) ?? this.#start(key, work);
    running.waiters += 1;
    try {
      return await untilAborted(running.promise, signal);
    } finally {
      running.waiters -= 1;
      if (running.waiters === 0) {
        if (this.#running.get(key) === running) this.#running.delete(key);
        running.controller.abort();
        await running.promise.catch(() => undefined); // nothing goes on behind the back of who gave up
      }
    }
  }

  #start(key: string, work: (signal: AbortSignal) => Promise<T>): Running<T> {
    const controller = new AbortController();
    const promise = work(controller.signal);
    const running: Running<T> = { promise, controller, waiters: 0 };
    this.#running.set(key, running);
    const forget = (): void => {
      if (this.#running.get(key) === running) this.#running.delete(key);
    };
    promise.then(forget, forget);
    return running;
  }
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
