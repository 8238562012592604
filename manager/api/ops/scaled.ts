/** What an update means for the number of tasks of a service that is scaled by use. */
import {
  replicasOf,
  type Scaled,
  type Service,
  type ServiceSpec,
  withinBounds,
} from '../../../shared/model/index.ts';

export interface ReplicasTaken {
  /** To be stored. Its number is what was asked for when the service was made, or since then in a file. */
  readonly spec: ServiceSpec;
  /** To be checked: the number in it is the one that was asked for now, if it was. */
  readonly asked: ServiceSpec;
  readonly scaled: Scaled | undefined;
}

/**
 * A number is only taken for a wish when it can be one. Of a client that writes back what it read, the number it read is
 * none. Of a file that is deployed again, neither is the one that it always had, nor the least that there may be, which is
 * what a file without a number has.
 */
export function takeReplicas(
  service: Service,
  current: ServiceSpec,
  wanted: ServiceSpec,
  update: { readonly wroteBack: boolean; readonly nowMs: number },
): ReplicasTaken {
  const { autoscale, mode } = wanted;
  const now = replicasOf(service, current);
  const before = current.mode.kind === 'replicated' ? current.mode.replicas : undefined;
  const known = current.autoscale !== undefined && now !== undefined && before !== undefined;
  if (autoscale === undefined || mode.kind !== 'replicated' || !known)
    return { spec: wanted, asked: wanted, scaled: undefined };
  const kept = update.wroteBack ? withinBounds(before, autoscale) : mode.replicas;
  const spec: ServiceSpec = { ...wanted, mode: { ...mode, replicas: kept } };
  const says = (number: number): boolean => mode.replicas === number;
  const silent = says(now) || (!update.wroteBack && (says(before) || says(autoscale.min)));
  if (!silent) {
    const scaled = { replicas: mode.replicas, atMs: update.nowMs, reason: 'set by a user' };
    return { spec, asked: wanted, scaled };
  }
  const replicas = withinBounds(now, autoscale);
  if (replicas === now && (service.scaled !== undefined || kept === now))
    return { spec, asked: spec, scaled: service.scaled };
  const reason = replicas === now ? 'as it was before the update' : 'the bounds were changed';
  return { spec, asked: spec, scaled: { replicas, atMs: update.nowMs, reason } };
}
