/** PURE. What a new container has on the node's file systems before it is made. */
import { join } from 'node:path';
import { NativeError } from '../native/errors.ts';
import type { FileBatch } from '../native/file-batch.ts';
import type { NewContainer } from './new-container.ts';
import { recordFile } from './record.ts';
import { layerDirectories, writableLayer } from './writable-layer.ts';

type Files = Pick<NewContainer, 'record'> & { readonly files?: NewContainer['files'] | undefined };

/** The record last: a directory without one is swept. Without `runDir`: of one that is only noted. */
export function filesOf({ record, files = {} }: Files, directory: string, runDir?: string): FileBatch {
  const texts = Object.entries(files).map(([name, text]) => ({
    path: join(directory, name),
    mode: 0o644,
    text,
  }));
  const running = runDir === undefined ? [] : [{ path: runDir, mode: 0o700 }];
  const layer = runDir === undefined ? [] : layerDirectories(writableLayer(directory));
  return {
    directories: [...running, { path: directory, mode: 0o700 }, ...layer],
    files: [...texts, recordFile(directory, record)],
  };
}

/** They can be made in the same step as the container: no limit, mount or namespace of another one comes after them. */
export function isNothingBetween({ record, sharedBytes, sharing = {} }: NewContainer): boolean {
  return record.diskBytes === undefined && sharedBytes === undefined && Object.keys(sharing).length === 0;
}

/** It is not the container that failed, but what is made before it. */
export function isOfFiles(error: unknown): boolean {
  return error instanceof NativeError && error.step.startsWith('files');
}
