/** What Shoal adds to the Docker API's Service for autoscaling; only shown: the labels say what is asked for. */
import type { Service, ServiceSpec } from '../../../shared/model/index.ts';
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
  spec: ServiceSpec,
): object | undefined {
  const { autoscale } = spec;
  if (autoscale === undefined) return undefined;
  const uses = currentUses(api, service);
  const { cpuPercent, memoryPercent } = autoscale;
  const metric = (Resource: string, Target: number, known: readonly number[]): object => {
    const mean = meanOf(known);
    return defined({ Resource, Target, Current: mean === undefined ? undefined : Math.round(mean) });
  };
  return defined({
    Min: autoscale.min,
    Max: autoscale.max,
    CoolDown: autoscale.coolDownMs * 1e6,
    Metrics: [
      ...(cpuPercent === undefined
        ? []
        : [
            metric(
              'cpu',
              cpuPercent,
              uses.map((use) => use.cpuPercent),
            ),
          ]),
      ...(memoryPercent === undefined
        ? []
        : [
            metric(
              'memory',
              memoryPercent,
              uses.flatMap((use) => use.memoryPercent ?? []),
            ),
          ]),
    ],
    /** Of how many tasks the use is known. */
    MeasuredTasks: uses.length,
    LastChange:
      service.scaled === undefined
        ? undefined
        : {
            At: timeText(service.scaled.atMs),
            Replicas: service.scaled.replicas,
            Reason: service.scaled.reason,
          },
  });
}

function currentUses({ store, usage, clock }: ServiceSources, service: Service) {
  const view = viewOf(store, usage === undefined ? {} : { usage });
  const revision = store.get('revisions', revisionKey(service.id, service.revision));
  if (view === undefined || revision === undefined) return [];
  const context = new ServiceContext(view, service, revision, clock.now());
  return usesOf(context, context.slots()).flatMap((use) => use ?? []);
}
