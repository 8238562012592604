/** A store that notes, for the request that is worked for, what is written: names and ids, never contents. */
import { noteChanges } from '../request-scope.ts';
import { derivedStore } from '../store/derived-store.ts';
import type { Store, TableName, Tables, Write } from '../store/store.ts';

/** What users make and change; the rest follows from it. */
const WORDS: Readonly<Partial<Record<TableName, string>>> = {
  cluster: 'cluster',
  nodes: 'node',
  services: 'service',
  networks: 'network',
  secrets: 'secret',
  configs: 'config',
  stacks: 'stack',
  managers: 'manager',
  users: 'user',
};

export function notingStore(store: Store): Store {
  return derivedStore(store, {
    commit: async (writes, options) => {
      const changes = writes.flatMap((write) => changeOf(store, write));
      const revision = await store.commit(writes, options);
      noteChanges(changes);
      return revision;
    },
  });
}

function changeOf(store: Store, { table, key, value }: Write): string[] {
  const word = WORDS[table];
  if (word === undefined) return [];
  const before = store.get(table, key);
  const known = value ?? before;
  const kind = table === 'services' && known !== undefined && 'run' in known ? 'container' : word;
  const gone = value === null || ('removing' in value && value.removing);
  const verb = gone ? 'remove' : before === undefined ? 'create' : 'update';
  return [`${verb} ${kind} ${known === undefined ? key : nameOf(known, key)}`];
}

function nameOf(value: Tables[TableName], key: string): string {
  if ('name' in value) return value.name;
  if ('spec' in value && 'name' in value.spec) return value.spec.name;
  if ('description' in value) return value.description?.hostname ?? key;
  return key;
}
