/** What a manager may ask of a node about the networks of its containers. */
import type { TaskAddress } from '../task.ts';
import type { Nothing } from './common.ts';

export interface NetworkMethods {
  /**
   * Resolves when the task's container, which runs, has interfaces for these addresses and no others. Conflict with the
   * reason when that can not be.
   */
  'network.settled': {
    params: { taskId: string; addresses: readonly Pick<TaskAddress, 'network' | 'address'>[] };
    result: Nothing;
  };
}
