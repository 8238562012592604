/** The reasons for which tasks wait, without names and numbers: few enough to count by. Pure. */

export const PENDING_KINDS = [
  'no-node',
  'node-status',
  'node-availability',
  'platform',
  'constraint',
  'cpu',
  'memory',
  'generic-resource',
  'host-port',
  'max-replicas',
  'published-port',
  'address',
  'network',
  'other',
] as const;

export type PendingKind = (typeof PENDING_KINDS)[number];

const BEGINNINGS: readonly (readonly [RegExp, PendingKind])[] = [
  [/^\(?the cluster has no node|^the node is gone/, 'no-node'],
  [/^status is /, 'node-status'],
  [/^availability is /, 'node-availability'],
  [/^unsupported platform/, 'platform'],
  [/^constraint /, 'constraint'],
  [/^insufficient CPU/, 'cpu'],
  [/^insufficient memory/, 'memory'],
  [/^insufficient generic resource/, 'generic-resource'],
  [/^host port /, 'host-port'],
  [/^max replicas per node /, 'max-replicas'],
  [/^port |^no free port /, 'published-port'],
  [/^no free address /, 'address'],
  [/^network /, 'network'],
];

/** True when a node that has not been heard since its manager started may be one that suits. */
export function waitsForNodes(reason: string): boolean {
  return /^no suitable node \(.*\bstatus is unknown on \d+ node/.test(reason);
}

/** Of a reason that many filters share, the one that the most nodes failed: it is named first. */
export function pendingKind(reason: string): PendingKind {
  const first = reason.replace(/^no suitable node \(/, '');
  return BEGINNINGS.find(([beginning]) => beginning.test(first))?.[1] ?? 'other';
}
