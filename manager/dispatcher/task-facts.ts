/** What the assignments of nodes have of one task, to be compared with the next time. */
import type { DesiredState, EndpointAssignment, TaskAssignment } from '../../shared/model/index.ts';
import { type FileIds, NO_FILES } from './assignment-rows.ts';

/** What was last told of a task. */
export interface TaskFacts {
  readonly nodeId: string | undefined;
  readonly desired: DesiredState;
  readonly row: TaskAssignment | undefined;
  readonly endpoints: readonly EndpointAssignment[];
  readonly networks: readonly string[];
  readonly files: FileIds;
}

/** Shared by all tasks without one. */
export const NO_NETWORKS: readonly string[] = [];

export const NO_FACTS: TaskFacts = {
  nodeId: undefined,
  desired: 'ready',
  row: undefined,
  endpoints: [],
  networks: NO_NETWORKS,
  files: NO_FILES,
};
