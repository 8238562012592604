/** A service's labels for what the Docker API has no field for: how connections come to its tasks, and when no more. */
import { type Balance, type Canary, isJob, type Labels, type ServiceSpec } from '../../shared/model/index.ts';
import { parseDuration } from './units.ts';

const BALANCE_LABEL = 'shoal.balance';
/** Name of the service, and per cent of what comes to it. */
const CANARY_LABEL = 'shoal.canary-of';
const SHARE_LABEL = 'shoal.canary-share';
const UNREADY_LABEL = 'shoal.serve-unready';
const WAIT_LABEL = 'shoal.withdraw-wait';
const BALANCES: readonly Balance[] = ['random', 'source-hash'];
/** As long as a stop grace period is ever given; longer would hold up updates beyond their deadline. */
const MOST_WAIT_MS = 600_000;

export type Traffic = Pick<ServiceSpec, 'balance' | 'canary' | 'serveUnready' | 'withdrawWaitMs'>;

export type TrafficReading =
  | { readonly kind: 'read'; readonly traffic: Traffic }
  | { readonly kind: 'problem'; readonly field: string; readonly message: string };

export function readTrafficLabels(spec: ServiceSpec): TrafficReading {
  const { labels, mode, endpointMode } = spec;
  const text = labels[BALANCE_LABEL];
  const balance = BALANCES.find((one) => one === text);
  if (balance !== text) return problem(BALANCE_LABEL, `${BALANCES.join(' or ')} is expected`);
  if (balance !== undefined && endpointMode === 'dnsrr')
    return problem(BALANCE_LABEL, 'needs the endpoint mode vip: with dnsrr the client chooses');
  const canary = readCanary(spec);
  if (canary !== undefined && 'kind' in canary) return canary;
  const unready = labels[UNREADY_LABEL];
  if (unready !== undefined && unready !== 'true' && unready !== 'false')
    return problem(UNREADY_LABEL, 'true or false is expected');
  const waitMs = readWait(labels[WAIT_LABEL]);
  if (typeof waitMs === 'string') return problem(WAIT_LABEL, waitMs);
  if (waitMs !== undefined && isJob(mode)) return problem(WAIT_LABEL, 'is for services whose tasks run on');
  return {
    kind: 'read',
    traffic: {
      ...(balance === undefined ? {} : { balance }),
      ...(canary === undefined ? {} : { canary }),
      ...(unready === 'true' ? { serveUnready: true as const } : {}),
      ...(waitMs === undefined ? {} : { withdrawWaitMs: waitMs }),
    },
  };
}

function readCanary({ name, labels, mode }: ServiceSpec): Canary | TrafficReading | undefined {
  const of = labels[CANARY_LABEL];
  const text = labels[SHARE_LABEL];
  if (of === undefined && text === undefined) return undefined;
  if (of === undefined) return problem(SHARE_LABEL, `needs ${CANARY_LABEL}, the name of a service`);
  if (of === '') return problem(CANARY_LABEL, 'the name of a service is expected');
  if (of === name) return problem(CANARY_LABEL, 'is another service: a service can not be its own canary');
  if (isJob(mode)) return problem(CANARY_LABEL, 'is for services whose tasks run on');
  const share = text !== undefined && /^\d{1,2}$/.test(text) ? Number(text) : 0;
  if (share < 1) return problem(SHARE_LABEL, 'per cent of connections are expected, from 1 to 99');
  return { of, share };
}

/** In a file a service goes by its short name; the label names it as the cluster does. */
export function canaryLabel(labels: Labels, stack: string, keys: ReadonlySet<string>): Labels {
  const of = labels[CANARY_LABEL];
  return of === undefined || !keys.has(of) ? {} : { [CANARY_LABEL]: `${stack}_${of}` };
}

/** In ms. Undefined: not wanted; a text: what is wrong with it. */
function readWait(text: string | undefined): number | string | undefined {
  if (text === undefined) return undefined;
  const ns = parseDuration(text);
  if (ns !== undefined && ns >= 0 && ns <= MOST_WAIT_MS * 1e6) return Math.ceil(ns / 1e6);
  return 'the time between withdrawal and signal is expected (10s; at most 10m)';
}

function problem(field: string, message: string): TrafficReading {
  return { kind: 'problem', field, message };
}
