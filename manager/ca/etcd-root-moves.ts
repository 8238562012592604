/**
 * Which step a manager takes on the way from one root of etcd's authority to another. Pure: it goes by what the managers have told
 * of themselves, so whoever was cut off goes on where it was. First all etcds come to believe both roots, then all show
 * certificates of the next, then all stop to believe the old one: at every moment any two believe each other. Whom an etcd
 * believes changes only when it starts again, which one does at a time, and only while all others are there.
 */
import type { EtcdRoots, ManagerRecord } from '../../shared/model/index.ts';

type Member = Pick<ManagerRecord, 'id' | 'state' | 'etcdRoots'>;

export type RootMove =
  /** It has not the next root yet. */
  | { readonly kind: 'fetch' }
  /** Its etcd starts again, and believes both. */
  | { readonly kind: 'trust' }
  /** Its etcd shows a certificate of the next one, as it runs. */
  | { readonly kind: 'show' }
  /** Its etcd starts again, and believes the next one only. */
  | { readonly kind: 'drop' }
  /** All have done all. */
  | { readonly kind: 'end' }
  | { readonly kind: 'wait'; readonly for: readonly string[] };

/** `next` is the name of the root that is led to; `own` what this manager knows of itself, which may be more than it has told. */
export function rootMove(
  next: string,
  ownId: string,
  own: EtcdRoots,
  managers: Iterable<Member>,
  alive: ReadonlySet<string>,
): RootMove {
  const all = [...managers].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  if (!own.holds.includes(next)) return { kind: 'fetch' };
  const turn = (kind: 'trust' | 'drop', left: readonly Member[]): RootMove => {
    const gone = all.filter(({ id }) => id !== ownId && !alive.has(id));
    const [first] = left.filter(({ state }) => state === 'member');
    if (first?.id !== ownId) return { kind: 'wait', for: left.map(({ id }) => id) };
    return gone.length > 0 ? { kind: 'wait', for: gone.map(({ id }) => id) } : { kind };
  };
  const untrusting = all.filter(({ etcdRoots }) => etcdRoots?.trusts.includes(next) !== true);
  if (untrusting.length > 0) return turn('trust', untrusting);
  const unshown = all.filter(({ etcdRoots }) => etcdRoots?.shows !== next);
  if (own.shows !== next) return { kind: 'show' };
  if (unshown.length > 0) return { kind: 'wait', for: unshown.map(({ id }) => id) };
  const undropped = all.filter(({ etcdRoots }) => etcdRoots?.trusts.length !== 1);
  return undropped.length > 0 ? turn('drop', undropped) : { kind: 'end' };
}
