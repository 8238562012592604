/** PURE. Which managers may leave: the rest must be able to go on. */

export interface Voter {
  readonly id: string;
  /** What people call it. */
  readonly name: string;
  readonly alive: boolean;
}

/** How many of so many must agree. */
export function majority(count: number): number {
  return Math.floor(count / 2) + 1;
}

/** Why this one may not be taken out, in words that say what to do; undefined when it may. */
export function removalProblem(voters: readonly Voter[], id: string): string | undefined {
  const leaving = voters.find((voter) => voter.id === id);
  if (leaving === undefined) return undefined; // it has no vote
  const rest = voters.filter((voter) => voter.id !== id);
  if (rest.length === 0) {
    return `${leaving.name} is the only manager, and the cluster is what it keeps: let another one join first`;
  }
  const alive = rest.filter((voter) => voter.alive).length;
  const needed = majority(rest.length);
  if (alive >= needed) return undefined;
  const dead = rest.filter((voter) => !voter.alive).map((voter) => voter.name);
  return (
    `without ${leaving.name} the cluster would lose its quorum: of the ${rest.length} other managers ${needed} must be ` +
    `reachable and ${alive} ${alive === 1 ? 'is' : 'are'} (not: ${dead.join(', ')}): start those, or remove them first`
  );
}
