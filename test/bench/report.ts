/** How every benchmark prints a figure: one line of JSON. */

/** `ratio` is how many times less ours is (smaller is better in every unit that is a time or a size). */
export function report(bench: string, ours: number, peer: number | undefined, unit: string): void {
  print(bench, ours, peer, unit, (peer ?? 0) / ours);
}

/** For units in which more is better: `ratio` is how many times more ours is. */
export function reportRate(bench: string, ours: number, peer: number | undefined, unit: string): void {
  print(bench, ours, peer, unit, ours / (peer ?? 1));
}

/**
 * Of rounds in which both had their turn: the medians; `ratio` is the median of the rounds' own ratios, which what slows both
 * for a while does not move, and `spread` their quartiles.
 */
export function reportRounds(
  bench: string,
  ours: readonly number[],
  peer: readonly number[],
  unit: string,
  better: 'more' | 'less',
): void {
  const ratios = ours.map((mine, i) => (better === 'more' ? mine / (peer[i] ?? 0) : (peer[i] ?? 0) / mine));
  const spread = [quantile(ratios, 0.25), quantile(ratios, 0.75)];
  print(bench, quantile(ours, 0.5), quantile(peer, 0.5), unit, quantile(ratios, 0.5), spread);
}

function print(
  bench: string,
  ours: number,
  peer: number | undefined,
  unit: string,
  ratio: number,
  spread?: readonly number[],
): void {
  const rounded = (value: number): number => Number(value.toFixed(2));
  const compared = peer === undefined ? {} : { peer: rounded(peer), ratio: rounded(ratio) };
  const around = spread === undefined ? {} : { spread: spread.map(rounded) };
  process.stdout.write(`${JSON.stringify({ bench, ours: rounded(ours), ...compared, ...around, unit })}\n`);
}

export function quantile(values: readonly number[], q: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? 0;
}
