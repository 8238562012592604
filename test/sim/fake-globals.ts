/**
 * Puts simulated time, seeded chance and a disk in memory in the place of Node's, for as long as a simulation runs: so the
 * product's own code runs unchanged. What it imports from Node's modules changes too (module.syncBuiltinESMExports).
 */
import crypto from 'node:crypto';
import fsPromises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import timersPromises from 'node:timers/promises';
import { newId } from '../../shared/lib/ids.ts';
import type { Prng } from '../../shared/lib/prng.ts';
import { fakeFiles, type FileSystem } from './fake-files.ts';
import type { SimEvent, Timeline } from './timeline.ts';

interface Machinery {
  readonly time: Timeline;
  readonly random: Prng;
  readonly files: FileSystem;
}

/** Returns the undo. */
export function fakeGlobals({ time, random, files }: Machinery): () => void {
  const undo = [
    ...replaceAll(globalThis, timersOf(time)),
    ...replaceAll(Date, { now: () => time.now + (time.current?.skewMs ?? 0) }),
    ...replaceAll(performance, { now: () => time.now }),
    replaceGetter(performance, 'timeOrigin', () => time.current?.skewMs ?? 0),
    ...replaceAll(Math, { random: () => random.next() }),
    ...replaceAll(AbortSignal, { timeout: (ms: number) => timeoutSignal(time, ms) }),
    ...replaceAll(globalThis.crypto, { getRandomValues: (bytes: Uint8Array) => fill(bytes, random) }),
    ...replaceAll(crypto, { randomUUID: () => `uuid-${random.below(2 ** 31)}-${random.below(2 ** 31)}` }),
    ...replaceAll(timersPromises, { setImmediate: nextTurn(time) }),
    ...replaceAll(fsPromises, fakeFiles(files, { ...fsPromises })),
  ];
  syncBuiltinESMExports();
  emptyIdPool();
  return () => {
    for (const one of undo.reverse()) one();
    syncBuiltinESMExports();
  };
}

function replaceAll(target: object, fakes: Readonly<Record<string, unknown>>): (() => void)[] {
  return Object.entries(fakes).map(([name, value]) => {
    const before = Object.getOwnPropertyDescriptor(target, name);
    Object.defineProperty(target, name, { value, configurable: true, writable: true, enumerable: true });
    return () => {
      if (before === undefined) Reflect.deleteProperty(target, name);
      else Object.defineProperty(target, name, before);
    };
  });
}

function replaceGetter(target: object, name: string, get: () => unknown): () => void {
  Object.defineProperty(target, name, { get, configurable: true });
  // The original is the prototype's.
  return () => void Reflect.deleteProperty(target, name);
}

/** What stands for Node's Timeout and Immediate. */
class Handle {
  event: SimEvent | undefined;
  unref(): this {
    return this;
  }
  ref(): this {
    return this;
  }
}

function timersOf(time: Timeline): Record<string, unknown> {
  const after = (run: () => void, ms = 0): Handle => {
    const handle = new Handle();
    // Node's timers wait for a millisecond at least.
    handle.event = time.in(Math.max(1, ms), run, time.current, 'timer');
    return handle;
  };
  const clear = (handle: unknown): void => {
    if (handle instanceof Handle && handle.event !== undefined) handle.event.cancelled = true;
  };
  const every = (run: () => void, ms = 0): Handle => {
    const handle = new Handle();
    const owner = time.current;
    const again = (): void => {
      handle.event = time.in(
        Math.max(1, ms),
        () => {
          again();
          run();
        },
        owner,
        'timer',
      );
    };
    again();
    return handle;
  };
  const immediate = (run: () => void): Handle => {
    const handle = new Handle();
    handle.event = time.in(0, run);
    return handle;
  };
  return {
    setTimeout: after,
    clearTimeout: clear,
    setInterval: every,
    clearInterval: clear,
    setImmediate: immediate,
    clearImmediate: clear,
  };
}

function nextTurn(time: Timeline) {
  return (value: unknown, { signal }: { signal?: AbortSignal } = {}): Promise<unknown> => {
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    return new Promise((resolve) => void time.in(0, () => resolve(value)));
  };
}

function timeoutSignal(time: Timeline, ms: number): AbortSignal {
  const controller = new AbortController();
  const expired = (): void => controller.abort(new DOMException('timed out', 'TimeoutError'));
  time.in(ms, expired, time.current, 'timer');
  return controller.signal;
}

function fill(bytes: Uint8Array, random: Prng): Uint8Array {
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = random.below(256);
  return bytes;
}

/** ids.ts keeps random bytes for later: those of an earlier world would make this one differ from its replay. */
function emptyIdPool(): void {
  const pool = { filled: false };
  const oneUseful = (bytes: Uint8Array): Uint8Array => {
    pool.filled = true;
    // Read from the end; of 255 none is used. So the identifier that is being made ends with the last byte.
    bytes.fill(255)[0] = 0;
    return bytes;
  };
  const [undo] = replaceAll(globalThis.crypto, { getRandomValues: oneUseful });
  for (let i = 0; i < 1000 && !pool.filled; i += 1) newId();
  undo?.();
  if (!pool.filled)
    throw new Error('newId() does not take its bytes from globalThis.crypto: the seed is not all');
}
