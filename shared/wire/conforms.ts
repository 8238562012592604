/** Ties a schema to the model type it must produce: a field missing, added or of another type is a compile error. */
import type { z } from 'zod';

/** All levels without readonly and without optional marks, so that two types compare by fields and their types. */
type Plain<T> = T extends object ? { -readonly [K in keyof T]-?: Plain<T[K]> } : T;

type Same<A, B> = [Plain<A>] extends [Plain<B>] ? ([Plain<B>] extends [Plain<A>] ? true : false) : false;

/**
 * `conforms<Model>()(schema)`: the same schema, typed as producing Model. Compiles only when what it parses is
 * assignable to Model (optional marks included) and it knows every field of Model.
 */
export function conforms<Model>() {
  return <S extends z.ZodType<Model>>(
    schema: Same<z.output<S>, Model> extends true ? S : never,
  ): z.ZodType<Model> => schema;
}
