/** Performs a task's steps on a simulated machine: as agent/worker/executor.ts does, without images, kernel and disk. */
import { delay } from '../../shared/lib/abort.ts';
import type { TaskAssignment } from '../../shared/model/index.ts';
import type { Outcome, StepExecutor } from '../../agent/worker/runner.ts';
import type { Container, SimMachine } from './sim-machine.ts';

/** What a container's end is like. */
export interface Exit {
  readonly code: number;
  readonly error?: string;
}

export class SimExecutor implements StepExecutor {
  readonly #machine: SimMachine;

  constructor(machine: SimMachine) {
    this.#machine = machine;
  }

  async prepare(_task: TaskAssignment, interrupt: AbortSignal): Promise<Outcome> {
    const { world } = this.#machine;
    await delay(1 + world.random.below(300), interrupt);
    if (this.#machine.isDiskFull) throw new Error('ENOSPC: no space left on device, write');
    if (world.failsNow('preparing')) throw new Error('the image can not be pulled');
    return { state: 'ready', message: 'prepared' };
  }

  async start(
    task: TaskAssignment,
    progress: (outcome: Outcome) => void,
    interrupt: AbortSignal,
  ): Promise<Outcome> {
    const container = this.#machine.containers.get(task.taskId) ?? (await this.#launch(task, interrupt));
    if (container.exit !== undefined) return endOf(container, container.exit);
    if (!container.runs) return endOf(container, this.#machine.lost(container));
    if (task.spec.container.healthCheck === undefined) return runningOf(container);
    progress({ state: 'starting', message: 'waiting for the health check', health: 'starting' });
    await delay(1 + this.#machine.world.random.below(3000), interrupt);
    if (container.exit !== undefined) return endOf(container, container.exit);
    return { ...runningOf(container), health: 'healthy' };
  }

  async watch(
    task: TaskAssignment,
    _progress: (outcome: Outcome) => void,
    interrupt: AbortSignal,
  ): Promise<Outcome> {
    const container = this.#machine.containers.get(task.taskId);
    if (container === undefined) return { state: 'failed', message: 'lost', error: 'the container was lost' };
    return endOf(container, await this.#machine.end(container, interrupt));
  }

  async stop(taskId: string, signal: AbortSignal): Promise<Outcome> {
    const container = this.#machine.containers.get(taskId);
    if (container === undefined) return { state: 'shutdown', message: 'shutdown' };
    this.#machine.world.checks.signalled(this.#machine, taskId);
    if (container.runs) await delay(this.#machine.world.random.below(2000), signal);
    this.#machine.ended(container, { code: 143 });
    return { state: 'shutdown', message: 'shutdown', container: { containerId: taskId, exitCode: 143 } };
  }

  async remove(taskId: string): Promise<void> {
    const container = this.#machine.containers.get(taskId);
    if (container === undefined) return;
    this.#machine.ended(container, { code: 137 });
    this.#machine.containers.delete(taskId);
  }

  async #launch(task: TaskAssignment, interrupt: AbortSignal): Promise<Container> {
    const { world } = this.#machine;
    await delay(1 + world.random.below(300), interrupt);
    if (this.#machine.isDiskFull || world.failsNow('starting'))
      throw new Error('starting the container failed');
    return this.#machine.launch(task);
  }
}

function runningOf({ taskId, startedAtMs }: Container): Outcome {
  return { state: 'running', message: 'started', startedAtMs, container: { containerId: taskId } };
}

function endOf({ taskId, startedAtMs }: Container, { code, error }: Exit): Outcome {
  const container = { containerId: taskId, exitCode: code };
  if (code === 0 && error === undefined)
    return { state: 'complete', message: 'finished', startedAtMs, container };
  return {
    state: 'failed',
    message: 'started',
    error: error ?? `task: non-zero exit (${code})`,
    startedAtMs,
    container,
  };
}
