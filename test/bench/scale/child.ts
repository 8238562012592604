/** A process of ours with which questions and answers are exchanged. It ends with its parent, however that ends. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';

interface Question {
  readonly id: number;
  readonly method: string;
  readonly params: unknown;
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** What a process answers: each method with its parameters and its result. */
export type Methods = Readonly<Record<string, (params: never) => unknown>>;
type Params<M extends Methods, K extends keyof M> = Parameters<M[K]>[0];
type Result<M extends Methods, K extends keyof M> = Awaited<ReturnType<M[K]>>;

export class Child<M extends Methods> implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #lastId = 0;

  constructor(module: string, options: unknown, execArgv: readonly string[] = []) {
    this.#process = fork(module, [JSON.stringify(options)], { execArgv: [...execArgv] });
    this.#process.on('message', (message: Answer) => {
      const asked = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error === undefined) asked?.resolve(message.result as never);
      else asked?.reject(new Error(message.error));
    });
    this.#process.once('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`${module} ended: ${signal ?? code}`));
      this.#waiting.clear();
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  get hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  ask<K extends keyof M & string>(method: K, params: Params<M, K>): Promise<Result<M, K>> {
    if (this.hasEnded) return Promise.reject(new Error(`process ${this.pid} has ended`));
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#process.send({ id, method, params } satisfies Question);
    });
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.hasEnded) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

/** The other end. `directory` is removed when the parent is gone. Returns what the parent passed. */
export function answerParent<T>(methods: Methods, directory: (options: T) => string): T {
  const options = JSON.parse(process.argv[2] ?? '') as T;
  process.on('message', (question: Question) => {
    void answer(methods, question).then((reply) => process.send?.(reply));
  });
  process.once('disconnect', () => {
    rmSync(directory(options), { recursive: true, force: true });
    process.exit(1);
  });
  return options;
}

async function answer(methods: Methods, { id, method, params }: Question): Promise<Answer> {
  try {
    return { id, result: await methods[method]?.(params as never) };
  } catch (error) {
    return { id, error: String(error) };
  }
}
