/** Runs tasks one after the other, in order of arrival. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work, work);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

/** One mutex a key, forgotten when nobody holds it. */
export class KeyedMutex {
  readonly #locks = new Map<string, { mutex: Mutex; holders: number }>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const lock = this.#locks.get(key) ?? { mutex: new Mutex(), holders: 0 };
    this.#locks.set(key, lock);
    lock.holders += 1;
    try {
      return await lock.mutex.run(work);
    } finally {
      lock.holders -= 1;
      if (lock.holders === 0) this.#locks.delete(key);
    }
  }
}
