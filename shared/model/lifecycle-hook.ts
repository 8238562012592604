/** A command in a container, with no more rights than the container's own process has, unless it asks for them. */
export interface LifecycleHook {
  readonly command: readonly string[];
  /** As USER of an image. Absent: the container's own. */
  readonly user?: string;
  readonly workingDir?: string;
  /** Added to the container's. */
  readonly env?: readonly string[];
  /** It has all capabilities that the agent has. */
  readonly privileged?: true;
}
