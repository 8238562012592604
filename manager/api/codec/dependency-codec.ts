/** What Shoal adds to the Docker API's Service for depends_on; only shown, since a docker client would lose it. */
import type { Service, ServiceDependency, ServiceSpec } from '../../../shared/model/index.ts';
import { gateOf } from '../../plan/reconcile/dependencies.ts';
import { viewOf } from '../../plan/view.ts';
import type { Store } from '../../store/store.ts';

const CONDITIONS: Readonly<Record<ServiceDependency['condition'], string>> = {
  started: 'service_started',
  healthy: 'service_healthy',
  completed: 'service_completed_successfully',
};

export function encodeDependsOn({ dependsOn }: ServiceSpec): object[] | undefined {
  return dependsOn?.map(({ service, condition, required }) => ({
    Service: service,
    Condition: CONDITIONS[condition],
    Required: required,
  }));
}

export function encodeDependencies(store: Store, service: Service, spec: ServiceSpec): object {
  if (spec.dependsOn === undefined || spec.dependsOn.length === 0) return {};
  const view = viewOf(store);
  const gate = view === undefined ? undefined : gateOf(view, service, spec);
  return {
    DependsOn: encodeDependsOn(spec),
    ...(gate?.kind === 'held' ? { HeldBack: { Reason: gate.reason, Failed: gate.hopeless } } : {}),
  };
}
