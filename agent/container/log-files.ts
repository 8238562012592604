/**
 * The files of a container's log, as its monitor writes them (native/src/monitor/log-file.h): PATH.0, PATH.1 and so on. The
 * newest grows; a file keeps its name for as long as it is there, and the oldest go first.
 */
import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

export interface LogFile {
  readonly number: number;
  readonly handle: FileHandle;
}

/** A place in the log: so much of the file with this number. */
export interface LogPlace {
  readonly number: number;
  readonly bytes: number;
}

/** The file of a monitor of version 0.1.0, which had one alone: PATH itself. */
export const UNNUMBERED = -1;

/** Whether a file of this name belongs to the log, and which it is. */
export function logNumber(path: string, name: string): number | undefined {
  const base = basename(path);
  if (name === base) return UNNUMBERED;
  const digits = name.startsWith(`${base}.`) ? name.slice(base.length + 1) : '';
  return /^\d+$/.test(digits) ? Number(digits) : undefined;
}

/** Numbers, the oldest file's first. */
export async function logNumbers(path: string): Promise<number[]> {
  const names = await orMissing(readdir(dirname(path)));
  return (names ?? []).flatMap((name) => logNumber(path, name) ?? []).toSorted((a, b) => a - b);
}

/** Undefined when it is not there (any more). */
export async function openLogFile(path: string, number: number): Promise<LogFile | undefined> {
  const handle = await orMissing(open(nameOf(path, number), 'r'));
  return handle && { number, handle };
}

/** The oldest that is there; undefined when there is no log. */
export function oldestLogFile(path: string): Promise<LogFile | undefined> {
  return oldestAfter(path, UNNUMBERED - 1);
}

/**
 * The one that follows on the file with this number. Undefined: there is none yet, and more may come to this one. Who has
 * fallen behind the removal of files gets the oldest that is left.
 */
export async function nextLogFile(path: string, number: number): Promise<LogFile | undefined> {
  const next = await openLogFile(path, number + 1);
  if (next !== undefined) return next;
  const here = number === UNNUMBERED ? undefined : await orMissing(stat(nameOf(path, number)));
  return here === undefined ? oldestAfter(path, number) : undefined;
}

async function oldestAfter(path: string, number: number): Promise<LogFile | undefined> {
  for (;;) {
    const oldest = (await logNumbers(path)).find((one) => one > number);
    if (oldest === undefined) return undefined;
    const file = await openLogFile(path, oldest);
    if (file !== undefined) return file;
  }
}

function nameOf(path: string, number: number): string {
  return number === UNNUMBERED ? path : `${path}.${number}`;
}

async function orMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
