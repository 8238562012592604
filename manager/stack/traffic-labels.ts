/** A service's labels for what the Docker API has no field for: how connections come to its tasks, and when no more. */
import { type Balance, isJob, type ServiceSpec } from '../../shared/model/index.ts';
import { parseDuration } from './units.ts';

const BALANCE_LABEL = 'shoal.balance';
const UNREADY_LABEL = 'shoal.serve-unready';
const WAIT_LABEL = 'shoal.withdraw-wait';
const BALANCES: readonly Balance[] = ['random', 'source-hash'];
/** As long as a stop grace period is ever given; longer would hold up updates beyond their deadline. */
const MOST_WAIT_MS = 600_000;

type Traffic = Pick<ServiceSpec, 'balance' | 'serveUnready' | 'withdrawWaitMs'>;

export type TrafficReading =
  | { readonly kind: 'read'; readonly traffic: Traffic }
  | { readonly kind: 'problem'; readonly field: string; readonly message: string };

export function readTrafficLabels({ labels, mode, endpointMode }: ServiceSpec): TrafficReading {
  const text = labels[BALANCE_LABEL];
  const balance = BALANCES.find((one) => one === text);
  if (balance !== text) return problem(BALANCE_LABEL, `${BALANCES.join(' or ')} is expected`);
  if (balance !== undefined && endpointMode === 'dnsrr')
    return problem(BALANCE_LABEL, 'needs the endpoint mode vip: with dnsrr the client chooses');
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
      ...(unready === 'true' ? { serveUnready: true as const } : {}),
      ...(waitMs === undefined ? {} : { withdrawWaitMs: waitMs }),
    },
  };
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
