/** Resources of a service's TaskTemplate: what a task may use, and what is kept for it. */
import { z } from 'zod';
import type { Reservations, ResourceAmounts, ServiceSpec } from '../../../shared/model/index.ts';
import { defined, given, zWhole } from './common.ts';
import {
  decodeGenericRequests,
  encodeGenericResources,
  zGenericResources,
} from './generic-resource-codec.ts';

const zAmounts = z.object({ NanoCPUs: zWhole, MemoryBytes: zWhole, Pids: zWhole });
const zReservations = zAmounts.extend({ GenericResources: zGenericResources }).nullish();

export const zResources = z.object({ Limits: zAmounts.nullish(), Reservations: zReservations }).nullish();

type RawAmounts = z.output<typeof zAmounts> | null | undefined;

export function decodeAmounts(raw: RawAmounts): ResourceAmounts {
  return defined({
    nanoCpus: given(raw?.NanoCPUs),
    memoryBytes: given(raw?.MemoryBytes),
    pids: given(raw?.Pids),
  }) as ResourceAmounts;
}

export function decodeReservations(raw: z.output<typeof zReservations>): Reservations {
  const genericResources = decodeGenericRequests(raw?.GenericResources);
  return { ...decodeAmounts(raw), ...(genericResources === undefined ? {} : { genericResources }) };
}

export function encodeResources({ limits, reservations }: ServiceSpec): object {
  return {
    Limits: encodeAmounts(limits),
    Reservations: defined({
      ...encodeAmounts(reservations),
      GenericResources: encodeGenericResources(reservations.genericResources),
    }),
  };
}

function encodeAmounts(amounts: ResourceAmounts): object {
  return defined({ NanoCPUs: amounts.nanoCpus, MemoryBytes: amounts.memoryBytes, Pids: amounts.pids });
}
