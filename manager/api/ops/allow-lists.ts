/** Allow-lists as the API takes them: checked, and what they name that is not there is said. */
import { InvalidError } from '../../../shared/errors/index.ts';
import {
  ALLOW_FROM_LABEL,
  ALLOW_LABEL,
  namesInRules,
  readAllow,
  readAllowFrom,
} from '../../../shared/lib/allow-list.ts';
import type { AllowRule, Labels, Network, NetworkSpec } from '../../../shared/model/index.ts';
import { StaleError, type Store } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';

const COMMIT_ATTEMPTS = 5;

/** Of a service. Throws InvalidError with the label and what is allowed. */
export function requireAllowFrom(labels: Labels): void {
  const list = readAllowFrom(labels);
  if (typeof list === 'string')
    throw new InvalidError(`invalid service spec: Labels.${ALLOW_FROM_LABEL}: ${list}`);
}

/** Of a single container, which has no list of its own. */
export function refuseAllowFrom(labels: Labels): void {
  if (labels[ALLOW_FROM_LABEL] !== undefined)
    throw new InvalidError(
      `Labels.${ALLOW_FROM_LABEL}: is for services: make a service of it, or give its network the label ${ALLOW_LABEL}`,
    );
}

/** Of a network. Only sandboxes of overlays have the rules. */
export function requireAllow({
  labels,
  driver,
  ingress,
}: Pick<NetworkSpec, 'labels' | 'driver' | 'ingress'>): void {
  const list = readAllow(labels);
  const refuse = (why: string): never => {
    throw new InvalidError(`network: Labels.${ALLOW_LABEL}: ${why}`);
  };
  if (typeof list === 'string') refuse(list);
  if (list !== undefined && driver !== 'overlay')
    refuse(`is for overlay networks, not for those of driver ${driver}`);
  if (list !== undefined && ingress)
    refuse('is for other networks: containers open no connections over ingress');
  if (labels[ALLOW_FROM_LABEL] !== undefined)
    throw new InvalidError(
      `network: Labels.${ALLOW_FROM_LABEL}: is for services; a network has ${ALLOW_LABEL}`,
    );
}

/** Names that nothing has: nobody comes in by them until something does. */
export function allowWarnings(store: Store, labels: Labels): string[] {
  const lists = { [ALLOW_FROM_LABEL]: readAllowFrom(labels), [ALLOW_LABEL]: readAllow(labels) };
  const there = (name: string): boolean =>
    ['service', 'container'].some((kind) => store.get('names', `${kind}:${name}`) !== undefined);
  return Object.entries(lists).flatMap(([label, list]) => {
    if (typeof list !== 'object') return [];
    return missingIn(list, there).map(
      (name) => `Labels.${label}: there is no service '${name}': until there is one, it allows nothing`,
    );
  });
}

function missingIn(rules: readonly AllowRule[], there: (name: string) => boolean): string[] {
  const found = rules.flatMap(({ from, to }) =>
    [from, to].filter((names) => names?.some(there)).map((names) => names?.at(-1)),
  );
  return namesInRules(rules).filter((name) => !found.includes(name));
}

/** A network's labels are all that can be changed of it. */
export async function updateNetworkLabels(
  { store }: ApiContext,
  { id, spec }: Network,
  labels: Labels,
  signal: AbortSignal,
): Promise<void> {
  requireAllow({ ...spec, labels });
  for (let attempt = 1; ; attempt += 1) {
    const network = store.get('networks', id);
    if (network === undefined) return;
    const value: Network = { ...network, spec: { ...network.spec, labels } };
    try {
      await store.commit([{ table: 'networks', key: id, value, expect: store.version('networks', id) }], {
        signal,
      });
      return;
    } catch (error) {
      if (!(error instanceof StaleError) || attempt >= COMMIT_ATTEMPTS) throw error;
    }
  }
}
