/** What belongs to a stack: the label says so, whoever made it. */
import { type Network, type Service, STACK_LABEL } from '../../../shared/model/index.ts';
import type { Store } from '../../store/store.ts';
import { currentSpec, liveServices } from './service-reads.ts';

export function stackServices(store: Store, stack: string): Service[] {
  return [...liveServices(store)].filter(
    (service) => currentSpec(store, service).labels[STACK_LABEL] === stack,
  );
}

export function stackNetworks(store: Store, stack: string): Network[] {
  return [...store.all('networks').values()].filter((network) => network.spec.labels[STACK_LABEL] === stack);
}

/** Those that were deployed here, and those that a docker client made by labels alone. */
export function stackNames(store: Store): string[] {
  const names = new Set(store.all('stacks').keys());
  for (const service of liveServices(store)) {
    const name = currentSpec(store, service).labels[STACK_LABEL];
    if (name !== undefined) names.add(name);
  }
  return [...names].sort();
}
