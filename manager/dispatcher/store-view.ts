/** The store's mirror as what assignments are computed from. */
import { describeError } from '../../shared/errors/index.ts';
import type { FileAssignment, Logger, StoredFile, StoredFileKind } from '../../shared/model/index.ts';
import type { Store } from '../store/store.ts';
import type { Vault } from '../vault/seal.ts';
import type { AssignmentView } from './assignment-rows.ts';

export function viewOf(store: Store, vault: Vault, logger: Logger): AssignmentView {
  const open = opener(vault, logger);
  return {
    secret: (id) => open('secret', store.get('secrets', id)),
    config: (id) => open('config', store.get('configs', id)),
    get nodes() {
      return store.all('nodes');
    },
    get services() {
      return store.all('services');
    },
    get revisions() {
      return store.all('revisions');
    },
    get tasks() {
      return store.all('tasks');
    },
    get statuses() {
      return store.all('statuses');
    },
    get networks() {
      return store.all('networks');
    },
    tasksOfNode: (nodeId) => store.tasksOfNode(nodeId),
    tasksOfService: (serviceId) => store.tasksOfService(serviceId),
  };
}

type Opener = (kind: StoredFileKind, file: StoredFile | undefined) => FileAssignment | undefined;

/** Records never change their contents, so that what was opened once stays right as long as its record is there. */
function opener(vault: Vault, logger: Logger): Opener {
  const opened = new WeakMap<StoredFile, FileAssignment>();
  return (kind, file) => {
    const known = file === undefined ? undefined : opened.get(file);
    if (file === undefined || known !== undefined) return known;
    try {
      const { templating } = file.spec;
      const data = vault.open(kind, file.id, file.sealed).toString('base64');
      const row = { fileId: file.id, ...(templating === undefined ? {} : { templating }), data };
      opened.set(file, row);
      return row;
    } catch (error) {
      logger.error({ kind, id: file.id, error: describeError(error) }, 'a node does not get this file');
      return undefined;
    }
  };
}
