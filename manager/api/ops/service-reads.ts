/** Services as the API shows them: those that are being removed are gone. */
import { UnavailableError } from '../../../shared/errors/index.ts';
import type { Service, ServiceSpec } from '../../../shared/model/index.ts';
import type { Store } from '../../store/store.ts';
import { lookup } from '../lookup.ts';

export function revisionKey(serviceId: string, revision: number): string {
  return `${serviceId}.${revision}`;
}

/** Services that are not on their way out. A standalone container is none. */
export function* liveServices(store: Store): Generator<Service> {
  for (const service of store.all('services').values()) {
    if (service.removing !== true && service.run === undefined) yield service;
  }
}

/** By id, name or unique prefix. Throws NotFoundError for what is being removed, too. */
export function findService(store: Store, ref: string): Service {
  return lookup(liveServices(store), ref, { kind: 'service', id: (s) => s.id, name: (s) => s.name });
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
