/** How every benchmark prints a figure: one line of JSON. */

/** `ratio` is how many times less ours is (smaller is better in every unit that is a time or a size). */
export function report(bench: string, ours: number, peer: number | undefined, unit: string): void {
  print(bench, ours, peer, unit, (peer ?? 0) / ours);
}

/** For units in which more is better: `ratio` is how many times more ours is. */
export function reportRate(bench: string, ours: number, peer: number | undefined, unit: string): void {
  print(bench, ours, peer, unit, ours / (peer ?? 1));
}

function print(bench: string, ours: number, peer: number | undefined, unit: string, ratio: number): void {
  const rounded = (value: number): number => Number(value.toFixed(2));
  const compared = peer === undefined ? {} : { peer: rounded(peer), ratio: rounded(ratio) };
  process.stdout.write(`${JSON.stringify({ bench, ours: rounded(ours), ...compared, unit })}\n`);
}

export function quantile(values: readonly number[], q: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? 0;
}
