import type { Prng } from './prng.ts';

const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyz';
const ID_LENGTH = 25;

/** A Swarm-like identifier, 25 characters of base 36 (129 bits), from a seeded generator: for pure code. */
export function idFrom(random: Prng): string {
  let id = '';
  for (let i = 0; i < ID_LENGTH; i += 1) id += ALPHABET.charAt(random.below(36));
  return id;
}

/** Random bytes are fetched for many identifiers at once: each fetch is a call of the system. */
const pool = new Uint8Array(2048);
let unused = 0;

function nextByte(): number {
  if (unused === 0) {
    globalThis.crypto.getRandomValues(pool);
    unused = pool.length;
  }
  unused -= 1;
  const byte = pool[unused] ?? 0;
  pool[unused] = 0;
  return byte;
}

/** The same from the system's randomness: for everything at the edge. */
export function newId(): string {
  let id = '';
  while (id.length < ID_LENGTH) {
    const byte = nextByte();
    if (byte < 252) id += ALPHABET.charAt(byte % 36);
  }
  return id;
}

/** A container identifier, 64 hexadecimal characters, as Docker clients expect. */
export function newContainerId(): string {
  return Buffer.from(Array.from({ length: 32 }, nextByte)).toString('hex');
}
