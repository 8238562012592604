import type { ServiceSpec } from './service.ts';

/** What a stack was deployed from: all that the conversion needs, so that it can be deployed again. */
export interface StackSource {
  /** One file, or several that are merged in their order. */
  readonly compose: string | readonly { readonly path?: string | undefined; readonly text: string }[];
  /** What they refer to, by path; null: there is none. */
  readonly files: Readonly<Record<string, string | null>>;
  readonly variables: Readonly<Record<string, string>>;
  readonly profiles: readonly string[];
}

/** The record at /stacks/<name>. */
export interface Stack {
  readonly id: string;
  readonly name: string;
  /** Of the last deployment, from 1. */
  readonly revision: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** The record at /stackRevisions/<name>.<revision>; immutable. The oldest are dropped. */
export interface StackRevision {
  readonly id: string;
  readonly stack: string;
  readonly revision: number;
  readonly createdAtMs: number;
  readonly source: StackSource;
}

/** So many revisions of a stack are kept. */
export const STACK_REVISIONS_KEPT = 20;

export const STACK_LABEL = 'com.docker.stack.namespace';

/** Which stack a spec is of. A service's containers have labels of their own, which say nothing of whose it is. */
export function stackOfSpec({ mode, container, labels }: ServiceSpec): string | undefined {
  return (mode.kind === 'container' ? container.labels : labels)[STACK_LABEL];
}
export const STACK_IMAGE_LABEL = 'com.docker.stack.image';
