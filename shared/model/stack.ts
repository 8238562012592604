/** The record at /stacks/<name>: the last file deployed under this name. Revisions come with issue of their own. */
export interface Stack {
  readonly id: string;
  readonly name: string;
  readonly compose: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export const STACK_LABEL = 'com.docker.stack.namespace';
export const STACK_IMAGE_LABEL = 'com.docker.stack.image';
