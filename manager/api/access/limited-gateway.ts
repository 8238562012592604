/**
 * Nodes as a user who is no admin reaches them. Containers and volumes that are not the user's are not there; and nobody but an
 * admin gets into a container that is more than one (host-powers.ts), for who is in it has the node.
 */
import { ForbiddenError, NotFoundError } from '../../../shared/errors/index.ts';
import { serviceIdOf, type Task } from '../../../shared/model/index.ts';
import type { NodeMethods, NodeStreams } from '../../../shared/model/node-methods/index.ts';
import type { NodeGateway } from '../../dispatcher/node-gateway.ts';
import type { Store } from '../../store/store.ts';
import { hostPowers, volumePowers } from './host-powers.ts';
import { requireVolume, seesVolume } from './limited-store.ts';
import type { Access } from './routes.ts';

type Method = keyof NodeMethods | keyof NodeStreams;

/** What is asked about: a container or a command in one, a task, volumes, the node's images, the whole node. `admin`: for these. */
type Subject =
  | 'container'
  | 'inside'
  | 'exec'
  | 'task'
  | 'volume'
  | 'volumes'
  | 'list'
  | 'image'
  | 'whole'
  | 'admin';

/** `inside`: what runs there, or its files, are the caller's from then on. Absent: for admins only; a test finds them. */
export const SUBJECTS: Readonly<Partial<Record<Method, Subject>>> = {
  'container.list': 'list',
  'container.inspect': 'container',
  'container.kill': 'container',
  'container.stop': 'container',
  'container.discard-volumes': 'container',
  'container.until-removed': 'container',
  'container.size': 'container',
  'container.update': 'container',
  'container.pause': 'container',
  'container.unpause': 'container',
  'container.wait': 'container',
  'container.top': 'container',
  'container.sample': 'container',
  'container.resize': 'container',
  'container.logs': 'container',
  'container.changes': 'container',
  'container.attach': 'inside',
  'container.export': 'inside',
  'container.archive.stat': 'inside',
  'container.archive.get': 'inside',
  'container.archive.put': 'inside',
  'exec.create': 'inside',
  'exec.inspect': 'exec',
  'exec.wait': 'exec',
  'exec.resize': 'exec',
  'exec.start': 'exec',
  'exec.attach': 'exec',
  'volume.list': 'volumes',
  'volume.inspect': 'volume',
  'volume.create': 'volume',
  'volume.remove': 'volume',
  'volume.prune': 'volumes',
  'storage.usage': 'whole',
  'network.settled': 'task',
  'image.list': 'image',
  'image.inspect': 'image',
  'image.remove': 'image',
  'image.prune': 'image',
  'image.describe-remote': 'image',
  'image.login': 'image',
  'image.pull': 'image',
  'image.push': 'image',
  'image.save': 'image',
  'image.load': 'admin',
  'image.tag': 'admin',
  'certificate.request': 'admin',
  'certificate.install': 'admin',
};

export function limitedGateway(whole: NodeGateway, store: Store, access: Access): NodeGateway {
  const check = checker(whole, store, access);
  return {
    connected: (nodeId) => whole.connected(nodeId),
    call: async (nodeId, method, params, signal) => {
      await check(nodeId, method, params, signal);
      return visible(store, method, await whole.call(nodeId, method, params, signal));
    },
    stream: async function* (nodeId, method, params, signal, windowBytes) {
      await check(nodeId, method, params, signal);
      yield* whole.stream(nodeId, method, params, signal, windowBytes);
    },
    duplex: async function* (nodeId, method, params, input, signal) {
      await check(nodeId, method, params, signal);
      yield* whole.duplex(nodeId, method, params, input, signal);
    },
  };
}

type Check = (nodeId: string, method: Method, params: object, signal: AbortSignal) => Promise<void>;

function checker(whole: NodeGateway, store: Store, access: Access): Check {
  const execContainer = async (nodeId: string, params: object, signal: AbortSignal): Promise<string> => {
    const { spec } = await whole.call(nodeId, 'exec.inspect', { execId: textOf(params, 'execId') }, signal);
    requirePlainExec(spec);
    return spec.containerId;
  };
  return async (nodeId, method, params, signal) => {
    switch (SUBJECTS[method]) {
      case 'container':
        return void requireContainer(store, textOf(params, 'containerId'));
      case 'inside':
        requirePlainExec(params);
        return requireInside(store, textOf(params, 'containerId'));
      case 'exec':
        return requireInside(store, await execContainer(nodeId, params, signal));
      case 'volume':
        requireVolume(store, textOf(params, 'name'));
        return requirePlainVolume(params);
      case 'list':
      case 'volumes':
      case 'image':
        return;
      case 'task':
        if (store.get('tasks', textOf(params, 'taskId')) !== undefined) return;
        throw new NotFoundError('No such task');
      case 'whole':
        if (access.stacks === undefined) return;
        break;
      case 'admin':
      case undefined:
    }
    throw new ForbiddenError('this needs the role admin');
  };
}

/** Throws NotFoundError for one that the store, as this user sees it, does not have. */
function requireContainer(store: Store, containerId: string): Task | undefined {
  const single = store.get('services', serviceIdOf(containerId));
  if (single?.run !== undefined) return undefined;
  for (const status of store.all('statuses').values())
    if (status.container?.containerId === containerId) {
      const task = store.get('tasks', status.taskId);
      if (task !== undefined) return task;
    }
  throw new NotFoundError(`No such container: ${containerId}`);
}

function requireInside(store: Store, containerId: string): void {
  const task = requireContainer(store, containerId);
  const serviceId = task?.serviceId ?? serviceIdOf(containerId);
  const revision = task?.revision ?? store.get('services', serviceId)?.revision;
  const spec = store.get('revisions', `${serviceId}.${revision}`)?.spec;
  const powers = spec === undefined ? ['what is not known any more'] : hostPowers(spec);
  if (powers.length > 0)
    throw new ForbiddenError(`only an admin may be in this container: it has ${powers.join(', ')}`);
}

/** Of what may be the parameters of something else. Also of one that an admin has made: whoever starts it may type. */
function requirePlainExec(params: { readonly privileged?: unknown }): void {
  if (params.privileged !== undefined) throw new ForbiddenError('only an admin may ask for: privileged exec');
}

function requirePlainVolume(params: object): void {
  const { options } = params as { options?: Readonly<Record<string, string>> };
  const powers = volumePowers(undefined, options ?? {});
  if (powers.length > 0) throw new ForbiddenError(`only an admin may ask for: ${powers.join(', ')}`);
}

function textOf(params: object, name: 'containerId' | 'execId' | 'taskId' | 'name'): string {
  return (params as Partial<Record<typeof name, string>>)[name] ?? '';
}

/** Of a list, what is the user's. */
function visible<M extends keyof NodeMethods>(
  store: Store,
  method: M,
  result: NodeMethods[M]['result'],
): NodeMethods[M]['result'] {
  if (method === 'container.list') {
    const containers = result as NodeMethods['container.list']['result'];
    const seen = containers.filter(({ taskId }) => store.get('tasks', taskId) !== undefined);
    return seen;
  }
  if (method === 'volume.list') {
    const { volumes, ...rest } = result as NodeMethods['volume.list']['result'];
    const seen = volumes.filter(({ name }) => seesVolume(store, name));
    return { ...rest, volumes: seen };
  }
  return result;
}
