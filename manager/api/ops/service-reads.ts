/** Services as the API shows them: those that are being removed are gone. */
import { UnavailableError } from '../../../shared/errors/index.ts';
import { replicasOf, type Service, type ServiceSpec } from '../../../shared/model/index.ts';
import type { Store } from '../../store/store.ts';
import { lookup } from '../lookup.ts';

export function revisionKey(serviceId: string, revision: number): string {
  return `${serviceId}.${revision}`;
}

/** Services that are not on their way out. A standalone container is none. */
export function* liveServices(store: Store): Generator<Service> {
  for (const service of store.all('services').values()) {
    if (isLive(service)) yield service;
  }
}

function isLive(service: Service): boolean {
  return service.removing !== true && service.run === undefined;
}

/** The one of exactly this id or, else, of this name: found without a look at all the others. */
function exactService(store: Store, ref: string): Service | undefined {
  const named = (): string => store.get('names', `service:${ref}`)?.id ?? '';
  const found = store.get('services', ref) ?? store.get('services', named());
  return found !== undefined && isLive(found) && (found.id === ref || found.name === ref) ? found : undefined;
}

/** All that a filter's value may mean: an id, a name, or the start of an id. */
export function* servicesLike(store: Store, ref: string): Generator<Service> {
  const exact = exactService(store, ref);
  if (exact?.id === ref) return yield exact;
  for (const service of liveServices(store))
    if (service.name === ref || service.id.startsWith(ref)) yield service;
}

/** By id, name or unique prefix. Throws NotFoundError for what is being removed, too. */
export function findService(store: Store, ref: string): Service {
  const exact = exactService(store, ref);
  return exact ?? lookup(liveServices(store), ref, { kind: 'service', id: (s) => s.id, name: (s) => s.name });
}

export function specOf(store: Store, service: Service, revision = service.revision): ServiceSpec | undefined {
  return store.get('revisions', revisionKey(service.id, revision))?.spec;
}

/** The current spec. Throws UnavailableError should the mirror not hold it (it is written with the service). */
export function currentSpec(store: Store, service: Service): ServiceSpec {
  const spec = specOf(store, service);
  if (spec === undefined)
    throw new UnavailableError(`revision ${service.revision} of ${service.name} is missing`);
  return spec;
}

const shownSpecs = new WeakMap<Service, { readonly from: ServiceSpec; readonly shown: ServiceSpec }>();

/** The spec as users see it: with the number of tasks that there should be now. The same object as long as nothing changed. */
export function shownSpec(service: Service, spec: ServiceSpec): ServiceSpec {
  const replicas = replicasOf(service, spec);
  if (spec.mode.kind !== 'replicated' || replicas === undefined || replicas === spec.mode.replicas)
    return spec;
  const known = shownSpecs.get(service);
  if (known?.from === spec) return known.shown;
  const shown: ServiceSpec = { ...spec, mode: { kind: 'replicated', replicas } };
  shownSpecs.set(service, { from: spec, shown });
  return shown;
}
