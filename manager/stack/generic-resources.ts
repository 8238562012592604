/** `generic_resources` under `deploy.resources.reservations`. */
import type { GenericRequest } from '../../shared/model/index.ts';
import { Section } from './section.ts';
import type { Value } from './value.ts';

const NAMED = {
  severity: 'error',
  message: 'a number of them is asked for (discrete_resource_spec), not one by its name',
} as const;

/** What is wrong is told; a number only may be asked for, which is what `discrete_resource_spec` says. */
export function readGenericResources(reservations: Section | undefined): GenericRequest[] {
  const items = reservations?.list('generic_resources')?.items ?? [];
  return items.flatMap((item) => (reservations === undefined ? [] : readItem(reservations, item)));
}

function readItem(reservations: Section, item: Value): GenericRequest[] {
  const entry = item.kind === 'map' ? new Section(item, reservations.problems) : undefined;
  const spec = entry?.section('discrete_resource_spec');
  entry?.end({ named_resource_spec: NAMED });
  if (spec === undefined) {
    if (entry?.has('named_resource_spec') !== true)
      reservations.expected(item, 'discrete_resource_spec with kind and value');
    return [];
  }
  const kind = spec.text('kind');
  const count = spec.whole('value', 1);
  spec.end();
  if (kind === undefined) spec.expected(spec.map, 'a kind');
  else if (count === undefined && !spec.has('value')) spec.expected(spec.map, 'a value from 1');
  return kind === undefined || count === undefined ? [] : [{ kind, count }];
}
