/** What must be undone, newest first. (Node 20 has no AsyncDisposableStack.) */
export class UndoStack implements AsyncDisposable {
  readonly #undos: (() => Promise<unknown> | unknown)[] = [];

  defer(undo: () => Promise<unknown> | unknown): void {
    this.#undos.push(undo);
  }

  /** Takes over a disposable and gives it back. */
  use<T extends AsyncDisposable>(value: T): T {
    this.defer(() => value[Symbol.asyncDispose]());
    return value;
  }

  /** Every undo is tried; the first error is thrown at the end. */
  async [Symbol.asyncDispose](): Promise<void> {
    const errors: unknown[] = [];
    for (let undo = this.#undos.pop(); undo !== undefined; undo = this.#undos.pop()) {
      try {
        await undo();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
