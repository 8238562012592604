/** Generic resources of the Docker Engine API <-> ours: what nodes have and tasks hold, and what services ask for. */
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import type { GenericRequest, GenericResource } from '../../../shared/model/index.ts';
import { zText, zWhole } from './common.ts';

export const zGenericResources = z
  .array(
    z.object({
      NamedResourceSpec: z.object({ Kind: zText, Value: zText }).nullish(),
      DiscreteResourceSpec: z.object({ Kind: zText, Value: zWhole }).nullish(),
    }),
  )
  .nullish();

const FIELD = 'TaskTemplate.Resources.Reservations.GenericResources';

/** Throws InvalidError for a resource that is asked for by name: which one a task gets is chosen with its node. */
export function decodeGenericRequests(
  raw: z.output<typeof zGenericResources>,
): readonly GenericRequest[] | undefined {
  if (raw === null || raw === undefined || raw.length === 0) return undefined;
  return raw.map(({ NamedResourceSpec: named, DiscreteResourceSpec: counted }, at) => {
    if (named !== null && named !== undefined)
      throw new InvalidError(
        `invalid argument for resource ${named.Kind ?? ''}: ${FIELD}[${at}]: a number of them is asked for ` +
          '(DiscreteResourceSpec), not one by its name',
      );
    if (counted === null || counted === undefined)
      throw new InvalidError(`${FIELD}[${at}]: DiscreteResourceSpec is missing`);
    return { kind: counted.Kind ?? '', count: counted.Value ?? 0 };
  });
}

/** One entry a name, as Docker has it. Undefined for none. */
export function encodeGenericResources(resources: readonly GenericResource[] = []): object[] | undefined {
  if (resources.length === 0) return undefined;
  return resources.flatMap((resource): object[] =>
    'names' in resource
      ? resource.names.map((name) => ({ NamedResourceSpec: { Kind: resource.kind, Value: name } }))
      : [{ DiscreteResourceSpec: { Kind: resource.kind, Value: resource.count } }],
  );
}
