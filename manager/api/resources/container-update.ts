/** docker update: the restart policy and the limits of a single container, at once if it runs. */
import type { Request, Response } from 'express';
import { z } from 'zod';
import { ConflictError, InvalidError } from '../../../shared/errors/index.ts';
import type { Revision, RuntimeOptions, ServiceSpec } from '../../../shared/model/index.ts';
import type { ContainerLimits } from '../../../shared/model/node-methods/index.ts';
import { defined, given } from '../codec/common.ts';
import { decodeContainerRestart, limitsOf } from '../codec/container-create-codec.ts';
import { zResources, zRestartPolicy } from '../codec/container-create-schema.ts';
import type { ApiContext } from '../context.ts';
import { readJson } from '../http/body.ts';
import { requestSignal, sendJson } from '../http/respond.ts';
import { parseStrict } from '../http/unsupported.ts';
import { callNode } from '../node-call.ts';
import { isLive } from '../ops/container-reads.ts';
import { requireNode } from '../ops/container-runs.ts';
import { reviseContainer } from '../ops/containers.ts';
import { checkServiceSpec } from '../validate/service-spec.ts';
import { findSingle } from './find-single.ts';
import { eventOf, serviceDecides } from './single-container.ts';

export const zUpdate = z.object({ ...zResources, RestartPolicy: zRestartPolicy });

type RawUpdate = z.output<typeof zUpdate>;

/** A change of limits takes effect before it is stored: one that the node can not make has not been. */
export async function update(ctx: ApiContext, req: Request, res: Response): Promise<void> {
  const raw = parseStrict(zUpdate, await readJson(req), 'container update');
  const signal = requestSignal(res, ctx.signal);
  const container = await findSingle(ctx, String(req.params['id']), signal);
  if (!('service' in container)) throw serviceDecides('update', container);
  const { restart } = updatedSpec(container.revision.spec, raw);
  if (container.mode.autoRemove && restart.condition !== 'none')
    throw new ConflictError(
      'Restart policy cannot be updated because AutoRemove is enabled for the container',
    );
  const asked = askedOf(raw);
  requireOneMeasure(container.revision.asked?.hostConfig ?? {}, asked);
  if (Object.keys(asked).length > 0) {
    const limited = Object.keys(asked).some((name) => name !== 'RestartPolicy');
    if (limited && isLive(container)) {
      const { limits, reservations, container: spec } = updatedSpec(container.revision.spec, raw);
      const params = {
        containerId: container.id,
        limits: { limits, reservations, options: optionsOf(spec.runtime) },
      };
      await callNode(ctx, await requireNode(ctx, container, signal), 'container.update', params, signal);
    }
    const change = (revision: Revision): Pick<Revision, 'spec' | 'asked'> => ({
      spec: updatedSpec(revision.spec, raw),
      asked: {
        config: revision.asked?.config ?? {},
        hostConfig: { ...revision.asked?.hostConfig, ...asked },
      },
    });
    await reviseContainer(ctx, container.service.id, change, signal);
    ctx.events.emit(eventOf('update', container));
  }
  sendJson(res, 200, { Warnings: null });
}

/** What the client says something about: its zeroes and blanks leave things as they are. */
function askedOf({ RestartPolicy: policy, ...resources }: RawUpdate): Record<string, unknown> {
  const named = Object.entries(resources).filter(([, value]) => Boolean(value));
  return { ...Object.fromEntries(named), ...(policy?.Name ? { RestartPolicy: policy } : {}) };
}

/** Throws ConflictError: a number of processors and a quota would contradict one another. */
function requireOneMeasure(
  before: Readonly<Record<string, unknown>>,
  asked: Readonly<Record<string, unknown>>,
): void {
  const quotas = ['CpuPeriod', 'CpuQuota'];
  const clash = (now: string, then: string): void => {
    if (asked[now] && before[then])
      throw new ConflictError(
        `Conflicting options: ${now} cannot be updated as ${then} has already been set`,
      );
  };
  for (const name of quotas) {
    clash('NanoCpus', name);
    clash(name, 'NanoCpus');
  }
}

/** Throws InvalidError when it is none that a container may have. */
function updatedSpec(spec: ServiceSpec, raw: RawUpdate): ServiceSpec {
  const { pids: _, ...kept } = spec.limits;
  const limits = limitsOf(raw);
  const runtime = defined({
    ...spec.container.runtime,
    ...defined({
      cpuShares: given(raw.CpuShares),
      cpuset: given(raw.CpusetCpus),
      cpusetMems: given(raw.CpusetMems),
      memorySwapBytes: given(raw.MemorySwap),
    }),
  }) as RuntimeOptions;
  const updated: ServiceSpec = {
    ...spec,
    limits: { ...(raw.PidsLimit ? kept : spec.limits), ...limits },
    reservations: { ...spec.reservations, ...defined({ memoryBytes: given(raw.MemoryReservation) }) },
    restart: raw.RestartPolicy?.Name ? decodeContainerRestart(raw.RestartPolicy) : spec.restart,
    container: { ...spec.container, ...(Object.keys(runtime).length === 0 ? {} : { runtime }) },
  };
  const [problem] = checkServiceSpec(updated);
  if (problem !== undefined) throw new InvalidError(`container update: ${problem.field}: ${problem.message}`);
  return updated;
}

function optionsOf(options: RuntimeOptions = {}): ContainerLimits['options'] {
  const { cpuShares, cpuset, cpusetMems, memorySwapBytes, cpuPeriodUs } = options;
  return defined({ cpuShares, cpuset, cpusetMems, memorySwapBytes, cpuPeriodUs });
}
