/** Further commands in this node's containers, as docker exec has them: made, started once, remembered for a while. */
import { ConflictError, describeError, InvalidError, NotFoundError } from '../../shared/errors/index.ts';
import type { ExecInfo, ExecSpec, StreamChunk, TerminalSize } from '../../shared/model/node-methods/index.ts';
import { NativeError } from '../native/container.ts';
import { type NativeSession, openSession } from '../native/session.ts';
import { execProcess } from './exec-process.ts';
import type { ContainerRecord } from './record.ts';
import { feed, mergedOutput } from './session-io.ts';

/** How long after its end (or its making, when it is never started) a client may ask for it. */
const KEEP_MS = 300_000;
const MAX_EXECS = 4096;

/** A container that runs. */
export interface ExecTarget {
  readonly record: ContainerRecord;
  /** Of its init. */
  readonly pid: number;
  readonly runDir: string;
}

interface Exec {
  readonly spec: ExecSpec;
  state: 'created' | 'running' | 'exited';
  pid: number;
  exitCode?: number;
  size?: TerminalSize;
  session?: NativeSession;
  forget: NodeJS.Timeout;
  /** Called once, when it has ended or is forgotten. */
  readonly waiters: Set<() => void>;
}

export class Execs {
  readonly #execs = new Map<string, Exec>();

  create(spec: ExecSpec): void {
    if (this.#execs.size >= MAX_EXECS) this.#makeRoom();
    if (this.#execs.has(spec.execId)) throw new ConflictError(`exec ${spec.execId} exists already`);
    if (spec.args.length === 0) throw new InvalidError('No exec command specified');
    const forget = this.#forget(spec.execId);
    this.#execs.set(spec.execId, { spec, state: 'created', pid: 0, forget, waiters: new Set() });
  }

  inspect(execId: string): ExecInfo {
    const { spec, state, pid, exitCode } = this.#find(execId);
    return { spec, state, pid, ...(exitCode === undefined ? {} : { exitCode }) };
  }

  /** Resolves with the exit code once it has ended. */
  async wait(execId: string, signal: AbortSignal): Promise<number> {
    const exec = this.#find(execId);
    await new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        exec.waiters.delete(settle);
        signal.removeEventListener('abort', settle);
        if (signal.aborted) reject(signal.reason);
        else resolve();
      };
      if (exec.state === 'exited' || signal.aborted) return settle();
      exec.waiters.add(settle);
      signal.addEventListener('abort', settle, { once: true });
    });
    if (exec.exitCode === undefined) throw new NotFoundError(`exec ${execId} was never started`);
    return exec.exitCode;
  }

  resize(execId: string, size: TerminalSize): void {
    const exec = this.#find(execId);
    exec.size = size;
    exec.session?.resize(size.rows, size.columns);
  }

  /** Nobody hears what it says. */
  async start(execId: string, target: ExecTarget, size: TerminalSize | undefined): Promise<void> {
    const exec = this.#claim(execId, size);
    const session = await this.#open(exec, target, false);
    session.streams.destroy();
    session.stderr.destroy();
  }

  /** Runs it; leaving the loop, or an abort, leaves it running. */
  async *attach(
    execId: string,
    target: ExecTarget,
    size: TerminalSize | undefined,
    input: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): AsyncGenerator<StreamChunk> {
    const exec = this.#claim(execId, size);
    const session = await this.#open(exec, target, true);
    const { streams, stderr } = session;
    const over = new AbortController();
    const feeding = exec.spec.attachStdin
      ? feed(streams, input, exec.spec.tty, AbortSignal.any([signal, over.signal]))
      : undefined;
    // A manager that is gone takes its input with it; what the command does then is the command's affair.
    feeding?.catch(() => undefined);
    try {
      yield* mergedOutput(streams, stderr, signal);
      // So that who saw the end of the output finds the exit code.
      await session.exited.catch(() => undefined);
    } finally {
      over.abort();
      streams.destroy();
      stderr.destroy();
    }
  }

  /** An exec runs once. */
  #claim(execId: string, size: TerminalSize | undefined): Exec {
    const exec = this.#find(execId);
    if (exec.state === 'running') throw new ConflictError(`exec command ${execId} is already running`);
    if (exec.state === 'exited') throw new ConflictError(`exec command ${execId} has already run`);
    exec.state = 'running';
    clearTimeout(exec.forget);
    if (size !== undefined && size.rows > 0 && size.columns > 0) exec.size = size;
    return exec;
  }

  async #open(exec: Exec, target: ExecTarget, attached: boolean): Promise<NativeSession> {
    const { spec } = exec;
    try {
      const session = await openSession(target.runDir, {
        process: await execProcess(target.record, target.pid, spec),
        terminal: spec.tty,
        stdin: attached && spec.attachStdin,
        stdout: attached && spec.attachStdout,
        stderr: attached && spec.attachStderr,
        ...exec.size,
      });
      exec.session = session;
      exec.pid = session.pid;
      // What came while it was being started.
      if (exec.size !== undefined) session.resize(exec.size.rows, exec.size.columns);
      const ended = (code: number): void => this.#ended(exec, code);
      // Its monitor was killed, and it with it.
      session.exited.then(ended, () => ended(137));
      return session;
    } catch (error) {
      this.#ended(exec, startExitCode(error));
      throw startError(error, spec);
    }
  }

  #ended(exec: Exec, exitCode: number): void {
    exec.state = 'exited';
    exec.exitCode = exitCode;
    delete exec.session;
    exec.forget = this.#forget(exec.spec.execId);
    for (const wake of [...exec.waiters]) wake();
  }

  /** Of those that have ended the one that came first is forgotten early. */
  #makeRoom(): void {
    for (const [execId, { state, forget }] of this.#execs)
      if (state === 'exited') {
        clearTimeout(forget);
        return this.#drop(execId);
      }
    throw new ConflictError(`this node has ${MAX_EXECS} execs already`);
  }

  #forget(execId: string): NodeJS.Timeout {
    return setTimeout(() => this.#drop(execId), KEEP_MS).unref();
  }

  #drop(execId: string): void {
    const waiters = this.#execs.get(execId)?.waiters ?? [];
    this.#execs.delete(execId);
    for (const wake of [...waiters]) wake();
  }

  #find(execId: string): Exec {
    const exec = this.#execs.get(execId);
    if (exec === undefined) throw new NotFoundError(`No such exec instance: ${execId}`);
    return exec;
  }
}

/** The shell's convention: 127 not found, 126 for everything else that keeps it from running. */
function startExitCode(error: unknown): number {
  return error instanceof NativeError && error.step === 'exec' && error.code === 'ENOENT' ? 127 : 126;
}

function startError(error: unknown, spec: ExecSpec): Error {
  if (error instanceof NativeError && error.code === 'ESRCH')
    return new ConflictError(`Container ${spec.containerId} is not running`);
  const why =
    startExitCode(error) === 127
      ? `"${spec.args[0] ?? ''}": executable file not found in $PATH`
      : describeError(error);
  return new InvalidError(`exec failed: unable to start container process: ${why}`);
}
