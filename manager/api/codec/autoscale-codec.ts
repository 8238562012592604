/** What Shoal adds to the Docker API's Service for autoscaling; only shown: the labels say what is asked for. */
import type { Scaled, Service, ServiceSpec } from '../../../shared/model/index.ts';
import { meanOf } from '../../plan/reconcile/autoscale.ts';
import { ServiceContext } from '../../plan/reconcile/context.ts';
import { usesOf } from '../../plan/reconcile/service-scale.ts';
import { viewOf } from '../../plan/view.ts';
import { revisionKey } from '../ops/service-reads.ts';
import { defined, timeText } from './common.ts';
import type { ServiceSources } from './service-codec.ts';

export function encodeAutoscale(
  api: ServiceSources,
  service: Service,
  { autoscale }: ServiceSpec,
): object | undefined {
  if (autoscale === undefined) return undefined;
  const uses = currentUses(api, service);
  const cpu = meanOf(uses.map((use) => use.cpuPercent));
  const memory = meanOf(uses.flatMap((use) => use.memoryPercent ?? []));
  return defined({
    Min: autoscale.min,
    Max: autoscale.max,
    CoolDown: autoscale.coolDownMs * 1e6,
    Metrics: [
      ...encodeMetric('cpu', autoscale.cpuPercent, cpu),
      ...encodeMetric('memory', autoscale.memoryPercent, memory),
    ],
    // Of how many tasks the use is known.
    MeasuredTasks: uses.length,
    LastChange: service.scaled === undefined ? undefined : encodeChange(service.scaled),
  });
}

/** In percent; `Current` is absent when nothing is known. */
function encodeMetric(name: string, target: number | undefined, current: number | undefined): object[] {
  if (target === undefined) return [];
  const Current = current === undefined ? undefined : Math.round(current);
  return [defined({ Resource: name, Target: target, Current })];
}

function encodeChange({ atMs, replicas, reason }: Scaled): object {
  return { At: timeText(atMs), Replicas: replicas, Reason: reason };
}

function currentUses({ store, usage, clock }: ServiceSources, service: Service) {
  const view = viewOf(store, usage === undefined ? {} : { usage });
  const revision = store.get('revisions', revisionKey(service.id, service.revision));
  if (view === undefined || revision === undefined) return [];
  const context = new ServiceContext(view, service, revision, clock.now());
  return usesOf(context, context.slots()).flatMap((use) => use ?? []);
}
