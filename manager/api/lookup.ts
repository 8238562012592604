import { InvalidError, NotFoundError } from '../../shared/errors/index.ts';

/** How Docker finds an object: by full id, by name, then by a prefix of the id that fits one object only. */
export interface LookupRules<T> {
  /** 'service', 'node': the word for messages; or Docker's whole beginning of one, `No such container:`. */
  readonly kind: string;
  readonly id: (item: T) => string;
  readonly name: (item: T) => string | undefined;
}

/** Throws NotFoundError, or InvalidError when several fit. */
export function lookup<T>(items: Iterable<T>, ref: string, rules: LookupRules<T>): T {
  const named: T[] = [];
  const prefixed: T[] = [];
  for (const item of items) {
    if (rules.id(item) === ref) return item;
    if (rules.name(item) === ref) named.push(item);
    else if (ref !== '' && rules.id(item).startsWith(ref)) prefixed.push(item);
  }
  const found = named.length > 0 ? named : prefixed;
  if (found.length > 1) {
    throw new InvalidError(`${rules.kind} ${ref} is ambiguous (${found.length} matches found)`);
  }
  const [only] = found;
  if (only === undefined)
    throw new NotFoundError(`${rules.kind} ${ref}${rules.kind.endsWith(':') ? '' : ' not found'}`);
  return only;
}
