/** An nft expression that gives each new connection the next of the addresses in turn. */
export function dispatch(addresses: readonly string[]): string {
  const sorted = [...addresses].sort();
  const entries = sorted.map((address, index) => `${index} : ${address}`);
  return `numgen inc mod ${sorted.length} map { ${entries.join(', ')} }`;
}
