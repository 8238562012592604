/** What of a canary has no effect as things are, for people. */
import { isOnMesh, type ServiceSpec, stackOfSpec } from '../../../shared/model/index.ts';
import type { Store } from '../../store/store.ts';
import { specOf } from './service-reads.ts';

/** `spec` as it is stored, with its networks by id. */
export function canaryWarnings(store: Store, spec: ServiceSpec): string[] {
  if (spec.canary === undefined) return [];
  const { of } = spec.canary;
  const id = store.get('names', `service:${of}`)?.id ?? '';
  const service = store.get('services', id);
  const other = service === undefined ? undefined : specOf(store, service);
  const why = other === undefined ? `there is no service '${of}'` : whyNothing(spec, other);
  return why === undefined ? [] : [`Labels.shoal.canary-of: ${why}: it takes nothing`];
}

function whyNothing(spec: ServiceSpec, of: ServiceSpec): string | undefined {
  const stack = stackOfSpec(spec);
  if (stack !== undefined && stack !== stackOfSpec(of))
    return `it is of stack ${stack}, and service '${of.name}' is not`;
  if (isOnMesh(of)) return undefined;
  if (of.endpointMode === 'dnsrr') return `service '${of.name}' has no VIP and publishes no port`;
  return spec.networks.some(({ network }) => of.networks.some((one) => one.network === network))
    ? undefined
    : `it is on no network with service '${of.name}', which publishes no port`;
}
