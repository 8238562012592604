/** PURE. How a container ended, from what its monitor recorded, or from the lack of it. */
import { describeError } from '../../shared/errors/index.ts';
import { type ContainerState, MonitorLostError } from '../native/container.ts';
import type { ContainerExit } from './record.ts';

export function exitOf(state: ContainerState): ContainerExit {
  return {
    exitCode: state.exitCode ?? (state.signal === undefined ? 255 : 128 + state.signal),
    oomKilled: state.oomKilled ?? false,
    finishedAtMs: state.finishedAtMs ?? Date.now(),
    ...(state.startedAtMs === undefined ? {} : { startedAtMs: state.startedAtMs }),
    ...(state.startError === undefined ? {} : { error: state.startError }),
  };
}

/** The monitor died (or the machine was restarted): what became of the container is not known, only that it is gone. */
export function lostExit(error: unknown): ContainerExit {
  return {
    exitCode: 255,
    oomKilled: false,
    finishedAtMs: Date.now(),
    error:
      error instanceof MonitorLostError ? 'the container was lost: its monitor ended' : describeError(error),
  };
}
