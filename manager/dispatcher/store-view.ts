/** The store's mirror as what assignments are computed from. */
import type { Store } from '../store/store.ts';
import type { AssignmentView } from './assignment-rows.ts';

export function viewOf(store: Store): AssignmentView {
  return {
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
