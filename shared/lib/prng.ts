/** A seeded generator, so that a pure decision can make identifiers and choices that a replay makes again. */
export interface Prng {
  /** A whole number in [0, bound). */
  below(bound: number): number;
  /** A fraction in [0, 1). */
  next(): number;
}

/** sfc32 (PractRand's small fast counter), seeded by hashing the text. */
export function prng(seed: string): Prng {
  let [a, b, c, d] = hashSeed(seed);
  const step = (): number => {
    const t = (a + b + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t >>> 0;
  };
  for (let i = 0; i < 12; i += 1) step();
  return {
    next: () => step() / 4_294_967_296,
    below: (bound) => Math.floor((step() / 4_294_967_296) * bound),
  };
}

function hashSeed(seed: string): [number, number, number, number] {
  let h = 1_779_033_703 ^ seed.length;
  for (let i = 0; i < seed.length; i += 1) {
    h = Math.imul(h ^ seed.charCodeAt(i), 3_432_918_353);
    h = (h << 13) | (h >>> 19);
  }
  const word = (): number => {
    h = Math.imul(h ^ (h >>> 16), 2_246_822_507);
    h = Math.imul(h ^ (h >>> 13), 3_266_489_909);
    h ^= h >>> 16;
    return h | 0;
  };
  return [word(), word(), word(), 1];
}
