/** A process that is started again, with back-off, whenever it ends. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { backoffMs } from '../../shared/lib/backoff.ts';
import { delay } from '../../shared/lib/abort.ts';
import { findProgram } from './command.ts';
import { OWNER_VARIABLE } from './proc.ts';

export interface ChildSpec {
  /** For people: "manager", "node-2". */
  readonly title: string;
  /** Arguments of node: the script first. */
  readonly args: readonly string[];
  /** Its output is appended here. */
  readonly logFile: string;
  /** Path of the network namespace that it lives in. */
  readonly netns?: string | undefined;
  readonly stateDir: string;
  /** Variables besides those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
}

const STOP_GRACE_MS = 10_000;
const STEADY_MS = 30_000;
const BACKOFF = { baseMs: 100, maxMs: 10_000 };

/** A child that can be started, killed and stopped; `onExit` hears of each end that was not asked for. */
export class Child {
  readonly spec: ChildSpec;
  readonly #onExit: (text: string) => void;
  readonly #stopping = new AbortController();
  #process: ChildProcess | undefined;
  #loop: Promise<void> | undefined;
  #held = false;
  #release: (() => void) | undefined;

  constructor(spec: ChildSpec, onExit: (text: string) => void) {
    this.spec = spec;
    this.#onExit = onExit;
  }

  /** Pid of the present process; undefined between two. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  start(): void {
    this.#loop ??= this.#keepRunning();
  }

  /** SIGKILL. With `hold` it stays dead until `release`. Resolves when the process is gone. */
  async kill(options: { readonly hold: boolean }): Promise<void> {
    this.#held = options.hold;
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  /** Ends what `kill` with `hold` began. */
  release(): void {
    this.#held = false;
    this.#release?.();
  }

  /** SIGTERM, after a while SIGKILL; no start any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.release();
    const child = this.#process;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      const killer = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
      await exited;
      clearTimeout(killer);
    }
    await this.#loop;
  }

  async #keepRunning(): Promise<void> {
    let attempt = 0;
    while (!this.#stopping.signal.aborted) {
      const started = Date.now();
      const end = await this.#runOnce();
      this.#process = undefined;
      if (this.#stopping.signal.aborted) return;
      if (Date.now() - started > STEADY_MS) attempt = 0;
      this.#onExit(`${this.spec.title} ended (${end}); starting it again, its log is ${this.spec.logFile}`);
      await this.#pause(attempt);
      attempt += 1;
    }
  }

  async #pause(attempt: number): Promise<void> {
    if (this.#held) {
      await new Promise<void>((resolve) => {
        this.#release = resolve;
      });
      return;
    }
    const ms = backoffMs(attempt, BACKOFF.baseMs, BACKOFF.maxMs, Math.random());
    await delay(ms, this.#stopping.signal).catch(() => undefined);
  }

  /** Resolves with how it ended, in words. */
  async #runOnce(): Promise<string> {
    const { args, netns, logFile, stateDir, environment } = this.spec;
    const log = openSync(logFile, 'a');
    const [program, rest] =
      netns === undefined
        ? [process.execPath, args]
        : [findProgram('nsenter') ?? 'nsenter', [`--net=${netns}`, '--', process.execPath, ...args]];
    // a session of its own: Ctrl-C in the terminal is for the supervisor, which stops its children in order
    const child = spawn(program, [...rest], {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...environment, [OWNER_VARIABLE]: stateDir },
    });
    closeSync(log);
    this.#process = child;
    return new Promise((resolve) => {
      child.on('error', (error) => resolve(error.message));
      child.on('exit', (code, signalName) =>
        resolve(signalName === null ? `exit code ${code}` : `killed by ${signalName}`),
      );
    });
  }
}
