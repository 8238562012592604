/** A store that does all as another one does, but for what is changed. */
import type { Store } from './store.ts';

export function derivedStore(store: Store, changes: Partial<Store>): Store {
  return {
    get revision() {
      return store.revision;
    },
    get: (table, key) => store.get(table, key),
    version: (table, key) => store.version(table, key),
    all: (table) => store.all(table),
    tasksOfService: (id) => store.tasksOfService(id),
    tasksOfNode: (id) => store.tasksOfNode(id),
    commit: (writes, options) => store.commit(writes, options),
    onChange: (listener) => store.onChange(listener),
    ...changes,
  };
}
