/** The network part of the native library (native/include/shoal-net.h). Every call runs off the event loop. */
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { library } from './library.ts';

/** A refusal of the kernel or of nft. */
export class NetworkCallError extends Error {
  override readonly name = 'NetworkCallError';
  /** The errno's name, e.g. ENOENT. */
  readonly code: string;

  constructor(errno: number, step: string, detail: string) {
    const code = getSystemErrorName(-errno);
    super(`${step}: ${detail} (${code})`);
    this.code = code;
  }
}

/** Operations that run in one network namespace; null is the process's own. */
export interface NetBatch {
  readonly netns: string | null;
  readonly ops: readonly (Readonly<Record<string, unknown>> & { readonly op: string })[];
}

const errorType = koffi.struct({
  code: 'int32_t',
  step: koffi.array('char', 32, 'String'),
  detail: koffi.array('char', 128, 'String'),
});
const errorOut = koffi.out(koffi.pointer(errorType));
const textOut = koffi.out(koffi.pointer('void', 2));

const applyFunction = library.func('shoal_net_apply', 'int', ['str', errorOut]);
const dumpFunction = library.func('shoal_net_dump', 'int', ['str', 'str', textOut, errorOut]);
const nftFunction = library.func('shoal_net_nft', 'int', ['str', 'str', 'int', textOut, errorOut]);
const socketFunction = library.func('shoal_net_socket', 'int', ['str', 'int', 'str', 'uint', errorOut]);
const newFunction = library.func('shoal_net_new', 'int', [errorOut]);
const freeFunction = library.func('shoal_net_free', 'void', ['void *']);

type NativeFunction = ReturnType<typeof library.func>;

function call(native: NativeFunction, ...args: unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const failure = {} as { step: string; detail: string };
    native.async(...args, failure, (error: unknown, code: number) => {
      if (error) reject(error);
      else if (code < 0) reject(new NetworkCallError(-code, failure.step, failure.detail));
      else resolve(code);
    });
  });
}

/** Takes over a string that the library allocated. */
function takeText(holder: [unknown]): string {
  const pointer = holder[0];
  if (pointer === null) return '';
  try {
    return koffi.decode(pointer, 'char', -1) as string;
  } finally {
    freeFunction(pointer);
  }
}

/** Carries out the batches in order; stops at the first operation that fails, and rejects with NetworkCallError. */
export async function applyBatches(batches: readonly NetBatch[]): Promise<void> {
  const filled = batches.filter((batch) => batch.ops.length > 0);
  if (filled.length > 0) await call(applyFunction, JSON.stringify(filled));
}

/** Whether the kernel has WireGuard: its module is loaded, if there is one. */
export function hasWireGuard(): Promise<boolean> {
  return kernelHas('wg-check');
}

/** Whether the kernel has macvlan: its module is loaded, if there is one. */
export function hasMacvlan(): Promise<boolean> {
  return kernelHas('macvlan-check');
}

async function kernelHas(op: string): Promise<boolean> {
  try {
    await applyBatches([{ netns: null, ops: [{ op }] }]);
    return true;
  } catch (error) {
    // Two names of one number.
    if (error instanceof NetworkCallError && /^(ENOTSUP|EOPNOTSUPP)$/.test(error.code)) return false;
    throw error;
  }
}

/** Reads a namespace back; rejects with code ENOENT when there is none at the path. */
export async function dumpNamespace(netns: string | null, sysctls: readonly string[]): Promise<unknown> {
  const out: [unknown] = [null];
  await call(dumpFunction, netns, sysctls.join(','), out);
  return JSON.parse(takeText(out));
}

/** Lists as JSON what `commands` ask for. Rejects with code ENOENT when it does not exist. */
export async function listNft(netns: string | null, commands: string): Promise<unknown> {
  const out: [unknown] = [null];
  await call(nftFunction, netns, commands, 1, out);
  const text = takeText(out);
  return text === '' ? { nftables: [] } : JSON.parse(text);
}

/** A non-blocking socket in a namespace, for Node to adopt: a bound datagram one, or a listening stream one. */
export function openSocket(
  netns: string | null,
  type: 'datagram' | 'stream',
  address: string,
  port: number,
): Promise<number> {
  return call(socketFunction, netns, type === 'stream' ? 1 : 2, address, port);
}

/** A namespace in which only localhost is, held by the descriptor that this resolves with, and by who joins it. */
export function makeNamespace(): Promise<number> {
  return call(newFunction);
}
