/** How two versions of Shoal may speak with each other: at most one minor release apart. */

export type Skew = 'same' | 'newer' | 'older' | 'apart';

/** What `peer` is, seen from `own`. What is no version is of another world, and so apart. */
export function versionSkew(own: string, peer: string): Skew {
  const [mine, theirs] = [parse(own), parse(peer)];
  if (mine === undefined || theirs === undefined || mine.major !== theirs.major) return 'apart';
  const minors = theirs.minor - mine.minor;
  if (Math.abs(minors) > 1) return 'apart';
  if (minors !== 0) return minors > 0 ? 'newer' : 'older';
  if (theirs.patch === mine.patch) return 'same';
  return theirs.patch > mine.patch ? 'newer' : 'older';
}

function parse(text: string): { major: number; minor: number; patch: number } | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)(?:[-+].*)?$/.exec(text);
  if (match === null) return undefined;
  return { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3]) };
}
