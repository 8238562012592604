/** A service's labels for what the Docker API has no field for: how tasks leave a drained node, and when they are moved. */
import { type DrainOrder, drainOrderOf, type ServiceSpec } from '../../shared/model/index.ts';
import { parseDuration } from './units.ts';

const DRAIN_LABEL = 'shoal.drain';
const REBALANCE_LABEL = 'shoal.rebalance';
const ORDERS: readonly DrainOrder[] = ['start-first', 'stop-first', 'at-once'];
const SIDE_BY_SIDE =
  'a task is moved by starting another beside it, and the tasks may write to what they mount, or run once: ' +
  `say ${DRAIN_LABEL}=start-first if two of them do no harm`;
/** Of `true`. */
const DEFAULT_REBALANCE_MS = 30_000;

export type MoveReading =
  | { readonly kind: 'read'; readonly moves: Pick<ServiceSpec, 'drain' | 'rebalanceEveryMs'> }
  | { readonly kind: 'problem'; readonly field: string; readonly message: string };

export function readMoveLabels(spec: ServiceSpec): MoveReading {
  const { labels, mode, placement } = spec;
  const field = [DRAIN_LABEL, REBALANCE_LABEL].find((name) => labels[name] !== undefined);
  if (field === undefined) return { kind: 'read', moves: {} };
  if (mode.kind !== 'replicated') return problem(field, 'is for replicated services only');
  const text = labels[DRAIN_LABEL];
  const drain = ORDERS.find((order) => order === text);
  if (drain !== text)
    return problem(DRAIN_LABEL, `${ORDERS.slice(0, -1).join(', ')} or ${ORDERS.at(-1)} is expected`);
  const every = readInterval(labels[REBALANCE_LABEL]);
  if (typeof every === 'string') return problem(REBALANCE_LABEL, every);
  const moves = {
    ...(drain === undefined ? {} : { drain }),
    ...(every === undefined ? {} : { rebalanceEveryMs: every }),
  };
  if (every === undefined) return { kind: 'read', moves };
  if (placement.strategy === 'binpack')
    return problem(REBALANCE_LABEL, 'levels the nodes, and shoal.placement.strategy=binpack fills them');
  if (drainOrderOf({ ...spec, ...moves }) === 'stop-first') return problem(REBALANCE_LABEL, SIDE_BY_SIDE);
  return { kind: 'read', moves };
}

/** In ms. Undefined: not wanted; a text: what is wrong with it. */
function readInterval(text: string | undefined): number | string | undefined {
  if (text === undefined || text === 'false') return undefined;
  if (text === 'true') return DEFAULT_REBALANCE_MS;
  const ns = parseDuration(text);
  if (ns !== undefined && ns >= 1e9) return ns / 1e6;
  return 'true, false or the time between two moves is expected (30s, 5m; at least 1s)';
}

function problem(field: string, message: string): MoveReading {
  return { kind: 'problem', field, message };
}
