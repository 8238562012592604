/**
 * What @peculiar/x509's dependency container (tsyringe) asks of the Reflect metadata proposal: three functions over
 * metadata of a class. The library documents that its user must bring them. Does nothing when a polyfill is there.
 */
type Metadata = Map<unknown, unknown>;

interface ReflectMetadata {
  getMetadata?: (key: unknown, target: object) => unknown;
  getOwnMetadata?: (key: unknown, target: object) => unknown;
  defineMetadata?: (key: unknown, value: unknown, target: object) => void;
}

const reflect = Reflect as ReflectMetadata;

if (reflect.getMetadata === undefined) {
  const tables = new WeakMap<object, Metadata>();

  reflect.defineMetadata = (key, value, target) => {
    const table = tables.get(target) ?? new Map<unknown, unknown>();
    tables.set(target, table.set(key, value));
  };
  reflect.getOwnMetadata = (key, target) => tables.get(target)?.get(key);
  reflect.getMetadata = (key, target) => {
    for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null) {
      const table = tables.get(at);
      if (table?.has(key) === true) return table.get(key);
    }
    return undefined;
  };
}
