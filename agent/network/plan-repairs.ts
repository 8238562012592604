/** PURE. What a plan repairs, counted by kind. */
import type { Plan } from './plan.ts';

/** By the beginning of an operation's name: the values of the label `kind` of the metric. */
const KINDS: Readonly<Record<string, string>> = {
  netns: 'namespace',
  link: 'link',
  addr: 'address',
  neigh: 'neighbour',
  fdb: 'fdb',
  rate: 'rate',
  route: 'route',
  rule: 'rule',
  sysctl: 'sysctl',
  nft: 'nftables',
  fast: 'nftables',
};

/** An operation each, and a line each of nftables' commands. */
export function repairsIn({ batches }: Pick<Plan, 'batches'>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { op, ...fields } of batches.flatMap(({ ops }) => ops)) {
    const kind = KINDS[op.replace(/-.*/, '')] ?? 'other';
    const commands = fields['commands'];
    const count = typeof commands === 'string' ? commands.split('\n').length : 1;
    counts.set(kind, (counts.get(kind) ?? 0) + count);
  }
  return counts;
}
